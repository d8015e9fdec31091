package storetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/store"
)

// page lists events until the list ends, in pages of the size given.
func page(t *testing.T, s *store.Store, q event.Query) (found []string) {
	t.Helper()
	for pages := 0; ; pages++ {
		p, err := s.Events(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range p.Events {
			found = append(found, e.WaybillCode+":"+e.Status)
		}
		if p.Next == "" || p.End {
			return found
		}
		q.Cursor = p.Next
		if pages > 10_000 {
			t.Fatal("the list does not end")
		}
	}
}

func checkEvents(t *testing.T, b *bench) {
	clock := &shifted{}
	s := b.open(t, store.Options{Clock: clock.now})
	var all []string
	var begin, middle time.Time
	for i := range 25 { // over some chunks of a thousand
		if i == 12 {
			clock.forward(time.Hour)
			middle = s.Now().Truncate(time.Millisecond)
		}
		var entries []event.Entry
		for j := range 100 {
			e := event.Entry{Event: update(fmt.Sprint(i*100+j), "a"), To: to("t/a")}
			if j%50 == 49 {
				e.To = to("t/b", "u/c")
			}
			entries = append(entries, e)
			all = append(all, fmt.Sprint(i*100+j, ":a"))
		}
		accept(t, s, entries...)
		if i == 0 {
			begin = entries[0].Event.AcceptedAt
		}
	}
	accept(t, s, event.Entry{Event: update("nobody's", "a")})
	all = append(all, "nobody's:a")
	want := func(keep func(i int) bool) (out []string) {
		for i, x := range all {
			if keep(i) {
				out = append(out, x)
			}
		}
		return out
	}
	same := func(what string, got, want []string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: %d events %.200v, want %d %.200v", what, len(got), got, len(want), want)
		}
	}
	older := func(list []string) []string { list = slices.Clone(list); slices.Reverse(list); return list }
	of := func(i int) bool { return i < 2500 && i%50 == 49 && i%100 == 99 || i < 2500 && i%100 == 49 }
	sizes := []int{500, 61}
	if b.Slow {
		sizes = sizes[:1]
	}
	for _, most := range sizes {
		same("all", page(t, s, event.Query{Most: most}), older(all))
		same("all, from the oldest on", page(t, s, event.Query{Most: most, Newer: true}), all)
		same("those of two endpoints", page(t, s, event.Query{Most: most, Endpoints: []string{"t/b", "x/y"}}), older(want(of)))
		same("since", page(t, s, event.Query{Most: most, Since: middle}), older(all[1200:]))
		same("until", page(t, s, event.Query{Most: most, Until: middle}), older(all[:1200]))
		same("since, from the oldest on", page(t, s, event.Query{Most: most, Since: middle, Newer: true}), all[1200:])
		same("until, from the oldest on", page(t, s, event.Query{Most: most, Until: middle, Newer: true}), all[:1200])
		same("before all", page(t, s, event.Query{Most: most, Until: begin}), nil)
		same("wanted", page(t, s, event.Query{Most: most, Match: func(e *event.Stored) bool { return strings.HasSuffix(e.WaybillCode, "77") }}),
			older(want(func(i int) bool { return i < 2500 && i%100 == 77 })))
	}
	same("of no endpoint", page(t, s, event.Query{Most: 10, Endpoints: []string{}}), nil)
	if _, err := s.Events(t.Context(), event.Query{Cursor: "nonsense", Most: 1}); err == nil {
		t.Error("nonsense is taken for a cursor")
	}

	// Going to newer events, the end is where to go on later.
	p, err := s.Events(t.Context(), event.Query{Most: 500, Newer: true, Since: s.Now().Add(-time.Minute), Match: func(*event.Stored) bool { return false }})
	for ; err == nil && !p.End; p, err = s.Events(t.Context(), event.Query{Most: 500, Newer: true, Cursor: p.Next}) {
	}
	if err != nil {
		t.Fatal(err)
	}
	acceptOne(t, s, update("later", "a"), to("t/a"))
	same("later", page(t, s, event.Query{Most: 10, Newer: true, Cursor: p.Next}), []string{"later:a"})
}

func checkTrim(t *testing.T, b *bench) {
	const short = 3 * time.Second // the list itself is gone if nothing is accepted for twice as long, as on a machine that is stalled
	s := b.open(t, store.Options{Settings: store.Settings{Retention: short, Window: short, DeadLetterRetention: short}})
	for i := range 10 {
		var entries []event.Entry
		for j := range 110 {
			entries = append(entries, event.Entry{Event: update(fmt.Sprint(i, ".", j), "a")}) // owed to nobody, so that they expire
		}
		accept(t, s, entries...)
	}
	acceptOne(t, s, update("open", "a"), to("t/a"))
	until(t, "only what is open is listed", func() bool {
		if err := s.Trim(t.Context()); err != nil {
			t.Fatal(err)
		}
		acceptOne(t, s, update(fmt.Sprint("more", time.Now().UnixNano()), "a"), nil) // chunks that are too old are full
		got := page(t, s, event.Query{Most: 100, Until: s.Now().Add(-2 * short)})
		return len(got) == 1 && got[0] == "open:a"
	})
	until(t, "what is trimmed takes no memory", func() bool {
		if err := s.Trim(t.Context()); err != nil {
			t.Fatal(err)
		}
		acceptOne(t, s, update(fmt.Sprint("more", time.Now().UnixNano()), "a"), nil)
		return len(b.Keys(t, "{"+b.tag+"}:v:")) < 30
	})
}

func checkTrimEnds(t *testing.T, b *bench) {
	const keep = 4 * time.Hour
	clock := &shifted{}
	s := b.open(t, store.Options{Clock: clock.now, Settings: store.Settings{Retention: keep}})
	for i := range 12 { // a chunk each, because it has been open for long
		acceptOne(t, s, update(fmt.Sprint(i), "a"), to("t/a"))
		clock.forward(keep/4 + time.Second)
	}
	clock.forward(2 * keep)

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := s.Trim(ctx); err != nil || ctx.Err() != nil {
		t.Fatalf("it went over the same chunks again and again: %v", err)
	}
	if got := page(t, s, event.Query{Most: 100}); len(got) != 12 {
		t.Errorf("%d of 12 open events are listed", len(got))
	}
}

func checkEventAndWaybill(t *testing.T, b *bench) {
	clock := &shifted{}
	s := b.open(t, store.Options{Clock: clock.now})
	first := update("1", "a")
	got := accept(t, s, event.Entry{Event: first, To: slot(to("t/a", "t/b"))}, event.Entry{Event: update("1", "b"), To: to("t/a")})
	a, bb := got[0].Leased[0], got[0].Leased[1]
	settle(t, s, bb, event.Delivered, func(o *event.Outcome) { o.Attempt = &event.Attempt{Status: 204, Duration: 7 * time.Millisecond} })
	settle(t, s, a, event.Retry, dueIn(s, time.Hour), func(o *event.Outcome) {
		o.Attempt = &event.Attempt{Status: 503, Duration: 12 * time.Millisecond, Answer: []byte("busy")}
	})

	// Two duplicates of the first event come, and an event of another waybill.
	for range 2 {
		acceptOne(t, s, update("1", "a"), to("t/a"))
	}
	acceptOne(t, s, update("2", "a"), to("t/a"))

	// The waybill shows its events with what became of each delivery.
	found, err := s.Waybill(t.Context(), "1", "")
	if err != nil || len(found) != 2 {
		t.Fatalf("%d events, %v", len(found), err)
	}

	e, later := found[0], found[1]
	if e.ID != first.ID || e.Status != "a" || string(e.Data) != string(first.Data) || e.Repeats != 2 || s.Now().Sub(e.LastRepeat) > time.Minute {
		t.Errorf("%+v", e)
	}
	x, y := e.Deliveries[0], e.Deliveries[1]
	if x.Endpoint != "t/a" || x.State != event.StateRetrying || x.Attempts != 1 || x.Due.Sub(s.Now()) < 50*time.Minute ||
		len(x.Records) != 1 || x.Records[0].Status != 503 || x.Records[0].Text != "busy" || x.Records[0].Duration != 12*time.Millisecond {
		t.Errorf("retrying: %+v", x)
	}
	if y.Endpoint != "t/b" || y.State != event.StateDelivered || len(y.Records) != 1 || y.Records[0].Status != 204 || y.Records[0].Duration != 7*time.Millisecond || !y.Records[0].Good() {
		t.Errorf("delivered: %+v", y)
	}
	if w := later.Deliveries[0]; w.State != event.StateWaiting || w.Behind != e.ID {
		t.Errorf("waiting: %+v", w)
	}

	// A delivery that is given up shows why, and its attempts.
	clock.forward(2 * time.Hour)
	again := takeOne(t, s, "t/a") // 2:a was due before, and is open
	for again.Event.WaybillCode != "1" {
		again = takeOne(t, s, "t/a")
	}
	settle(t, s, again, event.Dead, because("no"), func(o *event.Outcome) { o.Attempt = &event.Attempt{Err: "timeout: no whole answer in time"} })

	one, err := s.Event(t.Context(), e.ID, "")
	if err != nil || one == nil {
		t.Fatal(one, err)
	}
	x = one.Deliveries[0]
	if x.State != event.StateDead || x.Why != "no" || len(x.Records) != 2 || x.Records[1].Status != 0 || x.Records[1].Text != "timeout: no whole answer in time" {
		t.Errorf("dead: %+v", x)
	}

	// What is not there is no error.
	for _, id := range []string{"nonsense", "evt_00", update("9", "z").ID} {
		if none, err := s.Event(t.Context(), id, ""); none != nil || err != nil {
			t.Errorf("%s: %v, %v", id, none, err)
		}
	}
	if none, err := s.Waybill(t.Context(), "9", ""); len(none) != 0 || err != nil {
		t.Errorf("%v, %v", none, err)
	}
}

func checkDeadLetters(t *testing.T, b *bench) {
	clock := &shifted{}
	s := b.open(t, store.Options{Clock: clock.now})
	var want []string
	for i := range 30 {
		ep := fmt.Sprint("t/", i%3)
		d := acceptOne(t, s, update(fmt.Sprint(i), "a"), slot(to(ep))).Leased[0]
		settle(t, s, d, event.Dead, because("refused"))
		want = append([]string{ep + " " + fmt.Sprint(i)}, want...)
		clock.forward(time.Second)
	}
	list := func(most int, endpoints ...string) (got []string) {
		cursor := ""
		for {
			ls, next, err := s.DeadLetters(t.Context(), endpoints, cursor, most)
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range ls {
				got = append(got, l.Endpoint+" "+l.WaybillCode)
				if l.Reason != "refused" || l.Attempts != 1 || l.CPCode != "zt" || l.Status != "a" {
					t.Errorf("%+v", l)
				}
			}
			if next == "" {
				return got
			}
			cursor = next
		}
	}
	for _, most := range []int{1, 7, 100} {
		if got := list(most); !slices.Equal(got, want) {
			t.Errorf("in pages of %d: %v", most, got)
		}
	}
	mine := slices.DeleteFunc(slices.Clone(want), func(s string) bool { return !strings.HasPrefix(s, "t/1 ") })
	if got := list(4, "t/1"); !slices.Equal(got, mine) {
		t.Errorf("of one endpoint: %v", got)
	}
	if _, _, err := s.DeadLetters(t.Context(), nil, "x y", 1); err == nil {
		t.Error("nonsense is taken for a cursor")
	}

	id := update("1", "a").ID
	if n, err := s.Dismiss(t.Context(), "t/1", id, update("0", "a").ID); n != 1 || err != nil {
		t.Errorf("dismissed %d, %v", n, err)
	}
	if n, err := s.Dismiss(t.Context(), "t/1", id); n != 0 || err != nil {
		t.Errorf("dismissed %d twice, %v", n, err)
	}
	if got := list(100, "t/1"); len(got) != 9 {
		t.Errorf("%v", got)
	}
	if e, err := s.Event(t.Context(), id, ""); err != nil || e.Deliveries[0].State != event.StateDismissed || e.Deliveries[0].Why != "refused" {
		t.Errorf("%+v, %v", e, err)
	}
}

func checkDismissedExpires(t *testing.T, b *bench) {
	s := b.open(t, store.Options{Settings: store.Settings{Retention: 100 * time.Millisecond, Window: 100 * time.Millisecond}})
	d := acceptOne(t, s, update("1", "a"), slot(to("t/a"))).Leased[0]
	settle(t, s, d, event.Dead, because("no"))
	if n, err := s.Dismiss(t.Context(), "t/a", d.Event.ID); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	until(t, "a dismissed dead letter expires as a delivered event does", func() bool { return len(b.Keys(t, "{"+b.tag+"}:e:")) == 0 })
}

func checkData(t *testing.T, b *bench) {
	s := b.open(t, store.Options{})
	one, two := update("1", "one"), update("2", "two")
	acceptOne(t, s, one, to("t/a"))
	acceptOne(t, s, two, nil)
	page, err := s.Events(t.Context(), event.Query{Most: 10})
	if err != nil || len(page.Events) != 2 || len(page.Events[0].Data) != 0 {
		t.Fatalf("%+v, %v", page, err)
	}
	gone := &event.Stored{Event: event.Event{ID: update("3", "gone").ID}}
	if _, err := s.FillData(t.Context(), append(page.Events, gone), 1<<20); err != nil {
		t.Fatal(err)
	}
	if string(page.Events[0].Data) != string(two.Data) || string(page.Events[1].Data) != string(one.Data) || gone.Data != nil {
		t.Errorf("%s, %s, %s", page.Events[0].Data, page.Events[1].Data, gone.Data)
	}
	if _, err := s.FillData(t.Context(), nil, 1); err != nil {
		t.Error(err)
	}
}

func checkHealth(t *testing.T, b *bench) {
	s := b.open(t, store.Options{})
	for i := range 4 {
		d := acceptOne(t, s, update(fmt.Sprint(i), "a"), slot(to("t/a"))).Leased[0]
		if i == 0 {
			settle(t, s, d, event.Retry, dueIn(s, time.Hour), func(o *event.Outcome) { o.Attempt = &event.Attempt{Status: 500, Answer: []byte("oops")} })
			continue
		}
		settle(t, s, d, event.Delivered)
	}

	if err := s.Park(t.Context(), "t/a"); err != nil {
		t.Fatal(err)
	}
	if err := s.Distrust(t.Context(), "t/a"); err != nil {
		t.Fatal(err)
	}

	hs, err := s.Health(t.Context(), []string{"t/none", "t/a"}, 10)
	if err != nil || len(hs) != 2 {
		t.Fatal(hs, err)
	}
	if h := hs[0]; h.Endpoint != "t/none" || h.Open+h.Waiting+h.Dead != 0 || h.Parked != "" || len(h.Latest) != 0 {
		t.Errorf("%+v", h)
	}

	// The latest attempts come first, and a failure says why.
	h := hs[1]
	if h.Open != 1 || h.Oldest.IsZero() || h.Parked != "paused" || s.Now().Sub(h.ParkedSince).Abs() > time.Minute || len(h.Latest) != 4 {
		t.Fatalf("%+v", h)
	}
	if !h.Latest[0].Good() || h.Latest[3].Status != 500 || h.Latest[3].Text != "oops" {
		t.Errorf("%+v", h.Latest)
	}
	if s.Now().Sub(h.AnswersTwice).Abs() > time.Minute || !hs[0].AnswersTwice.IsZero() {
		t.Errorf("answers twice since %s, the other %s", h.AnswersTwice, hs[0].AnswersTwice)
	}
}

func checkLastCallback(t *testing.T, b *bench) {
	s, other := b.open(t, store.Options{}), b.open(t, store.Options{})
	early := time.UnixMilli(1_700_000_000_123)
	late := early.Add(time.Minute)
	for i, c := range []struct {
		s        *store.Store
		at, want time.Time
	}{{s, time.Time{}, time.Time{}}, {s, early, early}, {other, time.Time{}, early}, {other, late, late}, {s, early, late}} {
		if got, err := c.s.LastCallback(t.Context(), c.at); err != nil || !got.Equal(c.want) {
			t.Errorf("%d: %s, %v, want %s", i, got, err, c.want)
		}
	}
}

func checkReplay(t *testing.T, b *bench) {
	clock := &shifted{}
	s, other := b.open(t, store.Options{Clock: clock.now}), b.open(t, store.Options{Clock: clock.now})
	var ids []string
	for i := range 4 {
		e := update(fmt.Sprint(i), "a")
		d := acceptOne(t, s, e, slot(to("t/a"))).Leased[0]
		switch i {
		case 0, 1:
			settle(t, s, d, event.Delivered)
		case 2:
			settle(t, s, d, event.Dead, because("no"))
		}
		ids = append(ids, e.ID)
	}
	lone := update("lone", "a")
	acceptOne(t, s, lone, nil)
	asked, err := s.NewReplay(t.Context(), event.Replay{Tenant: "t", Filter: []byte(`{"x":1}`)})
	if err != nil {
		t.Fatal(err)
	}
	if _, mine, err := s.ReplayPage(t.Context(), asked.ID, event.ReplayPage{}); mine || err != nil {
		t.Errorf("a page of what was not claimed: %v, %v", mine, err)
	}
	r, err := takeUp(t, s)
	if err != nil || r == nil || r.ID != asked.ID || r.Tenant != "t" || string(r.Filter) != `{"x":1}` || r.State != "running" {
		t.Fatalf("%+v, %v", r, err)
	}
	if r, err := takeUp(t, other); r != nil || err != nil {
		t.Errorf("claimed twice: %+v, %v", r, err)
	}
	send := event.ReplayPage{Cursor: "here", Looked: 5, Matched: 4, Resends: []event.Resend{
		{EventID: ids[0], Endpoint: "t/a", Lease: lease}, {EventID: ids[1], Endpoint: "t/a"}, {EventID: ids[2], Endpoint: "t/a"},
		{EventID: ids[3], Endpoint: "t/a"},                     // open
		{EventID: lone.ID, Endpoint: "t/a"},                    // not owed
		{EventID: lone.ID, Endpoint: "t/b", Add: true},         // owed from now on
		{EventID: update("gone", "a").ID, Endpoint: "t/a"},     // not there
		{EventID: ids[0], Endpoint: "t/a", Lease: time.Second}, // open by now
	}}
	leased, mine, err := s.ReplayPage(t.Context(), r.ID, send)
	if err != nil || !mine || len(leased) != 1 || leased[0].Event.ID != ids[0] || leased[0].Reason != event.ReasonReplay || leased[0].Attempts != 0 {
		t.Fatalf("%+v %v %v", leased, mine, err)
	}
	clock.forward(time.Millisecond)
	var due []string
	for _, d := range append(take(t, s, "t/a", 10), take(t, s, "t/b", 10)...) {
		if d.Reason != event.ReasonReplay || len(d.Event.Data) == 0 {
			t.Errorf("%+v", d)
		}
		due = append(due, d.Event.WaybillCode)
		settle(t, s, d, event.Delivered)
	}
	slices.Sort(due)
	if !slices.Equal(due, []string{"1", "2", "lone"}) {
		t.Errorf("due are %v", due)
	}
	settle(t, s, leased[0], event.Delivered)
	if got := page(t, s, event.Query{Most: 10, Endpoints: []string{"t/b"}}); !slices.Equal(got, []string{"lone:a"}) {
		t.Errorf("of the new endpoint: %v", got)
	}
	if got := page(t, s, event.Query{Most: 10}); len(got) != 5 {
		t.Errorf("all: %v", got)
	}
	if ls, _, err := s.DeadLetters(t.Context(), nil, "", 10); len(ls) != 0 || err != nil {
		t.Errorf("dead letters: %v, %v", ls, err)
	}
	now, err := s.Replay(t.Context(), r.ID)
	if err != nil || now.Cursor != "here" || now.Looked != 5 || now.Matched != 4 || now.Queued != 4 || now.Skipped != 4 {
		t.Errorf("%+v, %v", now, err)
	}

	// Another replica goes on where it was.
	s.LetGoReplay(t.Context(), r.ID)
	if r, err = takeUp(t, other); err != nil || r == nil || r.Cursor != "here" {
		t.Fatalf("%+v, %v", r, err)
	}
	if _, mine, err := s.ReplayPage(t.Context(), r.ID, send); mine || err != nil {
		t.Errorf("a page of what another has: %v, %v", mine, err)
	}
	if _, mine, err := other.ReplayPage(t.Context(), r.ID, event.ReplayPage{Done: true}); !mine || err != nil {
		t.Errorf("the last page: %v, %v", mine, err)
	}
	if was, err := s.CancelReplay(t.Context(), r.ID); was || err != nil {
		t.Errorf("cancelled what is done: %v, %v", was, err)
	}
	if r, err := takeUp(t, s); r != nil || err != nil {
		t.Errorf("claimed what is done: %+v, %v", r, err)
	}

	second, err := s.NewReplay(t.Context(), event.Replay{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = takeUp(t, s); err != nil {
		t.Fatal(err)
	}
	if was, err := other.CancelReplay(t.Context(), second.ID); !was || err != nil {
		t.Errorf("%v, %v", was, err)
	}
	if _, mine, err := s.ReplayPage(t.Context(), second.ID, send); mine || err != nil {
		t.Errorf("a page of what was cancelled: %v, %v", mine, err)
	}
	all, next, err := s.Replays(t.Context(), "", "", 10)
	if err != nil || next != "" || len(all) != 2 || all[0].ID != second.ID && all[1].ID != second.ID {
		t.Errorf("%+v, %v", all, err)
	}
	for _, r := range all {
		if want := map[string]string{asked.ID: "done", second.ID: "cancelled"}[r.ID]; r.State != want || r.Ended.IsZero() {
			t.Errorf("%+v", r)
		}
	}
}
