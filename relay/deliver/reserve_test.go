package deliver

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/signature"
)

func TestWhatIsSentAgainTakesAFewSlotsOfAnEndpointWhateverElseIsUnderWay(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ slots, taken, want int }{
		{1, 0, 1}, {1, 1, 0}, {2, 0, 1}, {3, 0, 1}, {3, 1, 0},
		{4, 0, 2}, {4, 1, 1}, {7, 1, 1}, {7, 2, 0}, {8, 0, 2}, {32, 0, 8}, {32, 7, 1}, {32, 8, 0},
	} {
		p, _ := newPool(t, &memory{})
		set := p.current.Load().Settings
		only := *set.Endpoints[0]
		only.MaxInFlight = c.slots
		set.Endpoints = []*Endpoint{&only}
		if err := p.Use(set); err != nil {
			t.Fatal(err)
		}
		e := p.endpoint(only.Name)
		e.answered.Store(1)
		e.inFlight.Store(int64(c.taken))
		got := 0
		for p.ReserveSome(only.Name) {
			got++
		}
		if got != c.want || e.inFlight.Load() != int64(c.taken+c.want) {
			t.Errorf("%d slots, %d taken: got %d more, want %d; in flight %d", c.slots, c.taken, got, c.want, e.inFlight.Load())
		}
	}
	p, _ := newPool(t, &memory{})
	if p.ReserveSome("t/none") {
		t.Error("a slot of an endpoint that is not there")
	}
}

// While two of eight slots are taken, what is sent again waits for one, until something gives it one or ends its wait.
func TestWhatIsSentAgainWaitsForASlot(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		slots, taken int64
		silent       bool // the endpoint answers nothing
		then         func(*Pool, *endpoint)
		want         bool
	}{
		"a slot is freed":         {slots: 8, taken: 2, then: func(_ *Pool, e *endpoint) { e.free(1) }, want: true},
		"all slots are freed":     {slots: 8, taken: 8, then: func(_ *Pool, e *endpoint) { e.free(8) }, want: true},
		"too few slots are freed": {slots: 8, taken: 8, then: func(_ *Pool, e *endpoint) { e.free(6) }},
		"a slot is given back": {slots: 8, taken: 2, then: func(p *Pool, _ *endpoint) {
			p.Start(map[string]int{"t/a": 1}, nil)
		}, want: true},
		"a silent endpoint answers": {slots: 32, taken: 2, silent: true, then: answers, want: true},
		"it gets more slots":        {slots: 1, taken: 1, then: func(p *Pool, _ *endpoint) { resize(t, p, 4) }, want: true},
		"it goes out of the config": {slots: 8, taken: 2, then: func(p *Pool, _ *endpoint) { resize(t, p, 0) }},
		"nothing happens":           {slots: 8, taken: 2, then: func(*Pool, *endpoint) {}},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := newIdlePool(t)
			resize(t, p, int(c.slots))
			e := p.endpoint("t/a")
			e.inFlight.Store(c.taken)
			if !c.silent {
				e.answered.Store(1)
			}

			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			began := time.Now()
			got := make(chan bool, 1)
			go func() { got <- p.AwaitSome(ctx, "t/a") }()
			synctest.Wait()
			select {
			case <-got:
				t.Fatalf("%s: it did not wait", name)
			default:
			}

			c.then(p, e)
			if is := <-got; is != c.want {
				t.Errorf("%s: %t", name, is)
			}
			gone := p.endpoint("t/a") == nil || p.client("t/a") == nil
			if waited := time.Since(began); waited != 0 && (c.want || gone) || waited != time.Second && !c.want && !gone {
				t.Errorf("%s: it waited for %s", name, waited)
			}
		})
	}
}

// Each slot that gets free goes to one of those who wait.
func TestManyWaitForTheSlotsOfAnEndpoint(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newIdlePool(t)
		resize(t, p, 1)
		e := p.endpoint("t/a")
		e.answered.Store(1)
		e.inFlight.Store(1)

		const many = 16
		var served atomic.Int64
		for range many {
			go func() {
				if p.AwaitSome(t.Context(), "t/a") {
					served.Add(1)
				}
			}()
		}
		for i := range int64(many) {
			synctest.Wait()
			if served.Load() != i || e.inFlight.Load() != 1 {
				t.Fatalf("after %d slots %d are served, %d in flight", i, served.Load(), e.inFlight.Load())
			}
			e.free(1)
		}
		synctest.Wait()
		if served.Load() != many {
			t.Errorf("%d are served", served.Load())
		}
	})
}

// newIdlePool returns a pool that does not run.
func newIdlePool(t *testing.T) *Pool {
	t.Helper()
	p, err := New(Options{Store: &memory{}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// resize gives t/a so many slots; 0: it is in the config no more.
func resize(t *testing.T, p *Pool, slots int) {
	t.Helper()
	set := Settings{Egress: loopback}
	if slots > 0 {
		key, err := signature.ParseKey(signature.NewSecret())
		if err != nil {
			t.Fatal(err)
		}
		set.Endpoints = []*Endpoint{{Name: "t/a", URL: "http://127.0.0.1:1", Keys: []Key{{Key: key}}, Timeout: time.Second,
			MaxInFlight: slots}}
	}
	if err := p.Use(set); err != nil {
		t.Fatal(err)
	}
}

// answers has an endpoint answer an attempt, as a worker notes it.
func answers(_ *Pool, e *endpoint) {
	e.noteAttempt(event.Attempt{Status: 204}, time.Second)
}
