package relay

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"kuairelay/relay/event"
	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/spool"
	"kuairelay/relay/store"
)

const (
	// drainMost and drainBytes bound what is taken from the spool for one round trip to Redis.
	drainMost  = 64
	drainBytes = 1 << 20
	// drainWorkers is how many of those are under way at once.
	drainWorkers = 4
	// heldWait is how long outcomes that were held back while Redis was away go before the spool.
	heldWait = 5 * time.Second
	// refusals is how often a callback is offered to a Redis that refuses it, though it takes others.
	refusals     = 3
	refusedPause = time.Second
	// readPause is when a file is read again that could not be read.
	readPause   = time.Second
	unreadEvery = time.Minute
	adoptEvery  = 5 * time.Second
)

// drain takes callbacks from the spool to Redis, oldest first, as long as ctx lasts.
type drain struct {
	keeper *keeper

	mu    sync.Mutex
	began time.Time // since the spool was last empty
	n     int

	unread unread

	drained, quarantined atomic.Int64
}

// run is one of several workers: while one waits for Redis, another reads, or removes.
func (d *drain) run(ctx context.Context) {
	k := d.keeper
	for {
		files, err := k.spool.Next(ctx, drainMost, drainBytes)
		if err != nil {
			return
		}
		if state, _ := k.store.State(); state != store.Up {
			k.spool.Return(files, false)
			if k.store.WaitUp(ctx) != nil {
				return
			}
			k.acceptor.pool.AwaitHeld(ctx, heldWait)
			continue
		}
		d.mu.Lock()
		if d.began.IsZero() {
			d.began = time.Now()
		}
		d.mu.Unlock()
		d.some(ctx, files)
	}
}

// some takes files to Redis.
func (d *drain) some(ctx context.Context, files []*spool.File) {
	k := d.keeper
	all, files := d.read(files)
	if len(files) == 0 {
		return
	}
	err := d.take(ctx, all)
	if err != nil && len(all) == 1 && all[0].file.Refused >= refusals && store.Permanent(err) {
		k.log.Error("redis refuses a callback for good: it goes to quarantine", zap.String("file", all[0].file.Name()), zap.Error(err))
		all[0] = refusal(all[0].callback, all[0].file, err)
		err = d.take(ctx, all)
	}
	if err != nil {
		d.failed(ctx, files, err)
		return
	}
	d.accepted(files)
	for _, t := range all {
		if t.refused {
			d.quarantined.Add(1)
		} else {
			d.drained.Add(1)
		}
	}
	if k.open != nil {
		files = k.open.accepted(files)
	}
	k.remove(files)
}

// read reads the callbacks of files, and gives them with their files. What never can be read is set aside. One that cannot be
// read at present goes back, and with it those behind it, which may be about the same waybills.
func (d *drain) read(files []*spool.File) (all []taken, good []*spool.File) {
	k := d.keeper
	for i, f := range files {
		cb, err := k.spool.Read(f)
		switch {
		case err == nil:
			parsed, more := parse(cb)
			if more && len(files) > 1 {
				k.spool.Postpone(f, 0) // it is taken in parts, and so alone
				k.spool.Return(files[i:], false)
				return all, good
			}
			all = append(all, taken{callback: cb, parsed: parsed, file: f, large: more})
		case cb.Body != nil:
			k.log.Error("a file of the spool is no callback, and goes to quarantine", zap.String("file", f.Name()), zap.Error(err))
			all = append(all, refusal(cb, f, err))
		case errors.Is(err, spool.ErrNotReadable):
			k.log.Error("a file of the spool cannot be read, and is set aside", zap.String("file", f.Name()), zap.Error(err))
			d.accepted([]*spool.File{f})
			if err := k.spool.SetAside(f); err != nil {
				k.log.Error("spool", zap.Error(err))
			}
			continue
		default:
			d.unread.log(k.log, f, err)
			k.spool.Postpone(f, readPause)
			k.spool.Return(files[i:], false)
			return all, good
		}
		good = append(good, f)
	}
	return all, good
}

// unread complains of files that cannot be read at present, once in a while: without free file descriptors it is all of them.
type unread struct {
	mu   sync.Mutex
	last time.Time
}

func (u *unread) log(log *zap.Logger, f *spool.File, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if time.Since(u.last) < unreadEvery {
		return
	}
	u.last = time.Now()
	log.Error("a file of the spool cannot be read now, and is tried again", zap.String("file", f.Name()), zap.Error(err))
}

// accepted ends the waiting of files, and says when the last one was accepted.
func (d *drain) accepted(files []*spool.File) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.keeper.spool.Hold(files)
	d.n += len(files)
	if d.keeper.spool.Stats().Waiting > 0 {
		return
	}
	if d.keeper.open == nil {
		d.keeper.log.Info("spool drained", zap.Int("callbacks", d.n), zap.Duration("took", time.Since(d.began)))
	}
	d.began, d.n = time.Time{}, 0
}

// take accepts callbacks, and tells those who wait for them.
func (d *drain) take(ctx context.Context, all []taken) error {
	select {
	case o := <-d.keeper.begin(ctx, all):
		d.keeper.count(o.sum)
		if o.err != nil {
			return o.err
		}
		for i, t := range all {
			if became, ok := t.file.Tag.(chan event.Summary); ok {
				became <- o.each[i]
			}
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// refusal is a callback that goes to quarantine as it is.
func refusal(cb *event.Callback, f *spool.File, why error) taken {
	rejected := kuaidihelp.Rejected{Raw: cb.Body, Reason: "from the spool: " + why.Error()}
	return taken{callback: cb, parsed: kuaidihelp.Result{Rejected: []kuaidihelp.Rejected{rejected}}, file: f, refused: true}
}

// failed puts files back. Trouble is waited for by run; what Redis refuses is offered alone, and then again after a pause.
func (d *drain) failed(ctx context.Context, files []*spool.File, err error) {
	k := d.keeper
	state, _ := k.store.State()
	refused := state == store.Up && ctx.Err() == nil
	if refused && len(files) == 1 {
		files[0].Refused++
		if files[0].Refused == 1 {
			k.log.Error("redis refuses a callback of the spool", zap.String("file", files[0].Name()), zap.Error(err))
		} else {
			k.spool.Postpone(files[0], refusedPause)
		}
	}
	k.spool.Return(files, refused)
}

func (k *keeper) remove(files []*spool.File) {
	if len(files) == 0 {
		return
	}
	if err := k.spool.Remove(files); err != nil {
		k.log.Error("spool", zap.Error(err))
	}
}

// adopt takes over what processes have left behind that have ended, now and from time to time.
func (k *keeper) adopt(ctx context.Context, first chan<- struct{}) {
	tick := time.NewTicker(adoptEvery)
	defer tick.Stop()
	last := ""
	for {
		k.spool.Recheck()
		adopted, err := k.spool.Adopt()
		for _, a := range adopted {
			k.log.Info("spool folder adopted", zap.String("folder", a.Folder), zap.Int("callbacks", a.Callbacks))
		}
		if err != nil && err.Error() != last {
			k.log.Error("the spool does not work", zap.Error(err))
		}
		last = ""
		if err != nil {
			last = err.Error()
		}
		if first != nil {
			close(first)
			first = nil
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
