package storetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
)

func checkNothingLeft(t *testing.T, b *bench) {
	const short = 200 * time.Millisecond
	s := b.open(t,
		options{Settings: settings{Window: short, Retention: short, DeadLetterRetention: 2 * short}})
	var routed []queue.Routed
	for i := range 50 {
		routed = append(routed, queue.Routed{Event: update(fmt.Sprint(i%10), fmt.Sprint(i)), To: to("t/a", "t/b")})
	}
	routed = append(routed, queue.Routed{Event: update("unrouted", "a")})
	other := update("", "other")
	other.Type = "print_status"
	routed = append(routed, queue.Routed{Event: other, To: to("t/a")})
	accept(t, s, routed...)

	if _, err := s.Quarantine(t.Context(), []event.Quarantined{{ID: "q"}}, false); err != nil {
		t.Fatal(err)
	}

	// All deliveries are closed, in one way or another.
	for closed, rounds := 0, 0; closed < 101; rounds++ {
		if rounds > 2000 {
			t.Fatalf("%d of 101 deliveries are closed", closed)
		}
		ds, _, err := s.Lease(t.Context(), []queue.LeaseRequest{{Endpoint: "t/a", Lease: lease, Most: 20},
			{Endpoint: "t/b", Lease: lease, Most: 20}})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range ds {
			switch rand.IntN(4) {
			case 0:
				settle(t, s, d, queue.Retry, dueIn(s, 0))
			case 1:
				settle(t, s, d, queue.Dead, because("no"))
				closed++
			default:
				settle(t, s, d, queue.Delivered)
				closed++
			}
		}
	}

	if len(b.Keys(t, b.prefix())) == 0 {
		t.Fatal("nothing was there to begin with")
	}
	// The answers to lease calls have a life of their own, a minute, and so has the clock, a day.
	until(t, "no key is left", func() bool {
		tidy(t, s)
		return !slices.ContainsFunc(b.Keys(t, b.prefix()), func(k string) bool {
			return !strings.HasPrefix(k, b.prefix()+"r:") && k != b.prefix()+"clock"
		})
	})
}

func checkNothingOpenExpires(t *testing.T, b *bench) {
	const short = 50 * time.Millisecond
	clock := &shifted{}
	s := b.open(t, options{Clock: clock.now,
		Settings: settings{Window: short, Retention: short, DeadLetterRetention: short}})
	var routed []queue.Routed
	for i := range 40 {
		routed = append(routed, queue.Routed{Event: update(fmt.Sprint(i%8), fmt.Sprint(i)), To: to("t/a", "t/b")})
	}
	accept(t, s, routed...)

	// Everything that can happen to an open delivery happens to some; the deliveries of the same events to t/b are all
	// closed.
	kinds := []queue.OutcomeKind{queue.Retry, queue.Released, queue.Retry}
	for i, d := range take(t, s, "t/a", 6) {
		settle(t, s, d, kinds[i%3], dueIn(s, 0))
	}
	for range routed {
		for _, d := range take(t, s, "t/b", 100) {
			settle(t, s, d, queue.Delivered)
		}
	}

	// A waybill that was done with gets two more updates.
	settle(t, s, acceptOne(t, s, update("back", "a"), slot(to("t/c"))).Leased[0], queue.Delivered)
	accept(t, s, queue.Routed{Event: update("back", "b"), To: to("t/c")},
		queue.Routed{Event: update("back", "c"), To: to("t/c")})

	// One that is dead is redriven, before its short life is over: on a machine that stands still, another one is.
	left := len(routed)
	redriven := 0
	for redriven == 0 {
		dead := take(t, s, "t/a", 1)[0]
		settle(t, s, dead, queue.Dead, because("no"))
		n, err := s.Redrive(t.Context(), "t/a", dead.Event.ID)
		if err != nil {
			t.Fatal(err)
		}
		redriven = n
		left -= 1 - n
	}

	// By the time at which this event is gone, so are all others that are closed.
	probe := update("probe", "a")
	acceptOne(t, s, probe, nil)
	until(t, "what is closed has expired", func() bool {
		tidy(t, s)
		return !slices.Contains(b.Keys(t, b.prefix()), b.prefix()+"w:probe")
	})

	// What is open is all there, whole.
	clock.forward(1000 * time.Hour) // every lease has lapsed too
	seen := map[string]int{}
	for range 40 {
		for _, d := range take(t, s, "t/a", 100) {
			if len(d.Event.Data) == 0 {
				t.Fatalf("%s has lost its body", d.Event.ID)
			}
			seen[d.Event.ID]++
			settle(t, s, d, queue.Delivered)
		}
	}

	if len(seen) != left {
		t.Errorf("%d of %d open deliveries are left", len(seen), left)
	}
	if n := settle(t, s, takeOne(t, s, "t/c"), queue.Delivered, next).Next; n == nil || n.Event.Status != "c" {
		t.Errorf("the waybill that came back: %+v", n)
	}
}

// checkRandom plays random operations on two replicas against what must hold: every delivery is closed exactly once,
// the first lease of an update comes after its predecessor was closed, and in the end nothing is open.
func checkRandom(t *testing.T, b *bench) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	clock := &shifted{}
	stores := []*replica{b.open(t, options{Clock: clock.now}), b.open(t, options{Clock: clock.now})}
	endpoints := []string{"t/a", "t/b", "t/c"}
	accepted := map[string][]string{} // endpoint and waybill → statuses in order
	closed := map[string]int{}        // endpoint, waybill and status
	var held []*event.Delivery

	name := func(d *event.Delivery, status string) string {
		return d.Endpoint + " " + d.Event.WaybillCode + " " + status
	}
	hold := func(ds ...*event.Delivery) { // checks a lease against what is closed by then
		for _, d := range ds {
			line := accepted[d.Endpoint+" "+d.Event.WaybillCode]
			if i := slices.Index(line, d.Event.Status); i < 0 {
				t.Fatalf("%s was never accepted", name(d, d.Event.Status))
			} else if i > 0 && closed[name(d, line[i-1])] == 0 {
				t.Fatalf("%s before %s was closed", name(d, d.Event.Status), line[i-1])
			}
			held = append(held, d)
		}
	}

	// Events are accepted, leased, settled, and left to lapse.
	total := 0
	for step := range b.some(1500) {
		s := stores[rnd.IntN(2)]
		switch op := rnd.IntN(10); {
		case op < 3 && step < b.some(1000):
			var routed []queue.Routed
			for range 1 + rnd.IntN(4) {
				e := update(fmt.Sprint(rnd.IntN(5)), fmt.Sprint(step, len(routed)))
				cs := to(endpoints[:1+rnd.IntN(3)]...)
				for i := range cs {
					cs[i].Slot = rnd.IntN(2) == 0
				}
				routed = append(routed, queue.Routed{Event: e, To: cs})
			}
			for _, e := range routed {
				for _, c := range e.To {
					k := c.Endpoint + " " + e.Event.WaybillCode
					accepted[k] = append(accepted[k], e.Event.Status)
					total++
				}
			}
			for _, a := range accept(t, s, routed...) {
				hold(a.Leased...)
			}
		case op < 5:
			hold(takeFor(t, s, endpoints[rnd.IntN(3)], 1+rnd.IntN(5), lease)...)
		case op == 5 && rnd.IntN(5) == 0:
			clock.forward(2 * lease) // every holder's lease lapses
		default:
			if len(held) == 0 {
				continue
			}
			i := rnd.IntN(len(held))
			d := held[i]
			held = slices.Delete(held, i, i+1)
			kind := []queue.OutcomeKind{queue.Delivered, queue.Delivered, queue.Delivered, queue.Retry, queue.Released,
				queue.Dead}[rnd.IntN(6)]
			got := settle(t, s, d, kind, dueIn(s, 0), next)
			if !got.Late && (kind == queue.Delivered || kind == queue.Dead) {
				closed[name(d, d.Event.Status)]++
			}
			if got.Next != nil {
				hold(got.Next)
			}
		}
	}

	// One replica delivers what is left.
	for range 2000 {
		clock.forward(2 * lease)
		for _, ep := range endpoints {
			for _, d := range take(t, stores[0], ep, 50) {
				hold(d)
				if settle(t, stores[0], d, queue.Delivered).Late {
					t.Fatal("late, though nobody else is there")
				}
				closed[name(d, d.Event.Status)]++
			}
		}
		if len(closed) == total {
			break
		}
	}

	// Each was closed once, and nothing is open.
	if len(closed) != total {
		t.Errorf("%d of %d deliveries are closed", len(closed), total)
	}
	for k, n := range closed {
		if n != 1 {
			t.Errorf("%s was closed %d times", k, n)
		}
	}

	ds, err := stores[0].Depths(t.Context(), endpoints)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range ds {
		if d.Open != 0 || d.Waiting != 0 {
			t.Errorf("at the end: %+v", d)
		}
	}
}
