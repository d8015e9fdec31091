package relay

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"kuairelay/relay/event"
	"kuairelay/relay/spool"
)

const (
	// sweepEvery is how often the tracker looks at everything that is open: what became of it without a delivery.
	sweepEvery = 30 * time.Second
	sweepMost  = 1000
	// lookAgain is the pause after the store could not be asked.
	lookAgain = time.Second
)

// tracker knows which files of the spool hold events that are still owed to somebody, for an embedded Redis: that forgets
// everything when the process ends, so the files have to stay until then.
type tracker struct {
	keeper *keeper
	wake   chan struct{}

	mu        sync.Mutex
	events    map[string]*openFile
	files     map[*spool.File]*openFile
	delivered []string // events that may owe nothing any more
	// early are events that were delivered before they were tracked: the store had them, and the answer was on its way.
	early map[string]bool
}

type openFile struct {
	file     *spool.File
	events   int  // that are open
	accepted bool // all events of the file are known
}

func newTracker(k *keeper) *tracker {
	return &tracker{keeper: k, wake: make(chan struct{}, 1), events: make(map[string]*openFile), files: make(map[*spool.File]*openFile), early: make(map[string]bool)}
}

// before returns what has to happen between the acceptance of callbacks and their first attempts: the events are tracked, and
// ids that the content does not give (a recurrence has a suffix) are written down, so that they are the same after a restart.
func (t *tracker) before(all []taken) func([]event.Accepted) {
	var ids []string
	for _, x := range all {
		for _, e := range x.parsed.Events {
			ids = append(ids, e.ID)
		}
	}
	return func(accepted []event.Accepted) {
		for _, x := range all {
			var now []string
			changed := false
			for i, e := range x.parsed.Events {
				if now = append(now, e.ID); i >= len(accepted) {
					continue
				}
				if a := accepted[i]; !a.Duplicate && a.Deliveries > 0 {
					t.track(e.ID, x.file)
					changed = changed || e.ID != ids[i]
				}
			}
			n := len(x.parsed.Events)
			ids, accepted = ids[n:], accepted[min(n, len(accepted)):]
			if !changed || x.part { // all ids of a large callback are more than the first line of a file may hold
				continue
			}
			x.callback.IDs = now
			if err := t.keeper.spool.Rewrite(x.file, x.callback); err != nil {
				t.keeper.log.Error("an event's id may be another one after a restart", zap.Error(err))
			}
		}
	}
}

func (t *tracker) track(id string, file *spool.File) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.file(file)
	f.events++
	t.events[id] = f
	if t.early[id] {
		delete(t.early, id)
		t.noteDelivered(id)
	}
}

func (t *tracker) file(file *spool.File) *openFile {
	f := t.files[file]
	if f == nil {
		f = &openFile{file: file}
		t.files[file] = f
	}
	return f
}

// accepted says that all events of the files are tracked, and returns the files of which none is open.
func (t *tracker) accepted(files []*spool.File) (done []*spool.File) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, file := range files {
		f := t.file(file)
		if f.accepted = true; f.events == 0 {
			delete(t.files, file)
			done = append(done, file)
		}
	}
	return done
}

// onDelivered takes notice of events that may owe nothing any more.
func (t *tracker) onDelivered(ids []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.noteDelivered(ids...)
}

// noteDelivered needs mu.
func (t *tracker) noteDelivered(ids ...string) {
	t.delivered = append(t.delivered, ids...)
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

func (t *tracker) run(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.wake:
		case <-again:
		case <-tick.C:
			t.mu.Lock()
			clear(t.early)
			for id := range t.events {
				t.delivered = append(t.delivered, id)
			}
			t.mu.Unlock()
		}
		again = nil
		if !t.look(ctx) {
			again = time.After(lookAgain)
		}
	}
}

// look removes the files all of whose events owe nothing any more. It returns false if the store could not be asked about some:
// they are still to be looked at.
func (t *tracker) look(ctx context.Context) bool {
	for {
		t.mu.Lock()
		n := min(len(t.delivered), sweepMost)
		ids := t.delivered[:n:n]
		if t.delivered = t.delivered[n:]; len(t.delivered) == 0 {
			t.delivered = nil
		}
		t.mu.Unlock()
		if n == 0 {
			return true
		}
		closed, err := t.keeper.store.Closed(ctx, ids)
		if err != nil {
			t.mu.Lock()
			t.delivered = append(t.delivered, ids...)
			t.mu.Unlock()
			return false
		}
		var done []*spool.File
		t.mu.Lock()
		for i, id := range ids {
			f := t.events[id]
			if f == nil {
				t.early[id] = true
			}
			if f == nil || !closed[i] {
				continue
			}
			delete(t.events, id)
			if f.events--; f.events == 0 && f.accepted {
				delete(t.files, f.file)
				done = append(done, f.file)
			}
		}
		t.mu.Unlock()
		t.keeper.remove(done)
	}
}
