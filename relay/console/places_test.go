package console

import "testing"

func TestOnePersonTakesSoManyPlacesAndAllTogetherSoMany(t *testing.T) {
	t.Parallel()
	p := newPlaces(2, 5)
	var leave []func()
	take := func(who string, want bool) {
		t.Helper()
		end, ok := p.take(who)
		if ok != want {
			t.Errorf("%s takes a place: %t", who, ok)
		}
		if ok {
			leave = append(leave, end)
		}
	}
	for range 2 {
		take("a", true)
	}
	take("a", false)
	for _, other := range []string{"b", "b", "c"} {
		take(other, true)
	}
	take("d", false)

	leave[0]()
	take("d", true)
	take("a", false)
	for _, end := range leave[1:] {
		end()
	}
	if p.sum != 0 || len(p.taken) != 0 {
		t.Errorf("nobody has a place, and %d are taken by %v", p.sum, p.taken)
	}
	take("a", true)
}
