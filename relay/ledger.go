package relay

import (
	"context"

	"kuairelay/relay/config"
	"kuairelay/relay/ledger"
	"kuairelay/relay/store"
)

// Ledger has the subscriptions of a store, for tools that save and restore them.
type Ledger struct{ store *store.Store }

// OpenLedger makes the ledger of a config's store. It opens no connection yet.
func OpenLedger(c *config.Config) (*Ledger, error) {
	db, err := newStore(c, store.Options{})
	if err != nil {
		return nil, err
	}
	return &Ledger{db}, nil
}

// Export calls write for every subscription, by tenant. A subscription that is renewed meanwhile may be missing.
func (l *Ledger) Export(ctx context.Context, write func(ledger.Subscription) error) error {
	tenants, err := l.store.Subscribers(ctx)
	if err != nil {
		return err
	}
	for _, tenant := range tenants {
		if err := l.exportTenant(ctx, tenant, write); err != nil {
			return err
		}
	}
	return nil
}

func (l *Ledger) exportTenant(ctx context.Context, tenant string, write func(ledger.Subscription) error) error {
	cursor := ""
	for {
		page, next, err := l.store.Subscriptions(ctx, tenant, cursor, 500)
		if err != nil {
			return err
		}
		for _, s := range page {
			if err := write(s); err != nil {
				return err
			}
		}
		if next == "" {
			return nil
		}
		cursor = next
	}
}

// Import puts subscriptions back; what the ledger knows already stays. It returns how many were new.
func (l *Ledger) Import(ctx context.Context, all []ledger.Subscription) (int, error) {
	return l.store.Import(ctx, all)
}

// Close closes the connections.
func (l *Ledger) Close() error { return l.store.Close() }
