package storetest

import (
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"
)

var noticeChecks = map[string]func(*testing.T, *bench){
	"OneReplicaTellsOfProblemsUntilItAsksNoMore": checkOneReplicaTells,
	"WhatWasToldIsReadByTheReplicaThatTellsNext": checkToldIsRead,
	"WhatReplicasToldByThemselvesIsOneNotice":    checkAdoptedOnce,
	"NoticesAreBounded":                          checkNoticesAreBounded,
}

// lead asks whether a replica tells of problems.
func lead(t *testing.T, s *replica, name string, span time.Duration) (leads, anew bool) {
	t.Helper()
	leads, anew, err := s.LeadNotices(t.Context(), name, span)
	if err != nil {
		t.Fatal(err)
	}
	return leads, anew
}

func checkOneReplicaTells(t *testing.T, b *bench) {
	const replicas = 8
	var mu sync.Mutex
	var asking sync.WaitGroup
	tells := ""
	for n := range replicas {
		s := b.open(t, options{})
		asking.Go(func() {
			leads, anew, err := s.LeadNotices(t.Context(), fmt.Sprint("r", n), time.Minute)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				t.Error(err)
			case leads && (tells != "" || !anew):
				t.Errorf("r%d tells, and %q does", n, tells)
			case leads:
				tells = fmt.Sprint("r", n)
			}
		})
	}
	asking.Wait()
	s := b.open(t, options{})
	if leads, anew := lead(t, s, tells, time.Millisecond); !leads || anew {
		t.Errorf("%q, which tells and asks again: %v, %v", tells, leads, anew)
	}

	// Its span has ended.
	b.Delete(t, b.prefix()+"only:notices")
	if leads, anew := lead(t, s, "other", time.Minute); !leads || !anew {
		t.Errorf("another one after that: %v, %v", leads, anew)
	}
	if leads, _ := lead(t, s, tells, time.Minute); leads {
		t.Error("two replicas tell")
	}
}

func checkToldIsRead(t *testing.T, b *bench) {
	s := b.open(t, options{})
	lead(t, s, "a", time.Minute)
	all := map[string]string{"x code subject": "1 5 0 {}", "x code other thing": "0 5 7 {}"}
	if still, err := s.TellNotices(t.Context(), "a", all); err != nil || !still {
		t.Fatal(still, err)
	}
	other := map[string]string{"x code subject": "0 5 9 {}"}
	if still, err := s.TellNotices(t.Context(), "b", other); err != nil || still {
		t.Errorf("a replica that does not tell wrote: %v, %v", still, err)
	}
	got, err := s.Notices(t.Context())
	if err != nil || !maps.Equal(got, all) {
		t.Errorf("%q, %v", got, err)
	}

	if _, err := s.TellNotices(t.Context(), "a", map[string]string{"x code subject": ""}); err != nil {
		t.Fatal(err)
	}
	delete(all, "x code subject")
	if got, err := s.Notices(t.Context()); err != nil || !maps.Equal(got, all) {
		t.Errorf("%q, %v", got, err)
	}
	if life := b.Life(t, b.prefix()+"notices"); life <= 29*24*time.Hour || life > 30*24*time.Hour {
		t.Errorf("they live for %s", life)
	}
}

func checkAdoptedOnce(t *testing.T, b *bench) {
	s := b.open(t, options{})
	lead(t, s, "a", time.Minute)
	told := map[string]string{"x redis_down redis": "1 100 0 {}"}
	if err := s.AdoptNotices(t.Context(), told); err != nil {
		t.Fatal(err)
	}
	if leads, anew := lead(t, s, "a", time.Minute); !leads || !anew {
		t.Errorf("the replica that tells does not read what was handed over: %v, %v", leads, anew)
	}

	// Another replica has told of the same; then it is over, and a third one comes late with what it told before.
	if err := s.AdoptNotices(t.Context(), map[string]string{"x redis_down redis": "1 120 0 {}"}); err != nil {
		t.Fatal(err)
	}
	if leads, anew := lead(t, s, "a", time.Minute); !leads || anew {
		t.Errorf("after what was known: %v, %v", leads, anew)
	}
	over := map[string]string{"x redis_down redis": "0 100 200 {}"}
	if _, err := s.TellNotices(t.Context(), "a", over); err != nil {
		t.Fatal(err)
	}
	if err := s.AdoptNotices(t.Context(), map[string]string{"x redis_down redis": "1 150 0 {}"}); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Notices(t.Context()); err != nil || !maps.Equal(got, over) {
		t.Errorf("what was over is %q, %v", got, err)
	}
	again := map[string]string{"x redis_down redis": "1 300 0 {}"}
	if err := s.AdoptNotices(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Notices(t.Context()); err != nil || !maps.Equal(got, again) {
		t.Errorf("what was told after that is %q, %v", got, err)
	}
}

func checkNoticesAreBounded(t *testing.T, b *bench) {
	s := b.open(t, options{})
	lead(t, s, "a", 10*time.Minute)
	all := make(map[string]string)
	for i := range 20_500 {
		all[fmt.Sprint("x code ", i)] = "1 5 0 {}"
	}
	if _, err := s.TellNotices(t.Context(), "a", all); err != nil {
		t.Fatal(err)
	}
	if err := s.AdoptNotices(t.Context(), map[string]string{"y code new": "1 5 0 {}"}); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Notices(t.Context()); err != nil || len(got) != 20_000 {
		t.Errorf("%d notices, %v", len(got), err)
	}
}
