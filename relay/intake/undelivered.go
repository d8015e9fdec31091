package intake

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"kuairelay/relay/queue"
	"kuairelay/relay/spool"
)

const (
	// sweepEvery is how often all open events are checked, for those that were closed without a delivery.
	sweepEvery = 30 * time.Second
	// sweepMost is how many events one call to the store asks about.
	sweepMost = 1000
	// sweepAgain is the pause after such a call has failed.
	sweepAgain = time.Second
)

// undelivered knows which files of the spool have events that are not delivered yet. It is for an embedded Redis, which
// loses its data when the process ends: a file has to stay until all its events are delivered.
type undelivered struct {
	intake *Intake
	wake   chan struct{}

	mu     sync.Mutex
	events map[string]*openFile
	files  map[*spool.File]*openFile
	maybe  []string // events that may be done with
	// early are events that were delivered before they were tracked: the store had them, and its answer was still on its
	// way.
	early map[string]bool
}

type openFile struct {
	file     *spool.File
	events   int  // that are open
	accepted bool // all events of the file are known
}

func newUndelivered(in *Intake) *undelivered {
	return &undelivered{
		intake: in,
		wake:   make(chan struct{}, 1),
		events: make(map[string]*openFile),
		files:  make(map[*spool.File]*openFile),
		early:  make(map[string]bool),
	}
}

// track returns a function to call between the acceptance of callbacks and their first attempts. It tracks the events.
// Ids that the content does not give (a recurrence has a suffix) are written into the files, so that they are the same
// after a restart.
func (u *undelivered) track(all []pending) func([]queue.Accepted) {
	var before []string // ids that the content gives
	for _, p := range all {
		for _, e := range p.parsed.Events {
			before = append(before, e.ID)
		}
	}

	return func(accepted []queue.Accepted) {
		for _, p := range all {
			n := len(p.parsed.Events)
			known := min(n, len(accepted))
			changed := u.trackFile(p, before[:n], accepted[:known])
			before = before[n:]
			accepted = accepted[known:]

			// The ids of a large callback do not fit into the first line of a file.
			if changed && !p.part {
				u.writeIDs(p)
			}
		}
	}
}

// trackFile tracks the events of one callback that have deliveries. It says whether one of them has another id than
// before.
func (u *undelivered) trackFile(p pending, before []string, accepted []queue.Accepted) (changed bool) {
	for i, a := range accepted {
		id := p.parsed.Events[i].ID
		if !a.Duplicate && a.Deliveries > 0 {
			u.add(id, p.file)
			changed = changed || id != before[i]
		}
	}
	return changed
}

// writeIDs writes the ids of a callback's events into its file.
func (u *undelivered) writeIDs(p pending) {
	var ids []string
	for _, e := range p.parsed.Events {
		ids = append(ids, e.ID)
	}
	p.callback.IDs = ids
	if err := u.intake.spool.Rewrite(p.file, p.callback); err != nil {
		u.intake.log.Error("cannot write event ids into a file of the spool: after a restart the events may have other ids",
			zap.Error(err))
	}
}

// add notes an open event of a file.
func (u *undelivered) add(id string, file *spool.File) {
	u.mu.Lock()
	defer u.mu.Unlock()
	f := u.file(file)
	f.events++
	u.events[id] = f
	if u.early[id] {
		delete(u.early, id)
		u.note(id)
	}
}

// file returns what is known of a file. It needs mu.
func (u *undelivered) file(file *spool.File) *openFile {
	f := u.files[file]
	if f == nil {
		f = &openFile{file: file}
		u.files[file] = f
	}
	return f
}

// accepted notes that all events of the files are tracked, and returns the files without open events.
func (u *undelivered) accepted(files []*spool.File) (done []*spool.File) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, file := range files {
		f := u.file(file)
		f.accepted = true
		if f.events == 0 {
			delete(u.files, file)
			done = append(done, file)
		}
	}
	return done
}

// delivered notes events that may be done with.
func (u *undelivered) delivered(ids []string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.note(ids...)
}

// note makes the next sweep check some events. It needs mu.
func (u *undelivered) note(ids ...string) {
	u.maybe = append(u.maybe, ids...)
	select {
	case u.wake <- struct{}{}:
	default:
	}
}

// run sweeps when something was delivered, and checks all open events every sweepEvery, until ctx ends.
func (u *undelivered) run(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-u.wake:
		case <-again:
		case <-tick.C:
			u.noteAll()
		}

		again = nil
		if !u.sweep(ctx) {
			again = time.After(sweepAgain)
		}
	}
}

// noteAll makes the next sweep check all open events.
func (u *undelivered) noteAll() {
	u.mu.Lock()
	defer u.mu.Unlock()
	clear(u.early)
	for id := range u.events {
		u.maybe = append(u.maybe, id)
	}
}

// sweep removes the files whose events are all done with. It returns false if the store could not be asked about some:
// the next sweep asks about these.
func (u *undelivered) sweep(ctx context.Context) bool {
	for {
		ids := u.next()
		if len(ids) == 0 {
			return true
		}
		closed, err := u.intake.o.Store.Closed(ctx, ids)
		if err != nil {
			u.mu.Lock()
			u.maybe = append(u.maybe, ids...)
			u.mu.Unlock()
			return false
		}
		u.intake.remove(u.close(ids, closed))
	}
}

// next takes the ids that the store is asked about.
func (u *undelivered) next() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	n := min(len(u.maybe), sweepMost)
	ids := u.maybe[:n:n]
	u.maybe = u.maybe[n:]
	if len(u.maybe) == 0 {
		u.maybe = nil // frees the array
	}
	return ids
}

// close forgets the events that are done with, and returns the files that have no others.
func (u *undelivered) close(ids []string, closed []bool) (done []*spool.File) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for i, id := range ids {
		f := u.events[id]
		if f == nil {
			u.early[id] = true
		}
		if f == nil || !closed[i] {
			continue
		}

		delete(u.events, id)
		f.events--
		if f.events == 0 && f.accepted {
			delete(u.files, f.file)
			done = append(done, f.file)
		}
	}
	return done
}
