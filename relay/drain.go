package relay

import (
	"context"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"kuairelay/relay/event"
	"kuairelay/relay/ingest"
	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/store"
)

const (
	// drainMost and drainBytes bound what is taken from the spool for one round trip to Redis.
	drainMost  = 64
	drainBytes = 4 << 20
	// heldWait is how long outcomes that were held back while Redis was away go before the spool.
	heldWait = 5 * time.Second
	// refusals is how often a callback is offered to a Redis that refuses it, though it takes others.
	refusals     = 3
	refusedPause = time.Second
	adoptEvery   = 5 * time.Second
)

// drain takes callbacks from the spool to Redis, oldest first, as long as ctx lasts.
type drain struct {
	keeper *keeper
	// Since the spool was last empty.
	began   time.Time
	n       int
	refused int // how often Redis has refused the oldest

	drained, quarantined atomic.Int64
}

func (d *drain) run(ctx context.Context) {
	k := d.keeper
	for k.spool.Wait(ctx) == nil {
		if state, _ := k.store.State(); state != store.Up {
			if k.store.WaitUp(ctx) != nil {
				return
			}
			k.acceptor.pool.AwaitHeld(ctx, heldWait)
		}
		if d.began.IsZero() {
			d.began = time.Now()
		}
		most := drainMost
		if d.refused > 0 {
			most = 1
		}
		d.some(ctx, most)
		if n := k.spool.Stats().Waiting; n == 0 {
			if k.open == nil {
				k.log.Info("spool drained", zap.Int("callbacks", d.n), zap.Duration("took", time.Since(d.began)))
			}
			d.began, d.n = time.Time{}, 0
		}
	}
}

// some takes some of the oldest files to Redis.
func (d *drain) some(ctx context.Context, most int) {
	k := d.keeper
	files := k.spool.Take(most, drainBytes)
	var all []taken
	var unreadable []*store.Spooled
	for _, f := range files {
		cb, err := k.spool.Read(f)
		switch {
		case err == nil:
			all = append(all, taken{cb, parse(cb), f})
		case cb.Body == nil:
			k.log.Error("a file of the spool cannot be read, and is set aside", zap.String("file", f.Name()), zap.Error(err))
			unreadable = append(unreadable, f)
		default:
			k.log.Error("a file of the spool is no callback, and goes to quarantine", zap.String("file", f.Name()), zap.Error(err))
			all = append(all, d.refusal(cb, f, err))
		}
	}
	err := d.take(ctx, all)
	if err != nil && len(files) == 1 && d.refused >= refusals && store.Permanent(err) {
		k.log.Error("redis refuses a callback for good: it goes to quarantine", zap.String("file", files[0].Name()), zap.Error(err))
		err = d.take(ctx, []taken{d.refusal(all[0].callback, files[0], err)})
	}
	if err != nil {
		k.spool.Return(files)
		d.failed(ctx, err)
		return
	}
	d.refused = 0
	d.n += len(files)
	d.drained.Add(int64(len(all)))
	k.spool.Hold(files)
	for _, f := range unreadable {
		if err := k.spool.SetAside(f); err != nil {
			k.log.Error("spool", zap.Error(err))
		}
	}
	done := make([]*store.Spooled, len(all))
	for i, t := range all {
		done[i] = t.file
	}
	if k.open != nil {
		done = k.open.accepted(done)
	}
	k.remove(done)
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
			if became, ok := t.file.Tag.(chan ingest.Summary); ok {
				became <- o.each[i]
			}
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// refusal is a callback that goes to quarantine as it is.
func (d *drain) refusal(cb *event.Callback, f *store.Spooled, why error) taken {
	d.quarantined.Add(1)
	return taken{cb, kuaidihelp.Result{Rejected: []kuaidihelp.Rejected{{Raw: cb.Body, Reason: "from the spool: " + why.Error()}}}, f}
}

// failed decides how to go on. Trouble is waited for by run; what Redis refuses is offered alone, and then again after a pause.
func (d *drain) failed(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	if state, _ := d.keeper.store.State(); state != store.Up {
		return
	}
	if d.refused++; d.refused == 1 {
		d.keeper.log.Error("redis refuses callbacks of the spool", zap.Error(err))
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(refusedPause):
	}
}

func (k *keeper) remove(files []*store.Spooled) {
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
		adopted, err := k.spool.Adopt()
		for _, a := range adopted {
			k.log.Info("spool folder adopted", zap.String("folder", a.Folder), zap.Int("callbacks", a.Callbacks))
		}
		if err != nil && err.Error() != last {
			k.log.Error("the spool does not work", zap.Error(err))
		}
		if last = ""; err != nil {
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
