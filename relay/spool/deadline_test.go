package spool

import (
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"kuairelay/relay/event"
)

// A callback whose write ends when its deadline is over is taken or refused as a whole.
func TestAWriteThatEndsWithItsDeadlineIsTakenOrRefusedAsAWhole(t *testing.T) {
	t.Parallel()
	taken, refused := 0, 0
	for range 40 {
		s := New(Options{Dir: t.TempDir(), Deadline: 5 * time.Millisecond})
		if _, err := s.Adopt(); err != nil {
			t.Fatal(err)
		}
		result := make(chan error, 1)
		go func() {
			cb := &event.Callback{ReceivedAt: time.Now(), Body: []byte("a callback")}
			_, err := s.Put(cb, slices.Values([]string{"W"}), nil)
			result <- err
		}()

		holdUp(s, 1)
		err := <-result
		if err != nil && !errors.Is(err, ErrHangs) {
			t.Fatal(err)
		}
		for until := time.Now().Add(10 * time.Second); s.hangs() || err != nil && s.Stats().Files > 0; {
			if time.Now().After(until) {
				t.Fatal("what was refused does not go")
			}
			time.Sleep(time.Millisecond)
		}
		files, _ := filepath.Glob(filepath.Join(s.o.Dir, "*", "*"+suffix))
		stats := s.Stats()
		is := []bool{err == nil, len(files) == 1, stats.Waiting == 1, stats.Written == 1, stats.Failed == 0,
			s.Touches([]string{"W"})}
		if slices.Contains(is, !is[0]) {
			t.Errorf("%v: of file, waiting, written, failed, touches: %v", err, is[1:])
		}
		if err == nil {
			taken++
		} else {
			refused++
		}
	}
	t.Logf("%d were taken, %d refused", taken, refused)
}

// Nor does a newer callback of a waybill pass an older one when its write ends with its deadline: it would be delivered
// before that, although it was refused.
func TestAWriteThatEndsWithItsDeadlineDoesNotPassAnOlderOne(t *testing.T) {
	t.Parallel()
	for range 10 {
		s := New(Options{Dir: t.TempDir(), Deadline: 20 * time.Millisecond})
		if _, err := s.Adopt(); err != nil {
			t.Fatal(err)
		}
		put := func(body string) error {
			cb := &event.Callback{ReceivedAt: time.Now(), Body: []byte(body)}
			_, err := s.Put(cb, slices.Values([]string{"W"}), nil)
			return err
		}
		if put("older") != nil {
			continue // the disk is too slow for this round
		}
		result := make(chan error, 1)
		go func() { result <- put("newer") }()
		holdUp(s, 2)
		if err := <-result; err != nil && !errors.Is(err, ErrHangs) {
			t.Fatal(err)
		}

		older, err := s.Next(t.Context(), 1, 1<<20)
		if err != nil || len(older) != 1 {
			t.Fatalf("%v, %v", older, err)
		}
		s.mu.Lock()
		newer := s.nextBatch(1, 1<<20)
		s.mu.Unlock()
		if len(newer) > 0 {
			t.Fatal("the newer one is taken while the older one is")
		}
	}
}

// holdUp waits until so many files are begun, or a write is late, and keeps mu until the deadline is over: then both
// the write and the deadline wait for it.
func holdUp(s *Spool, files int) {
	begun := func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.files >= files || s.late > 0
	}
	for !begun() {
		time.Sleep(50 * time.Microsecond)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	time.Sleep(2 * s.o.Deadline)
}
