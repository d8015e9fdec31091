package storetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
)

// page lists events until the list ends, in pages of the size given.
func page(t *testing.T, s *replica, q event.Query) (found []string) {
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
	s := b.open(t, options{Clock: clock.now})
	var all []string
	var begin, middle time.Time
	calls, sizes := 25, []int{500, 61} // over some chunks of a thousand
	if b.Slow {
		calls, sizes = 11, []int{500} // just over one
	}
	for i := range calls {
		if i == calls/2 {
			clock.forward(time.Hour)
			middle = s.Now().Truncate(time.Millisecond)
		}
		var entries []queue.Routed
		for j := range 100 {
			e := queue.Routed{Event: update(fmt.Sprint(i*100+j), "a"), To: to("t/a")}
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
	accept(t, s, queue.Routed{Event: update("nobody's", "a")})
	all = append(all, "nobody's:a")
	owed, half := calls*100, calls/2*100
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
	of := func(i int) bool { return i < owed && i%50 == 49 }
	for _, most := range sizes {
		same("all", page(t, s, event.Query{Most: most}), older(all))
		same("all, from the oldest on", page(t, s, event.Query{Most: most, Newer: true}), all)
		same("those of two endpoints", page(t, s, event.Query{Most: most, Endpoints: []string{"t/b", "x/y"}}),
			older(want(of)))
		same("since", page(t, s, event.Query{Most: most, Since: middle}), older(all[half:]))
		same("until", page(t, s, event.Query{Most: most, Until: middle}), older(all[:half]))
		same("since, from the oldest on", page(t, s, event.Query{Most: most, Since: middle, Newer: true}), all[half:])
		same("until, from the oldest on", page(t, s, event.Query{Most: most, Until: middle, Newer: true}), all[:half])
		same("before all", page(t, s, event.Query{Most: most, Until: begin}), nil)
		same("wanted", page(t, s, event.Query{Most: most, Match: func(e *event.Record) bool {
			return strings.HasSuffix(e.WaybillCode, "77")
		}}),
			older(want(func(i int) bool { return i < owed && i%100 == 77 })))
	}
	same("of no endpoint", page(t, s, event.Query{Most: 10, Endpoints: []string{}}), nil)
	if _, err := s.Events(t.Context(), event.Query{Cursor: "nonsense", Most: 1}); err == nil {
		t.Error("nonsense is taken for a cursor")
	}

	checkHowFarBack(t, s)
	checkBackAndForth(t, s)
	checkBackFromATime(t, s, middle)

	// Going to newer events, the end is where to go on later.
	p, err := s.Events(t.Context(), event.Query{Most: 500, Newer: true, Since: s.Now().Add(-time.Minute),
		Match: func(*event.Record) bool {
			return false
		}})
	for ; err == nil && !p.End; p, err = s.Events(t.Context(), event.Query{Most: 500, Newer: true, Cursor: p.Next}) {
	}
	if err != nil {
		t.Fatal(err)
	}
	acceptOne(t, s, update("later", "a"), to("t/a"))
	same("later", page(t, s, event.Query{Most: 10, Newer: true, Cursor: p.Next}), []string{"later:a"})
}

// checkBackAndForth turns round on a page, in both directions: the pages join without a gap, and nothing comes twice.
func checkBackAndForth(t *testing.T, s *replica) {
	t.Helper()
	turn := func(q event.Query) {
		t.Helper()
		first, err := s.Events(t.Context(), q)
		if err != nil || len(first.Events) == 0 || first.Next == "" {
			t.Fatalf("%d events, next %q, %v", len(first.Events), first.Next, err)
		}
		q.Cursor = first.Next
		second, err := s.Events(t.Context(), q)
		if err != nil || len(second.Events) == 0 || second.Back == "" {
			t.Fatalf("%d events, back %q, %v", len(second.Events), second.Back, err)
		}

		q.Cursor = second.Back
		q.Newer = !q.Newer
		back, err := s.Events(t.Context(), q)
		if err != nil || len(back.Events) == 0 {
			t.Fatalf("%d events, %v", len(back.Events), err)
		}
		slices.Reverse(back.Events)
		if got, want := idsOf(back.Events), idsOf(first.Events); !slices.Equal(got, want) {
			t.Errorf("newer %v: back are %d events %.100v, want %d %.100v", q.Newer, len(got), got, len(want), want)
		}
	}
	for _, most := range []int{1, 50, 400} { // also beyond a chunk's end
		turn(event.Query{Most: most})
		turn(event.Query{Most: most, Newer: true})
		turn(event.Query{Most: most, Newer: true, Since: s.Now().Add(-90 * time.Minute)})
	}
	turn(event.Query{Most: 10, Endpoints: []string{"t/b"}})
}

// checkBackFromATime turns round on a page that begins at a time: what comes first is next to that time.
func checkBackFromATime(t *testing.T, s *replica, at time.Time) {
	t.Helper()
	// first asks for the first events of a query: a page may end before it has come to one.
	first := func(q event.Query) event.Page {
		t.Helper()
		for {
			p, err := s.Events(t.Context(), q)
			switch {
			case err != nil || len(p.Events) == 0 && p.Next == "":
				t.Fatalf("no events, %v", err)
			case len(p.Events) > 0:
				return p
			}
			q.Cursor = p.Next
		}
	}
	for _, q := range []event.Query{{Most: 10, Until: at}, {Most: 10, Newer: true, Since: at}} {
		back := first(event.Query{Most: 10, Newer: !q.Newer, Cursor: first(q).Back})
		want := first(event.Query{Most: 10, Newer: !q.Newer, Since: q.Until, Until: q.Since})
		if got, want := idsOf(back.Events), idsOf(want.Events); !slices.Equal(got[:1], want[:1]) {
			t.Errorf("newer %v: back are %.100v, want %.100v", !q.Newer, got, want)
		}
	}
}

func idsOf(events []*event.Record) (ids []string) {
	for _, e := range events {
		ids = append(ids, e.ID)
	}
	return ids
}

// checkHowFarBack looks for what is not there, page by page: each page says how far back the search has come.
func checkHowFarBack(t *testing.T, s *replica) {
	t.Helper()
	for what, q := range map[string]event.Query{
		"by what they are":   {Most: 10, Match: func(*event.Record) bool { return false }},
		"by their endpoints": {Most: 10, Endpoints: []string{"x/y"}},
	} {
		back := s.Now()
		end := false
		for !end {
			p, err := s.Events(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			if len(p.Events) > 0 || p.BackTo.After(back) || q.Match != nil && p.BackTo.IsZero() {
				t.Fatalf("%s: %d events, back to %s after %s", what, len(p.Events), p.BackTo, back)
			}

			// All events since then were looked at; those of other endpoints are not even read.
			if q.Match != nil && q.Cursor == "" {
				since := page(t, s, event.Query{Most: 500, Since: p.BackTo.Add(time.Millisecond)})
				if len(since) == 0 || len(since) > p.Looked {
					t.Errorf("%s: %d events since %s, and %d were looked at", what, len(since), p.BackTo, p.Looked)
				}
			}
			back = p.BackTo
			q.Cursor = p.Next
			end = p.End
		}
		if first := page(t, s, event.Query{Most: 500, Until: back}); q.Match != nil && len(first) > 0 {
			t.Errorf("%s: %d events are older than the end, %s", what, len(first), back)
		}
		if q.Endpoints != nil && back.IsZero() {
			t.Errorf("%s: it does not say how far back it has looked", what)
		}
	}
}

func checkTrim(t *testing.T, b *bench) {
	// the list itself is gone if nothing is accepted for twice as long, as on a machine that is stalled
	const short = 3 * time.Second
	s := b.open(t, options{Settings: settings{Retention: short, Window: short, DeadLetterRetention: short}})
	for i := range 10 {
		var entries []queue.Routed
		for j := range 110 {
			// owed to nobody, so that they expire
			entries = append(entries, queue.Routed{Event: update(fmt.Sprint(i, ".", j), "a")})
		}
		accept(t, s, entries...)
	}
	acceptOne(t, s, update("open", "a"), to("t/a"))

	until(t, "only what is open is listed", func() bool {
		tidy(t, s)
		acceptOne(t, s, update(fmt.Sprint("more", time.Now().UnixNano()), "a"), nil) // chunks that are too old are full
		got := page(t, s, event.Query{Most: 100, Until: s.Now().Add(-2 * short)})
		return len(got) == 1 && got[0] == "open:a"
	})
	until(t, "what is trimmed takes no memory", func() bool {
		tidy(t, s)
		acceptOne(t, s, update(fmt.Sprint("more", time.Now().UnixNano()), "a"), nil)
		return len(b.Keys(t, b.prefix()+"v:")) < 30
	})
}

func checkTrimEnds(t *testing.T, b *bench) {
	const keep = 4 * time.Hour
	clock := &shifted{}
	s := b.open(t, options{Clock: clock.now, Settings: settings{Retention: keep}})
	for i := range 12 { // a chunk each, because it has been open for long
		acceptOne(t, s, update(fmt.Sprint(i), "a"), to("t/a"))
		clock.forward(keep/4 + time.Second)
	}
	clock.forward(2 * keep)

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := s.Tidy(ctx); err != nil || ctx.Err() != nil {
		t.Fatalf("it went over the same chunks again and again: %v", err)
	}
	if got := page(t, s, event.Query{Most: 100}); len(got) != 12 {
		t.Errorf("%d of 12 open events are listed", len(got))
	}
}

func checkEventAndWaybill(t *testing.T, b *bench) {
	clock := &shifted{}
	s := b.open(t, options{Clock: clock.now})
	first := update("1", "a")
	got := accept(t, s, queue.Routed{Event: first, To: slot(to("t/a", "t/b"))},
		queue.Routed{Event: update("1", "b"), To: to("t/a")})
	a, bb := got[0].Leased[0], got[0].Leased[1]
	settle(t, s, bb, queue.Delivered, func(o *queue.Outcome) {
		o.Attempt = &event.Attempt{Status: 204, Duration: 7 * time.Millisecond}
	})
	settle(t, s, a, queue.Retry, dueIn(s, time.Hour), func(o *queue.Outcome) {
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
	if e.ID != first.ID || e.Status != "a" || string(e.Data) != string(first.Data) || e.Repeats != 2 ||
		s.Now().Sub(e.LastRepeat) > time.Minute {
		t.Errorf("%+v", e)
	}
	x, y := e.Deliveries[0], e.Deliveries[1]
	if x.Endpoint != "t/a" || x.State != event.StateRetrying || x.Attempts != 1 || x.Due.Sub(s.Now()) < 50*time.Minute ||
		len(x.Records) != 1 || x.Records[0].Status != 503 || x.Records[0].Text != "busy" ||
		x.Records[0].Duration != 12*time.Millisecond {
		t.Errorf("retrying: %+v", x)
	}
	if y.Endpoint != "t/b" || y.State != event.StateDelivered || len(y.Records) != 1 || y.Records[0].Status != 204 ||
		y.Records[0].Duration != 7*time.Millisecond || !y.Records[0].Good() {
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
	settle(t, s, again, queue.Dead, because("no"), func(o *queue.Outcome) {
		o.Attempt = &event.Attempt{Err: "timeout: no whole answer in time"}
	})

	one, ok, err := s.Event(t.Context(), e.ID, "")
	if err != nil || !ok {
		t.Fatal(one, err)
	}
	x = one.Deliveries[0]
	if x.State != event.StateDead || x.Why != "no" || len(x.Records) != 2 || x.Records[1].Status != 0 ||
		x.Records[1].Text != "timeout: no whole answer in time" {
		t.Errorf("dead: %+v", x)
	}

	// What is not there is no error.
	for _, id := range []string{"nonsense", "evt_00", update("9", "z").ID} {
		if none, ok, err := s.Event(t.Context(), id, ""); ok || err != nil {
			t.Errorf("%s: %v, %v", id, none, err)
		}
	}
	if none, err := s.Waybill(t.Context(), "9", ""); len(none) != 0 || err != nil {
		t.Errorf("%v, %v", none, err)
	}
}

func checkOrigin(t *testing.T, b *bench) {
	s := b.open(t, options{})
	came := time.UnixMilli(1_700_000_000_000)
	first := update("1", "a")
	first.Item, first.Config = 3, "a0b1c2d3"
	first.Origin = &event.Origin{ID: event.NewCallbackID(came), From: "203.0.113.9", Replica: "relay-b", Form: "json",
		Items: 7, Trace: "0af7651916cd43dd8448eb211c80319c-00"}
	acceptOne(t, s, first, to("t/a"))
	same := func(what string, got *event.Record, again []string) {
		t.Helper()
		if got == nil || got.Origin == nil || *got.Origin != *first.Origin || got.Item != 3 || got.Config != "a0b1c2d3" ||
			!slices.Equal(got.RepeatedIn, again) {
			t.Errorf("%s: %+v of %+v, again in %v", what, got, got.Origin, again)
		}
	}

	// It comes again twelve times, twice in one call, and once in a callback without an id.
	var ids []string
	for i := range 11 {
		again := update("1", "a")
		again.Origin = &event.Origin{ID: event.NewCallbackID(came.Add(time.Duration(i+1) * time.Second))}
		entries := []queue.Routed{{Event: again, To: to("t/a")}}
		switch i {
		case 6:
			again.Origin = nil
		case 8:
			entries = append(entries, entries[0])
			ids = append(ids, again.Origin.ID)
		}
		accept(t, s, entries...)
		if again.Origin != nil {
			ids = append(ids, again.Origin.ID)
		}
	}
	latest := ids[len(ids)-9:] // of the last ten, one had no id

	one, _, err := s.Event(t.Context(), first.ID, "")
	if err != nil || one.Repeats != 12 {
		t.Fatalf("%+v, %v", one, err)
	}
	same("by its id", one, latest)
	all, err := s.Waybill(t.Context(), "1", "")
	if err != nil || len(all) != 1 {
		t.Fatalf("%d events, %v", len(all), err)
	}
	same("of its waybill", all[0], latest)
	page, err := s.Events(t.Context(), event.Query{Most: 10})
	if err != nil || len(page.Events) != 1 {
		t.Fatalf("%d events, %v", len(page.Events), err)
	}
	same("in a list", page.Events[0], latest)
	if d := takeOne(t, s, "t/a"); d.Event.Origin == nil || *d.Event.Origin != *first.Origin {
		t.Errorf("leased: %+v", d.Event)
	}
}

func checkData(t *testing.T, b *bench) {
	s := b.open(t, options{})
	one, two := update("1", "one"), update("2", "two")
	acceptOne(t, s, one, to("t/a"))
	acceptOne(t, s, two, nil)
	page, err := s.Events(t.Context(), event.Query{Most: 10})
	if err != nil || len(page.Events) != 2 || len(page.Events[0].Data) != 0 {
		t.Fatalf("%+v, %v", page, err)
	}
	gone := &event.Record{Event: event.Event{ID: update("3", "gone").ID}}
	if _, err := s.FillData(t.Context(), append(page.Events, gone), 1<<20); err != nil {
		t.Fatal(err)
	}
	if string(page.Events[0].Data) != string(two.Data) || string(page.Events[1].Data) != string(one.Data) ||
		gone.Data != nil {
		t.Errorf("%s, %s, %s", page.Events[0].Data, page.Events[1].Data, gone.Data)
	}
	if _, err := s.FillData(t.Context(), nil, 1); err != nil {
		t.Error(err)
	}
}

func checkLastCallback(t *testing.T, b *bench) {
	s, other := b.open(t, options{}), b.open(t, options{})
	early := time.UnixMilli(1_700_000_000_123)
	late := early.Add(time.Minute)
	for i, c := range []struct {
		s        *replica
		at, want time.Time
	}{{s, time.Time{}, time.Time{}}, {s, early, early}, {other, time.Time{}, early}, {other, late, late},
		{s, early, late}} {
		if got, err := c.s.LastCallback(t.Context(), c.at); err != nil || !got.Equal(c.want) {
			t.Errorf("%d: %s, %v, want %s", i, got, err, c.want)
		}
	}
}

func checkReplicas(t *testing.T, b *bench) {
	clock := &shifted{}
	s, other := b.open(t, options{Clock: clock.now}), b.open(t, options{Clock: clock.now})
	beat := func(s *replica, id string, fields map[string]string) {
		t.Helper()
		if err := s.Beat(t.Context(), id, fields); err != nil {
			t.Fatal(err)
		}
	}
	list := func() string {
		t.Helper()
		all, err := s.Replicas(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		text := ""
		for _, r := range all {
			text += fmt.Sprintf("%s %v %v;", r.ID, r.Fields, s.Now().Sub(r.SeenAt).Abs() < 30*time.Second)
		}
		return text
	}

	// Each says how it does, the latest counts.
	beat(s, "b", map[string]string{"version": "1"})
	beat(other, "a", map[string]string{"version": "2", "held": "7"})
	beat(s, "b", map[string]string{"version": "1", "held": "0"})
	if got, want := list(), "a map[held:7 version:2] true;b map[held:0 version:1] true;"; got != want {
		t.Errorf("%s, want %s", got, want)
	}

	// One stops, the other falls silent.
	beat(other, "a", nil)
	if got, want := list(), "b map[held:0 version:1] true;"; got != want {
		t.Errorf("after one has stopped: %s, want %s", got, want)
	}
	clock.forward(2 * time.Minute)
	if got := list(); got != "" {
		t.Errorf("after the other has fallen silent: %s", got)
	}
}

func checkLastDelivered(t *testing.T, b *bench) {
	s := b.open(t, options{})
	settle(t, s, acceptOne(t, s, update("1", "a"), slot(to("t/a"))).Leased[0], queue.Delivered)
	got, err := s.LastDelivered(t.Context(), []string{"t/none", "t/a"})
	if err != nil || !got[0].IsZero() || time.Since(got[1]).Abs() > time.Minute {
		t.Errorf("%v, %v", got, err)
	}
	letter := acceptOne(t, s, update("2", "a"), slot(to("t/b"))).Leased[0]
	settle(t, s, letter, queue.Dead, because("no"))
	if busy, err := s.Busy(t.Context()); err != nil || len(busy) != 1 || busy[0].Endpoint != "t/b" ||
		s.Now().Sub(busy[0].LatestDead).Abs() > time.Minute {
		t.Errorf("busy: %+v, %v", busy, err)
	}
}
