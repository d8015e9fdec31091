package notify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// memory is a Store in memory, for several replicas.
type memory struct {
	mu     sync.Mutex
	down   bool
	leader string
	until  time.Time
	all    map[string]string
}

var errDown = errors.New("redis is down")

func (s *memory) LeadNotices(_ context.Context, replica string, span time.Duration) (leads, anew bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return false, false, errDown
	}
	taken := s.leader != "" && time.Now().Before(s.until)
	if taken && s.leader != replica {
		return false, false, nil
	}
	anew = !taken
	s.leader, s.until = replica, time.Now().Add(span)
	return true, anew, nil
}

func (s *memory) Notices(context.Context) (map[string]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[string]string)
	for k, v := range s.all {
		out[k] = v
	}
	return out, nil
}

func (s *memory) TellNotices(_ context.Context, replica string, records map[string]string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return false, errDown
	}
	if s.leader != replica {
		return false, nil
	}
	for k, v := range records {
		if s.all[k] = v; v == "" {
			delete(s.all, k)
		}
	}
	return true, nil
}

func (s *memory) AdoptNotices(_ context.Context, records map[string]string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return errDown
	}
	for k, v := range records {
		was, known := readRecord(s.all[k])
		now, _ := readRecord(v)
		if !known || !was.open && now.told.After(was.over) {
			s.all[k], s.leader = v, ""
		}
	}
	return nil
}

func (s *memory) EndNotices(_ context.Context, replica string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leader == replica {
		s.leader = ""
	}
}

// world is what replicas see, and what a receiver got.
type world struct {
	store memory
	mu    sync.Mutex
	seen  []Problem
	got   []told
	dies  bool // Redis does as soon as a message is taken
}

type told struct {
	at   time.Time
	text string
}

func (w *world) problems() []Problem {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	all := slices.Clone(w.seen)
	if w.store.down {
		all = append(all, Problem{Code: "redis_down", Key: "redis", Severity: "critical", Subject: "redis",
			Since: time.Now()})
	}
	return all
}

func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	body, _ := io.ReadAll(r.Body)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.got = append(w.got, told{at: time.Now(), text: string(body)})
	if w.dies {
		w.store.mu.Lock()
		defer w.store.mu.Unlock()
		w.store.down, w.dies = true, false
	}
	return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader("ok")), Request: r}, nil
}

// replica starts one, until ctx ends.
func (w *world) replica(ctx context.Context, name string) { w.replicaThat(ctx, name, w.problems) }

// replicaThat starts one that sees something by itself.
func (w *world) replicaThat(ctx context.Context, name string, own func() []Problem) {
	n := New(Options{
		Store: &w.store, Replica: name, Own: own,
		All: func(context.Context, []string) (map[string][]Problem, bool) {
			return map[string][]Problem{"": w.problems()}, true
		},
	})
	n.Use([]Receiver{{Name: "slack-1", Format: Slack, URL: "https://chat.example/x", On: []string{"all"},
		Every: 30 * time.Minute, Language: English, Client: &http.Client{Transport: w}}})
	go n.Run(ctx)
}

func (w *world) set(down bool, seen ...Problem) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	w.store.down, w.seen = down, seen
}

func (w *world) texts() (all []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.got {
		all = append(all, m.text)
	}
	return all
}

// With the defaults: whenever Redis dies, each replica tells within a minute, and nothing that was told before; when it
// is back, one tells that, once.
func TestADeadRedisIsToldWithinAMinute(t *testing.T) {
	t.Parallel()
	for offset := range 15 {
		synctest.Test(t, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			w := &world{store: memory{all: make(map[string]string)}}
			for i := range 3 {
				w.replica(ctx, fmt.Sprint("vm-", i))
				time.Sleep(4 * time.Second)
			}
			w.set(false, failing)
			time.Sleep(5*time.Minute + time.Duration(offset)*time.Second)
			w.set(true, failing)
			died := time.Now()
			time.Sleep(time.Minute)
			synctest.Wait()
			if all := w.texts(); len(all) != 4 || !strings.Contains(all[0], "endpoint_fails") {
				t.Errorf("after a minute: %q", all)
			}
			for _, m := range w.got[1:] {
				if m.at.Sub(died) > 45*time.Second || !strings.Contains(m.text, "each replica tells this by itself") {
					t.Errorf("after %s: %s", m.at.Sub(died), m.text)
				}
			}
			time.Sleep(10 * time.Minute)
			w.set(false, failing)
			time.Sleep(20 * time.Minute)
			synctest.Wait()
			if all := w.texts(); len(all) != 5 || !strings.Contains(all[4], "OVER redis_down") {
				t.Errorf("after it is back: %q", all)
			}
			w.set(true, failing)
			time.Sleep(time.Minute)
			synctest.Wait()
			if n := len(w.texts()); n != 8 {
				t.Errorf("when it dies again: %q", w.texts())
			}
			stop()
		})
	}
}

// A problem that the teller does not see itself, and that it could not write down because Redis died, is not over while
// Redis is down, and is not told again when that is back.
func TestWhatCouldNotBeWrittenDownIsNeitherOverNorToldAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		w := &world{store: memory{all: make(map[string]string)}}
		own := func() (all []Problem) {
			return slices.DeleteFunc(w.problems(), func(p Problem) bool { return p.Code != "redis_down" })
		}
		w.replicaThat(ctx, "vm-1", own)
		time.Sleep(5 * time.Minute)
		w.set(false, failing)
		w.mu.Lock()
		w.dies = true
		w.mu.Unlock()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if all := w.texts(); len(all) != 2 || !strings.Contains(all[0], "endpoint_fails") ||
			strings.Contains(all[1], "endpoint_fails") {
			t.Errorf("while redis is down: %q", all)
		}
		w.set(false, failing)
		time.Sleep(40 * time.Minute)
		synctest.Wait()
		if all := w.texts(); len(all) != 3 || strings.Contains(all[2], "endpoint_fails") {
			t.Errorf("after it is back: %q", all)
		}
		w.set(false)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if all := w.texts(); len(all) != 4 || !strings.Contains(all[3], "OVER endpoint_fails") {
			t.Errorf("when it is over: %q", all)
		}
	})
}

// However it comes and goes, also while replicas are stopped and Redis dies, nobody is told of an end without a
// beginning, and nothing is told twice in a row by those that reach Redis.
func TestReplicasThatComeAndGoTellEachThingOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{store: memory{all: make(map[string]string)}}
		first, stopFirst := context.WithCancel(t.Context())
		second, stopSecond := context.WithCancel(t.Context())
		w.replica(first, "vm-1")
		time.Sleep(5 * time.Second)
		w.set(false, failing)
		time.Sleep(3 * time.Minute)
		if n := len(w.texts()); n != 1 {
			t.Errorf("%d messages", n)
		}

		w.replica(second, "vm-2")
		time.Sleep(time.Minute)
		stopFirst()
		time.Sleep(5 * time.Minute)
		if n := len(w.texts()); n != 1 {
			t.Errorf("%d messages after another replica has taken over: %q", n, w.texts())
		}
		w.set(false)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if all := w.texts(); len(all) != 2 || !strings.Contains(all[1], "OVER") {
			t.Errorf("%q", all)
		}
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if n := len(w.texts()); n != 2 {
			t.Errorf("%d messages after a day: %q", n, w.texts())
		}
		w.set(false, failing)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if n := len(w.texts()); n != 3 {
			t.Errorf("%d messages: %q", n, w.texts())
		}
		stopSecond()
	})
}
