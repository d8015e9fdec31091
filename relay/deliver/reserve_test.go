package deliver

import "testing"

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
