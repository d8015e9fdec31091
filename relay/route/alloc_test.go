//go:build !race

package route

import (
	"math/rand/v2"
	"testing"
)

// Not under -race, where a sync.Pool forgets at random. Not parallel: it counts the allocations of the process.
func TestMatchWithoutWhenDoesNotAllocate(t *testing.T) {
	table := compile(t, Options{Rules: makeRules(1000, mixedRule)})
	ev := mixedEvent(rand.New(rand.NewPCG(1, 2)))
	ev.WaybillCode = code(7) + "123459"
	into := make([]Candidate, 0, 16)
	if len(table.Match(ev, into)) == 0 {
		t.Fatal("nothing matches")
	}
	if allocations := testing.AllocsPerRun(1000, func() { table.Match(ev, into) }); allocations > 0 {
		t.Errorf("%v allocations", allocations)
	}
}
