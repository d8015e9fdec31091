package store

import (
	"fmt"
	"regexp"
	"slices"
	"testing"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
)

// repeatsOfOld is how a version that knows no callbacks reads how often an event came again.
var repeatsOfOld = regexp.MustCompile(`^(\d+) \d+ (\S+) (\d+)$`)

func TestRepeatsAreReadByAnOlderVersionAndFromOne(t *testing.T) {
	t.Parallel()
	s := newStore(t, "")
	routed := newRouted("1", "a", "t/a")
	short, err := shortID(routed.Event.ID)
	if err != nil {
		t.Fatal(err)
	}
	again := func(callback string) {
		t.Helper()
		e := newRouted("1", "a", "t/a")
		e.Event.Origin = &event.Origin{ID: callback}
		if _, err := s.Accept(t.Context(), []queue.Routed{e}); err != nil {
			t.Fatal(err)
		}
	}
	again("")

	var want []string
	for i := range 3 {
		id := event.NewCallbackID(time.UnixMilli(int64(i)))
		again(id)
		want = append(want, id)
	}
	field := s.db.Client.HGet(t.Context(), s.rareKey(short), "r").Val()
	if got := repeatsOfOld.FindStringSubmatch(field); got == nil || got[1] != "3" || got[3] != "1" {
		t.Errorf("an older version reads %q as %v", field, got)
	}
	one, _, err := s.Event(t.Context(), routed.Event.ID, "")
	if err != nil || !slices.Equal(one.RepeatedIn, want) {
		t.Errorf("%+v, %v, want those of %v", one, err, want)
	}

	// An older version has counted, and knows nothing of callbacks.
	if err := s.db.Client.HSet(t.Context(), s.rareKey(short), "r", "5 1700000000000 call 2").Err(); err != nil {
		t.Fatal(err)
	}
	last := event.NewCallbackID(time.UnixMilli(5))
	again(last)
	want = append(want, last)
	one, _, err = s.Event(t.Context(), routed.Event.ID, "")
	if err != nil || one.Repeats != 6 || !slices.Equal(one.RepeatedIn, want) {
		t.Errorf("%+v, %v, want 6 times", one, err)
	}
}

func TestADuplicateThatIsAskedForAgainIsCountedOnce(t *testing.T) {
	t.Parallel()
	s := newStore(t, "")
	if _, err := s.Accept(t.Context(), []queue.Routed{newRouted("1", "a", "t/a")}); err != nil {
		t.Fatal(err)
	}
	short, err := shortID(newRouted("1", "a").Event.ID)
	if err != nil {
		t.Fatal(err)
	}

	// Of 14 calls, each has it twice, and every other one without a callback.
	for i := range 14 {
		var call acceptCall
		for range 2 {
			e := newRouted("1", "a", "t/a")
			if i%2 == 0 {
				e.Event.Origin = &event.Origin{ID: event.NewCallbackID(time.UnixMilli(int64(i)))}
			}
			row, err := newAcceptRow(e)
			if err != nil {
				t.Fatal(err)
			}
			call = call.with(row)
		}
		args, _ := s.acceptArgs([]acceptCall{call}, s.db.Now(), s.db.NewCall())
		var fields []string
		for range 3 {
			if _, err := s.db.Do(t.Context(), acceptScript, args); err != nil {
				t.Fatal(err)
			}
			fields = append(fields, fmt.Sprint(s.db.Client.HGetAll(t.Context(), s.eventKey(short)).Val()))
		}
		if fields[0] != fields[1] || fields[1] != fields[2] {
			t.Fatalf("call %d: %q", i, fields)
		}
	}
}
