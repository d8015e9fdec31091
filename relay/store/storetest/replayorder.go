package storetest

import (
	"slices"
	"testing"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
)

// deliverLine delivers updates of a waybill to endpoints, and returns their ids.
func deliverLine(t *testing.T, s *replica, statuses string, endpoints ...string) (ids []string) {
	t.Helper()
	for _, status := range statuses {
		e := update("1", string(status))
		for _, d := range acceptOne(t, s, e, slot(to(endpoints...))).Leased {
			settle(t, s, d, queue.Delivered)
		}
		ids = append(ids, e.ID)
	}
	return ids
}

// replay sends updates again to an endpoint, as one page of a replay, and returns what is leased.
func replay(t *testing.T, s *replica, ids []string, endpoint string, span time.Duration) []*event.Delivery {
	t.Helper()
	if _, err := s.NewReplay(t.Context(), event.Replay{}); err != nil {
		t.Fatal(err)
	}
	r, err := takeUp(t, s)
	if err != nil || r == nil {
		t.Fatalf("%+v, %v", r, err)
	}
	page := event.ReplayPage{Done: true}
	for _, id := range ids {
		page.Resends = append(page.Resends, event.Resend{EventID: id, Endpoint: endpoint, Lease: span})
	}
	leased, mine, err := s.ReplayPage(t.Context(), r.ID, page)
	if err != nil || !mine {
		t.Fatal(mine, err)
	}
	return leased
}

func checkReplayOrder(t *testing.T, b *bench) {
	clock := &shifted{}
	unordered := map[string]queue.Pacing{"t/any": {Unordered: true}}
	s, other := b.twins(t, clock, unordered)
	ids := deliverLine(t, s, "abcdef", "t/a", "t/b", "t/any")

	// Only the first is leased. Two parts of a replay, and what one sends by hand, stand in one line.
	leased := replay(t, s, ids[:3], "t/a", lease)
	if got := contents(leased); !slices.Equal(got, []string{"1:a"}) {
		t.Fatalf("leased are %v", got)
	}
	if more := replay(t, s, ids[3:5], "t/a", lease); len(more) != 0 {
		t.Fatalf("behind the first, %v are leased", contents(more))
	}
	if queued, err := s.Resend(t.Context(), "t/a", ids[5]); !queued || err != nil {
		t.Errorf("sent again behind the others: %v, %v", queued, err)
	}
	if e, _, err := s.Event(t.Context(), ids[1], ""); err != nil || e.Deliveries[0].State != event.StateWaiting ||
		e.Deliveries[0].Behind != ids[0] || e.Deliveries[0].Reason != event.ReasonReplay {
		t.Errorf("%+v, %v", e, err)
	}

	// Another endpoint has a line of its own; one without order has none.
	if got := contents(replay(t, s, ids[1:3], "t/b", lease)); !slices.Equal(got, []string{"1:b"}) {
		t.Errorf("at another endpoint, leased are %v", got)
	}
	if got := contents(replay(t, s, ids[1:3], "t/any", lease)); !slices.Equal(got, []string{"1:b", "1:c"}) {
		t.Errorf("without order, leased are %v", got)
	}

	// The first fails: nothing of its line is due, and a new update does not wait for it.
	settle(t, s, leased[0], queue.Retry, dueIn(s, time.Hour))
	if ds := take(t, s, "t/a", 10); len(ds) != 0 {
		t.Errorf("behind one that is retried, due are %v", contents(ds))
	}
	fresh := acceptOne(t, s, update("1", "new"), slot(to("t/a")))
	if len(fresh.Leased) != 1 {
		t.Fatalf("a new update waits: %+v", fresh)
	}
	if next := settle(t, s, fresh.Leased[0], queue.Delivered, next); next.Next != nil {
		t.Errorf("behind a new update comes %s", next.Next.Event.Status)
	}

	// Delivered, given up, and taken by another replica: the next one follows each.
	clock.forward(2 * time.Hour)
	a := takeOne(t, s, "t/a")
	if a.Event.Status != "a" || a.Reason != event.ReasonRetry {
		t.Fatalf("%+v", a)
	}
	got := settle(t, s, a, queue.Delivered, next)
	if got.Next == nil || got.Next.Event.Status != "b" || got.Next.Reason != event.ReasonReplay {
		t.Fatalf("behind a comes %+v", got)
	}
	if again := settle(t, s, a, queue.Delivered, next); again.Next == nil || again.Next.Event.Status != "b" {
		t.Errorf("settled again, behind a comes %+v", again)
	}
	settle(t, s, got.Next, queue.Dead, because("no"))
	clock.forward(slack)
	c := takeOne(t, other, "t/a")
	if c.Event.Status != "c" {
		t.Fatalf("behind b comes %s", c.Event.Status)
	}
	run := settleLine(t, other, queue.Delivered, c)
	if run[0].Next == nil || !slices.Equal(contents(append([]*event.Delivery{run[0].Next}, run[0].Line...)),
		[]string{"1:d", "1:e", "1:f"}) {
		t.Fatalf("behind c comes %+v", run[0])
	}
	settleLine(t, other, queue.Delivered, append([]*event.Delivery{run[0].Next}, run[0].Line...)...)
	for _, d := range take(t, s, "t/b", 10) {
		settle(t, s, d, queue.Delivered)
	}
	settle(t, s, takeOne(t, s, "t/b"), queue.Delivered)

	// Nothing is left of the lines, and the next replay begins anew.
	left := slices.Concat(b.Keys(t, b.prefix()+"yh:"), b.Keys(t, b.prefix()+"l:"), b.Keys(t, b.prefix()+"wait"))
	if len(left) != 0 {
		t.Errorf("left are %v", left)
	}
	if got := contents(replay(t, s, ids[:2], "t/a", lease)); !slices.Equal(got, []string{"1:a"}) {
		t.Errorf("of the next replay, leased are %v", got)
	}
}

// A relay of the version before closes a head without moving its line on, and Redis may lose one.
func checkReplayLineGoesOn(t *testing.T, b *bench) {
	clock := &shifted{}
	s := b.open(t, options{Clock: clock.now})
	ids := deliverLine(t, s, "abcd", "t/a")
	if got := contents(replay(t, s, ids[:2], "t/a", lease)); !slices.Equal(got, []string{"1:a"}) {
		t.Fatalf("leased are %v", got)
	}
	for _, key := range b.Keys(t, b.prefix()+"yh:") {
		b.Delete(t, key)
	}

	// At once nothing moves; after a while it does, and once.
	if err := s.Tidy(t.Context()); err != nil {
		t.Fatal(err)
	}
	if ds := take(t, s, "t/a", 10); len(ds) != 0 {
		t.Errorf("at once, due are %v", contents(ds))
	}
	clock.forward(2 * time.Minute)
	for range 2 {
		tidy(t, s)
	}
	clock.forward(time.Millisecond)
	got := contents(take(t, s, "t/a", 10))
	slices.Sort(got)
	if !slices.Equal(got, []string{"1:a", "1:b"}) { // the lease of a has lapsed
		t.Errorf("after a while, due are %v", got)
	}
	if ds, err := s.Depths(t.Context(), []string{"t/a"}); err != nil || ds[0].Waiting != 0 {
		t.Errorf("%+v, %v", ds, err)
	}
}
