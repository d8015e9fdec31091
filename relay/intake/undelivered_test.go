package intake

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/queue"
	"kuairelay/relay/spool"
)

// untilDelivered runs a test with an intake whose files stay until their events are delivered. Nothing of it runs by
// itself.
func untilDelivered(t *testing.T, test func(*testing.T, *bench)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		test(t, newBench(t, func(o *Options) { o.UntilDelivered = true }))
	})
}

func testID(n int) string { return fmt.Sprintf("evt_%064d", n) }

// put has a callback in the spool with an event of each number.
func (b *bench) put(numbers ...int) pending {
	b.t.Helper()
	cb := &event.Callback{ReceivedAt: time.Now(), Body: []byte(`{}`)}
	var parsed kuaidihelp.Result
	for _, n := range numbers {
		parsed.Events = append(parsed.Events, &event.Event{ID: testID(n)})
	}
	file, err := b.spool.Put(cb, slices.Values([]string(nil)), nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return pending{callback: cb, parsed: parsed, file: file}
}

// sweep has the intake look at what was delivered, and expects so many files to be left.
func (b *bench) sweep(left int) {
	b.t.Helper()
	if !b.undelivered.sweep(b.t.Context()) {
		b.t.Error("the store does not answer")
	}
	if n := b.spool.Stats().Files; n != left {
		b.t.Errorf("%d files, want %d", n, left)
	}
}

var owed = queue.Accepted{Deliveries: 1}

func TestAFileIsDoneWithTheLastOfItsEvents(t *testing.T) {
	untilDelivered(t, func(t *testing.T, b *bench) {
		u, p := b.undelivered, b.put(1, 2)
		u.track([]pending{p})([]queue.Accepted{owed, owed})
		b.Delivered([]string{testID(1)})
		b.sweep(1)
		b.Delivered([]string{testID(2)})
		b.sweep(1) // not all of its events are known yet
		if done := u.accepted([]*spool.File{p.file}); len(done) != 1 {
			t.Errorf("done are %d files", len(done))
		}

		q := b.put(3)
		u.track([]pending{q})([]queue.Accepted{owed})
		if done := u.accepted([]*spool.File{q.file}); len(done) != 0 {
			t.Error("a file is done whose event is open")
		}
		b.Delivered([]string{testID(3)})
		b.sweep(1) // the other's is the caller's to remove
		if len(u.events)+len(u.files) != 0 {
			t.Errorf("tracked are %v, %v", u.events, u.files)
		}
	})
}

// The first callback keeps its file; the second is a duplicate of it, and owes nothing of its own.
func TestADuplicateAndWhatIsOwedToNobodyAreNotTracked(t *testing.T) {
	untilDelivered(t, func(t *testing.T, b *bench) {
		u, first, again, unrouted := b.undelivered, b.put(1), b.put(1), b.put(2)
		u.track([]pending{first})([]queue.Accepted{owed})
		u.track([]pending{again, unrouted})([]queue.Accepted{{Duplicate: true, Deliveries: 1}, {}})
		done := u.accepted([]*spool.File{first.file, again.file, unrouted.file})
		if !slices.Equal(done, []*spool.File{again.file, unrouted.file}) {
			t.Errorf("done are %d files", len(done))
		}
		b.remove(done)
		b.Delivered([]string{testID(1)})
		b.sweep(0)
	})
}

// After an error there are answers to a part of the events.
func TestAPartialAnswerTracksWhatItIsAbout(t *testing.T) {
	untilDelivered(t, func(t *testing.T, b *bench) {
		b.undelivered.track([]pending{b.put(1, 2), b.put(3)})([]queue.Accepted{owed})
		if tracked := b.undelivered.events; len(tracked) != 1 || tracked[testID(1)] == nil {
			t.Errorf("tracked are %v", tracked)
		}
	})
}

// A recurrence gets its id from the store. It is written down, so that it is the same after a restart.
func TestAnIDThatTheContentDoesNotGiveIsWrittenDown(t *testing.T) {
	untilDelivered(t, func(t *testing.T, b *bench) {
		for name, c := range map[string]struct{ part, recurs bool }{
			"a recurrence": {recurs: true}, "a part of a large callback": {part: true, recurs: true}, "what was never there": {},
		} {
			p := b.put(1)
			p.part = c.part
			tracked := b.undelivered.track([]pending{p})
			if c.recurs {
				p.parsed.Events[0].ID += "-2"
			}
			tracked([]queue.Accepted{owed})
			cb, err := b.spool.Read(p.file)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			if c.recurs && !c.part {
				want = []string{testID(1) + "-2"}
			}
			if !slices.Equal(cb.IDs, want) {
				t.Errorf("%s has %v, want %v", name, cb.IDs, want)
			}
		}
	})
}

// failing is a store that cannot be asked what is closed while err is set.
type failing struct {
	*fakeStore
	err error
}

func (f *failing) Closed(ctx context.Context, ids []string) ([]bool, error) {
	var err error
	f.with(func() { err = f.err })
	if err != nil {
		return nil, err
	}
	return f.fakeStore.Closed(ctx, ids)
}

func TestWhatTheStoreCouldNotBeAskedAboutIsAskedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &failing{fakeStore: &fakeStore{known: make(map[string]bool)}, err: errors.New("redis is down")}
		b := newBench(t, func(o *Options) { o.UntilDelivered, o.Store = true, store })
		p := b.put(1)
		b.undelivered.track([]pending{p})([]queue.Accepted{owed})
		b.undelivered.accepted([]*spool.File{p.file})
		b.Delivered([]string{testID(1)})
		if b.undelivered.sweep(t.Context()) || b.spool.Stats().Files != 1 {
			t.Errorf("%d files after an error", b.spool.Stats().Files)
		}
		store.err = nil
		b.sweep(0)
	})
}

// The store is asked again soon, not with the sweep of everything. A file that was accepted waits no more meanwhile.
func TestAfterAnErrorTheStoreIsAskedAgainSoon(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &failing{fakeStore: &fakeStore{known: make(map[string]bool)}, err: errors.New("redis is down")}
		b := newBench(t, func(o *Options) { o.UntilDelivered, o.Store = true, store })
		b.run()
		b.keep("1")
		_, one := update("1")
		b.Delivered([]string{one.Events[0].ID})
		time.Sleep(sweepAgain / 2)
		if s := b.spool.Stats(); s.Files != 1 || s.Waiting != 0 {
			t.Errorf("%+v", s)
		}
		store.with(func() { store.err = nil })
		time.Sleep(2 * sweepAgain)
		if n := b.spool.Stats().Files; n != 0 {
			t.Errorf("%d files are left", n)
		}
		b.end()
	})
}
