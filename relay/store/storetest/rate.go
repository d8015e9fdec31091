package storetest

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
)

// What a call leases of one endpoint takes nothing of another's rate.
func checkRateAmongOthers(t *testing.T, b *bench) {
	clock := &shifted{}
	s := b.regulated(t, clock, map[string]queue.Pacing{"t/b": {Rate: 1}})
	for i, endpoint := range []string{"t/a", "t/a", "t/a", "t/b", "t/b"} {
		acceptOne(t, s, update(strconv.Itoa(i), "a"), to(endpoint))
	}
	ds, looked, err := s.Lease(t.Context(),
		[]queue.LeaseRequest{{Endpoint: "t/a", Lease: lease, Most: 3}, {Endpoint: "t/b", Lease: lease, Most: 2}})
	if err != nil || len(ds) != 4 || !looked[1].Limited {
		t.Fatalf("%d deliveries, %+v, %v", len(ds), looked, err)
	}
	clock.forward(time.Second + slack)
	if n := len(take(t, s, "t/b", 1)); n != 1 {
		t.Errorf("%d deliveries a second later", n)
	}
}

func checkRate(t *testing.T, b *bench) {
	clock := &shifted{}
	flows := map[string]queue.Pacing{"t/a": {Rate: 50}}
	s, other := b.twins(t, clock, flows)
	stores := []*replica{s, other}
	gather(t, s, "w", 400)

	// A new delivery does not go before those that wait.
	got := acceptOne(t, s, update("x", "a"), slot(to("t/a")))
	if len(got.Leased) != 0 {
		t.Error("a new delivery was handed over before those that wait")
	}

	// Two replicas together take no more than the rate.
	var held []*event.Delivery
	ask := func(i int) (int, queue.LeaseProgress) {
		ds, looked, err := stores[i%2].Lease(t.Context(), []queue.LeaseRequest{{Endpoint: "t/a", Lease: time.Hour, Most: 32}})
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, ds...)
		return len(ds), looked[0]
	}
	started, total := stores[0].Now(), 0
	for i := 0; total < 100; i++ {
		n, l := ask(i)
		total += n
		if !l.Limited || l.Again <= 0 || l.Again > 20*time.Millisecond+slack {
			t.Fatalf("after %d: %+v", total, l)
		}
		clock.forward(l.Again)
	}

	span := stores[0].Now().Sub(started).Seconds()
	if most := 50*(span+slack.Seconds()) + 4; float64(total) > most {
		t.Errorf("%d in %.2f s", total, span)
	}
	// A successor, and a new delivery where none wait, need a token too.
	for len(held) > 0 {
		settle(t, s, held[0], queue.Delivered)
		held = held[1:]
	}
	for {
		n, l := ask(0)
		for _, d := range held {
			settle(t, s, d, queue.Delivered)
		}
		held = nil
		if n == 0 && !l.Limited {
			break
		}
		clock.forward(time.Second)
	}
	clock.forward(time.Second)
	leased := 0
	for i := range 50 {
		leased += len(acceptOne(t, s, update(fmt.Sprint("y", i), "a"), slot(to("t/a"))).Leased)
	}
	if leased < 3 || leased > 3+int(50*time.Since(started).Seconds()) {
		t.Errorf("%d of 50 new ones were handed over at once", leased)
	}
}

func checkRateOfSuccessors(t *testing.T, b *bench) {
	clock := &shifted{}
	s := b.regulated(t, clock, map[string]queue.Pacing{"t/a": {Rate: 0.1}})
	got := accept(t, s, queue.Routed{Event: update("1", "a"), To: slot(to("t/a"))},
		queue.Routed{Event: update("1", "b"), To: slot(to("t/a"))},
		queue.Routed{Event: update("2", "a"), To: slot(to("t/a"))})
	if len(got[0].Leased) != 1 || len(got[1].Leased)+len(got[2].Leased) != 0 {
		t.Fatalf("%+v", got)
	}
	if n := settle(t, s, got[0].Leased[0], queue.Delivered, next).Next; n != nil {
		t.Errorf("the successor did not wait for its token: %v", contents([]*event.Delivery{n}))
	}
	ds, looked, err := s.Lease(t.Context(), []queue.LeaseRequest{{Endpoint: "t/a", Lease: lease, Most: 10}})
	if err != nil || len(ds) != 0 || !looked[0].Limited || looked[0].Again < 5*time.Second ||
		looked[0].Again > 10*time.Second {
		t.Errorf("%v %+v %v", contents(ds), looked, err)
	}
	if due, err := s.Due(t.Context(), 5*time.Second, 0, 10); err != nil || len(due) != 0 {
		t.Errorf("due before its token: %v, %v", due, err)
	}
	clock.forward(10*time.Second + slack)
	if ds := take(t, s, "t/a", 10); len(ds) != 1 {
		t.Errorf("after ten seconds: %v", contents(ds))
	}
}
