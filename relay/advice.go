package relay

import (
	"context"
	"maps"
	"sync"
	"time"

	"go.uber.org/zap"

	"kuairelay/relay/store"
)

// adviceEvery is how often Redis is asked again how it is set up.
const adviceEvery = time.Minute

// adviser says, in log and metric, what about Redis puts accepted events at risk.
type adviser struct {
	store *store.Store
	log   *zap.Logger

	mu  sync.Mutex
	now map[string]string
}

// present is what holds at present: why by the name of the advice.
func (a *adviser) present() map[string]string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.now)
}

func (a *adviser) run(ctx context.Context) {
	tick := time.NewTicker(adviceEvery)
	defer tick.Stop()
	for a.store.WaitUp(ctx) == nil {
		if now, err := a.store.Advice(ctx); err == nil {
			a.hear(now)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// hear logs each advice once, when it begins to hold.
func (a *adviser) hear(now map[string]string) {
	was := a.present()
	for name, why := range now {
		if _, known := was[name]; known {
			continue
		}
		log := a.log.Warn
		if name == store.AdviceUnreadable {
			log = a.log.Info
		}
		log("redis advice", zap.String("advice", name), zap.String("why", why))
	}
	for name := range was {
		if _, holds := now[name]; !holds {
			a.log.Info("redis advice holds no longer", zap.String("advice", name))
		}
	}
	a.mu.Lock()
	a.now = now
	a.mu.Unlock()
}
