package relay

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"kuairelay/relay/event"
	"kuairelay/relay/logonce"
	"kuairelay/relay/store"
)

// settingsLog writes into the logs of endpoints what a config has changed of them. It compares with what is written
// down in Redis: so each change is told once, by the first replica that comes to it, and also if the replicas were
// restarted for it. Where nothing is written down yet, nothing has changed.
type settingsLog struct {
	store *store.Store
	log   *zap.Logger
	wake  chan struct{} // full if there is something to write
	last  logonce.Change[string]
	first bool // nothing was written down before, and not all is yet: so no endpoint is told to be added

	mu      sync.Mutex
	uses    int // of a config
	built   map[string]builtEndpoint
	all     bool            // all endpoints are to be compared, also those that are only written down
	changed map[string]bool // otherwise these
}

func newSettingsLog(s *store.Store, log *zap.Logger) *settingsLog {
	return &settingsLog{store: s, log: log, wake: make(chan struct{}, 1), changed: make(map[string]bool)}
}

// use takes note of a config. before are the endpoints of the one before; nil: this is the first.
func (l *settingsLog) use(before, now map[string]builtEndpoint) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.uses++
	l.built = now
	l.all = l.all || before == nil
	if !l.all {
		for name, e := range now {
			if before[name].is != e.is {
				l.changed[name] = true
			}
		}
		for name := range before {
			if now[name].is == nil {
				l.changed[name] = true
			}
		}
	}
	l.wakeUp()
}

func (l *settingsLog) wakeUp() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// run writes what is to be written, until ctx is cancelled. After an error it tries again.
func (l *settingsLog) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.wake:
		}

		err := l.write(ctx)
		if err == nil {
			l.last.To("")
			continue
		}
		var trouble interface{ Trouble() bool } // of Redis, which is told elsewhere
		if !errors.Is(err, errOtherWrites) && !errors.As(err, &trouble) && ctx.Err() == nil && l.last.To(err.Error()) {
			l.log.Warn("what has changed of endpoints is not in their logs yet", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
			l.wakeUp()
		}
	}
}

// errOtherWrites says that another replica writes at present: at a first start, two would take each other's endpoints
// for new ones.
var errOtherWrites = errors.New("another replica writes")

// write compares what is to be compared, and writes what has changed.
func (l *settingsLog) write(ctx context.Context) error {
	unlock, locked, err := l.store.TryLock(ctx, "settings", time.Minute)
	if err != nil {
		return err
	}
	if !locked {
		return errOtherWrites
	}
	defer unlock()

	l.mu.Lock()
	uses, built, all, names := l.uses, l.built, l.all, slices.Sorted(maps.Keys(l.changed))
	l.mu.Unlock()
	switch {
	case all:
		names = nil
	case len(names) == 0:
		return nil
	}
	known, err := l.store.KnownSettings(ctx, names)
	if err != nil {
		return err
	}
	l.first = l.first || all && len(known) == 0
	if all {
		names = slices.Sorted(maps.Keys(built))
		for name := range known {
			if built[name].is == nil {
				names = append(names, name)
			}
		}
	}

	var changes []store.SettingsChange
	for _, name := range names {
		c := store.SettingsChange{Endpoint: name, Before: known[name]}
		if e := built[name]; e.is != nil {
			c.After = writtenSettings(e.of)
		}
		if c.Before == c.After {
			continue
		}
		if !l.first {
			c.Entry = settingsEntry(c)
		}
		changes = append(changes, c)
	}
	if err := l.store.ChangeSettings(ctx, changes); err != nil {
		return err
	}
	l.first = false

	// What a newer config has changed meanwhile is still to be compared.
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.uses == uses {
		l.all = false
		clear(l.changed)
	}
	return nil
}

// settingsEntry is what the log of an endpoint tells of a change; nil: nothing.
func settingsEntry(c store.SettingsChange) *event.LogEntry {
	switch {
	case c.Before == "":
		return &event.LogEntry{What: event.LogAdded}
	case c.After == "":
		return &event.LogEntry{What: event.LogRemoved}
	}
	changes := settingChanges(c.Before, c.After)
	if len(changes) == 0 {
		return nil
	}
	return &event.LogEntry{What: event.LogChanged, Changes: changes}
}
