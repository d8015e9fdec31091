package intake

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"kuairelay/relay/event"
	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/logonce"
	"kuairelay/relay/spool"
)

const (
	// drainMost and drainBytes bound what is taken from the spool for one round trip to Redis.
	drainMost  = 64
	drainBytes = 1 << 20
	// drainWorkers is how many round trips are under way at the same time.
	drainWorkers = 4
	// heldWait is how long the drain waits for outcomes that the store did not take yet.
	heldWait = 5 * time.Second
	// refusals is how often a callback is tried that Redis refuses, although Redis takes others.
	refusals     = 3
	refusedPause = time.Second
	// readPause is the pause before a file is read again that could not be read.
	readPause   = time.Second
	unreadEvery = time.Minute
	adoptEvery  = 5 * time.Second
)

// drainer takes callbacks from the spool to Redis, oldest first. Several workers share it: while one waits for Redis,
// another reads, or removes.
type drainer struct {
	intake *Intake

	mu    sync.Mutex
	began time.Time // since the spool was last empty
	n     int       // callbacks since then
	// parts are the results that failed calls had for files that still wait.
	parts map[*spool.File]event.Summary

	unread               logonce.Throttle // logged
	drained, quarantined atomic.Int64
}

// run is one worker, until ctx ends.
func (d *drainer) run(ctx context.Context) {
	in := d.intake
	for {
		files, err := in.spool.Next(ctx, drainMost, drainBytes)
		if err != nil {
			return
		}

		if in.o.Store.Available() != nil {
			in.spool.Return(files, false)
			if in.o.Store.WaitUp(ctx) != nil {
				return
			}
			in.o.Pool.AwaitHeld(ctx, heldWait)
			continue
		}

		d.mu.Lock()
		if d.began.IsZero() {
			d.began = time.Now()
		}
		d.mu.Unlock()
		d.drainBatch(ctx, files)
	}
}

// drainBatch accepts the callbacks of files, and removes the files.
func (d *drainer) drainBatch(ctx context.Context, files []*spool.File) {
	in := d.intake
	all, files := d.read(files)
	if len(files) == 0 {
		return
	}

	err := d.acceptBatch(ctx, all)
	if err != nil && len(all) == 1 && all[0].file.Refused >= refusals && in.o.Permanent(err) {
		in.log.Error("redis refuses a callback each time: it goes to quarantine",
			zap.String("file", all[0].file.Name()), zap.Error(err))
		all[0] = toQuarantine(all[0].callback, all[0].file, err)
		err = d.acceptBatch(ctx, all)
	}
	if err != nil {
		d.failed(ctx, files, err)
		return
	}

	d.accepted(files)
	for _, p := range all {
		if p.refused {
			d.quarantined.Add(1)
		} else {
			d.drained.Add(1)
		}
	}
	if in.undelivered != nil {
		files = in.undelivered.accepted(files)
	}
	in.remove(files)
}

// read reads the callbacks of files, and returns them with their files. A file that can never be read is set aside. If
// a file cannot be read at present, it goes back, with those behind it, which may be about the same waybills.
func (d *drainer) read(files []*spool.File) (all []pending, good []*spool.File) {
	in := d.intake
	for i, f := range files {
		cb, err := in.spool.Read(f)
		switch {
		case err == nil:
			parsed, more := in.Parse(cb)
			if more && len(files) > 1 {
				in.spool.Postpone(f, 0) // it is accepted in parts, so alone
				in.spool.Return(files[i:], false)
				return all, good
			}
			all = append(all, pending{callback: cb, parsed: parsed, file: f, large: more})
			good = append(good, f)

		case cb.Body != nil:
			in.log.Error("a file of the spool is not a callback: it goes to quarantine",
				zap.String("file", f.Name()), zap.Error(err))
			all = append(all, toQuarantine(cb, f, err))
			good = append(good, f)

		case errors.Is(err, spool.ErrNotReadable):
			in.log.Error("a file of the spool cannot be read: it is set aside", zap.String("file", f.Name()), zap.Error(err))
			d.accepted([]*spool.File{f})
			if err := in.spool.SetAside(f); err != nil {
				in.log.Error("cannot set a file of the spool aside", zap.Error(err))
			}

		default:
			// If the process has no free file descriptors, every file fails.
			if d.unread.Allow(unreadEvery) {
				in.log.Error("a file of the spool cannot be read now: the relay tries again",
					zap.String("file", f.Name()), zap.Error(err))
			}
			in.spool.Postpone(f, readPause)
			in.spool.Return(files[i:], false)
			return all, good
		}
	}
	return all, good
}

// accepted ends the waiting of files, and logs when the last one was accepted.
func (d *drainer) accepted(files []*spool.File) {
	d.mu.Lock()
	defer d.mu.Unlock()
	in := d.intake
	in.spool.Hold(files)
	d.n += len(files)
	if in.spool.Stats().Waiting > 0 {
		return
	}

	if in.undelivered == nil {
		in.log.Info("spool drained", zap.Int("callbacks", d.n), zap.Duration("took", time.Since(d.began)))
	}
	d.began = time.Time{}
	d.n = 0
}

// acceptBatch accepts callbacks, counts the results, and sends them to those who wait for them.
func (d *drainer) acceptBatch(ctx context.Context, all []pending) error {
	var o outcome
	select {
	case o = <-d.intake.begin(ctx, all):
	case <-ctx.Done():
		return ctx.Err()
	}

	// A callback is counted once, when it is done. If a call fails, a part of the callback may be durable, which the next
	// call takes for duplicates.
	count := d.intake.metrics.count
	for i := range o.each {
		sum := d.withParts(all[i].file, o.each[i], o.err != nil)
		if o.err != nil {
			continue
		}
		switch tag := all[i].file.Tag.(type) {
		case *askedTwice:
			tag.add(sum, count)
			continue
		case chan event.Summary:
			tag <- sum
		}
		count(sum)
	}
	return o.err
}

// withParts adds the results of earlier calls for a file, which failed, to those of a call. If that failed too, it
// keeps the sum for the next one.
func (d *drainer) withParts(f *spool.File, sum event.Summary, failed bool) event.Summary {
	d.mu.Lock()
	defer d.mu.Unlock()
	sum = together(d.parts[f], sum)
	delete(d.parts, f)
	if failed && sum.New > 0 {
		d.parts[f] = sum
	}
	return sum
}

// toQuarantine makes a callback go to quarantine as it is.
func toQuarantine(cb *event.Callback, f *spool.File, why error) pending {
	rejected := kuaidihelp.Rejected{Raw: cb.Body, Reason: "from the spool: " + why.Error()}
	return pending{
		callback: cb,
		parsed:   kuaidihelp.Result{Rejected: []kuaidihelp.Rejected{rejected}},
		file:     f,
		refused:  true,
	}
}

// failed puts files back. If Redis is in trouble, run waits. If Redis refuses a callback, the callback is tried alone
// next, and then again after a pause.
func (d *drainer) failed(ctx context.Context, files []*spool.File, err error) {
	in := d.intake
	refused := in.o.Store.Available() == nil && ctx.Err() == nil
	if refused && len(files) == 1 {
		files[0].Refused++
		if files[0].Refused == 1 {
			in.log.Error("redis refuses a callback of the spool", zap.String("file", files[0].Name()), zap.Error(err))
		} else {
			in.spool.Postpone(files[0], refusedPause)
		}
	}
	in.spool.Return(files, refused)
}

// adopt takes over the folders of processes that have ended, now and every few seconds, until ctx ends.
func (in *Intake) adopt(ctx context.Context) {
	tick := time.NewTicker(adoptEvery)
	defer tick.Stop()
	first := sync.OnceFunc(func() { close(in.adopted) })
	var trouble logonce.Change[string]
	for {
		in.spool.Recheck()
		adopted, err := in.spool.Adopt()
		for _, a := range adopted {
			in.log.Info("spool folder adopted", zap.String("folder", a.Folder), zap.Int("callbacks", a.Callbacks))
		}

		if trouble.To(logonce.Text(err)) && err != nil {
			in.log.Error("the spool does not work", zap.Error(err))
		}
		first()

		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
