package access

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestReplaysOfTenantsAreBoundedAndThoseOfTheOperatorAreNot(t *testing.T) {
	t.Parallel()
	s := NewShares(nil, prometheus.NewRegistry())
	s.Use(map[string]Allowance{"shop": {Replays: 3}, "old": {}})
	for tenant, want := range map[string]int{"": 0, "shop": 3, "old": 1, "gone": 1} {
		if got := s.Replays(tenant); got != want {
			t.Errorf("%q may have %d replays at one time, want %d", tenant, got, want)
		}
	}
}
