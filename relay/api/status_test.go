package api

import (
	"testing"
	"time"
)

func TestTheStatusSumsUpEndpoints(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s := Status{States: map[EndpointState]int{}}
	for _, at := range []time.Time{{}, now, now.Add(-time.Hour), now.Add(-time.Minute), {}} {
		s.add(EndpointHealth{State: "ok", Open: 1, OldestAt: at})
	}
	if !s.OldestAt.Equal(now.Add(-time.Hour)) || s.Open != 5 || s.States["ok"] != 5 || len(s.Attention) != 0 {
		t.Errorf("%+v", s)
	}
	for range 25 {
		s.add(EndpointHealth{State: "ok", Dead: 1})
	}
	if s.Dead != 25 || len(s.Attention) != 20 {
		t.Errorf("%d dead letters, %d endpoints that want attention", s.Dead, len(s.Attention))
	}
}
