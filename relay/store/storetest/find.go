package storetest

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
)

// quarantine keeps one text.
func quarantine(t *testing.T, s *replica, id string, raw []byte) {
	t.Helper()
	if _, err := s.Quarantine(t.Context(), []event.Quarantined{{ID: id, Raw: raw}}, false); err != nil {
		t.Fatal(err)
	}
}

func checkFindQuarantined(t *testing.T, b *bench) {
	clock := &shifted{}
	s := b.open(t, options{Clock: clock.now})
	keep := func(id, text string, padding int) {
		t.Helper()
		quarantine(t, s, id, append([]byte(text), bytes.Repeat([]byte{' '}, padding)...))
		clock.forward(time.Millisecond)
	}
	find := func(most int, texts ...string) string {
		t.Helper()
		found, err := s.FindQuarantined(t.Context(), texts, most)
		if err != nil {
			t.Fatal(err)
		}
		out := ""
		for _, text := range texts {
			for _, q := range found[text] {
				out += text + "=" + q.ID + " "
			}
		}
		return out
	}
	if got := find(1, "777001"); got != "" {
		t.Errorf("in an empty quarantine: %s", got)
	}

	keep("old", "777000", 0)
	keep("one", "a 777001 b", 0)
	keep("two", "777001 777002", 40_000)
	keep("long", "777003", 70_000)
	for i := range 100 {
		keep(fmt.Sprint("other", i), "nothing", 1000)
	}
	for _, x := range []struct {
		most  int
		texts []string
		want  string
	}{
		{most: 5, texts: []string{"777001", "777002"}, want: "777001=two 777001=one 777002=two "},
		{most: 1, texts: []string{"777001", "777000"}, want: "777001=two 777000=old "},
		{most: 5, texts: []string{"777003", "777004"}, want: ""}, // one is too long to be read
		{most: 5, texts: nil, want: ""},
	} {
		if got := find(x.most, x.texts...); got != x.want {
			t.Errorf("%v, at most %d: %q, want %q", x.texts, x.most, got, x.want)
		}
	}

	// No more than the latest are looked at.
	var many []event.Quarantined
	for i := range 500 {
		many = append(many, event.Quarantined{ID: fmt.Sprint("z", i), Raw: []byte("x")})
	}
	if _, err := s.Quarantine(t.Context(), many, false); err != nil {
		t.Fatal(err)
	}
	if got := find(5, "777001"); got != "" {
		t.Errorf("behind 500 others: %s", got)
	}
}

func checkRemembered(t *testing.T, b *bench) {
	clock := &shifted{}
	s := b.open(t, options{Clock: clock.now})
	brands := []string{"zt", "sto", ""}
	if _, ok, err := s.Remembered(t.Context(), "1", brands); ok || err != nil {
		t.Errorf("before the first update: %v, %v", ok, err)
	}

	first := update("1", "collected")
	acceptOne(t, s, first, to("t/a"))
	clock.forward(time.Minute)
	tracked := update("1", "signed")
	tracked.TrackedAt = time.UnixMilli(1_700_000_000_000)
	tracked.CPCode = "sto"
	acceptOne(t, s, tracked, nil)
	got, ok, err := s.Remembered(t.Context(), "1", brands)
	want := []event.LastStatus{{CPCode: "zt", Status: "collected"},
		{CPCode: "sto", Status: "signed", TrackedAt: tracked.TrackedAt, AcceptedAt: tracked.AcceptedAt}}
	if err != nil || !ok || !got.AcceptedAt.Equal(tracked.AcceptedAt) || !slices.EqualFunc(got.Statuses, want,
		func(a, b event.LastStatus) bool {
			return a.CPCode == b.CPCode && a.Status == b.Status && a.TrackedAt.Equal(b.TrackedAt) &&
				a.AcceptedAt.Equal(b.AcceptedAt)
		}) {
		t.Errorf("%+v, %v, %v; want %+v", got, ok, err, want)
	}

	// An event that is gone is remembered.
	for _, e := range []*event.Event{first, tracked} {
		b.Delete(t, b.prefix()+"e:"+shortID(t, e))
	}
	events, err := s.Waybill(t.Context(), "1", "")
	if _, ok, _ := s.Remembered(t.Context(), "1", brands); !ok || len(events) != 0 || err != nil {
		t.Errorf("%d events (%v), remembered %v", len(events), err, ok)
	}
}

func checkDuplicateOf(t *testing.T, b *bench) {
	clock := &shifted{}
	s := b.open(t, options{Clock: clock.now,
		Settings: settings{Window: 10 * time.Hour, BareWindow: time.Hour}})
	for i, step := range []struct {
		e       *event.Event
		forward time.Duration
	}{
		{e: update("1", "a")}, {e: update("1", "a")}, {e: bare("1", "b")}, {e: bare("1", "b")},
		{e: bare("1", "c"), forward: 2 * time.Hour}, {e: bare("1", "c"), forward: 2 * time.Hour}, // still the last one
		{e: bare("1", "b")}, {e: bare("1", "b")}, {e: update("1", "a")},
		{e: update("1", "a"), forward: 10 * time.Hour}, {e: update("1", "a")},
		{e: &event.Event{ID: update("", "x").ID, Type: "other"}}, {e: &event.Event{ID: update("", "x").ID, Type: "other"}},
	} {
		clock.forward(step.forward)
		id, at, known, err := s.DuplicateOf(t.Context(), step.e)
		if err != nil {
			t.Fatal(err)
		}
		out := accept(t, s, queue.Routed{Event: step.e, To: to("t/a")})[0]
		apart := at.Sub(step.e.AcceptedAt).Abs() // each is reckoned from an age, a moment apart
		if known != out.Duplicate || known && (id != step.e.ID || apart > 5*time.Millisecond) {
			t.Errorf("step %d: said to be a duplicate of %q of %v (%v); it is one (%v), %q of %v", i, id, at, known,
				out.Duplicate, step.e.ID, step.e.AcceptedAt)
		}
	}
}

func checkLatestOfWaybill(t *testing.T, b *bench) {
	s := b.open(t, options{})
	for i := range 5 {
		acceptOne(t, s, update("1", fmt.Sprint("s", i)), to("t/a"))
	}
	got, err := s.LatestOfWaybill(t.Context(), "1", "", 3)
	var statuses []string
	for _, e := range got {
		statuses = append(statuses, e.Status)
		if len(e.Data) > 0 || !e.WithoutData || len(e.Deliveries) != 1 {
			t.Errorf("%+v", e)
		}
	}
	if err != nil || !slices.Equal(statuses, []string{"s2", "s3", "s4"}) {
		t.Errorf("%v, %v", statuses, err)
	}
}
