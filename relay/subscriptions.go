package relay

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kuairelay/relay/config"
	"kuairelay/relay/event"
	"kuairelay/relay/intake"
	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/store"
	"kuairelay/relay/subscribe"
)

// newProxy makes the subscribe proxy, which knows nobody yet.
func newProxy(c *config.Config, db *store.Store, in *intake.Intake, s *shares, d *doorman, o Options, registry *prometheus.Registry) *subscribe.Proxy {
	registry.MustRegister(newUnfinished(db))
	return subscribe.New(subscribe.Options{
		Store:         db,
		Tenant:        d.tenant,
		Signed:        d.signed,
		Enter:         s.enter,
		CatchUp:       in.CatchUp,
		Concurrency:   c.Kuaidihelp.Concurrency,
		ShutdownGrace: o.Grace * 3 / 4,
		Logger:        o.Logger,
		Registry:      registry,
	})
}

// proxySettings are those of a config. Without the account's key there is no provider to ask.
func proxySettings(c *config.Config, client *http.Client, now func() time.Time) subscribe.Settings {
	set := subscribe.Settings{Methods: c.Kuaidihelp.Methods, TSWindow: c.Subscriptions.TSWindow}
	if key := c.Kuaidihelp.APIKey.Reveal(); key != "" {
		set.Upstream = &kuaidihelp.Client{URL: c.Kuaidihelp.APIURL, AppID: c.Kuaidihelp.AppID, APIKey: key, Timeout: c.Kuaidihelp.Timeout, HTTP: client, Now: now}
	}
	for _, t := range c.Tenants {
		set.Tenants = append(set.Tenants, subscribe.Tenant{Name: t.Name,
			Limits: event.Limits{Rate: float64(t.Limits.Rate), DailyQuota: t.Limits.DailyQuota}})
	}
	return set
}

// unfinished asks the store at every scrape for what is still to be done for subscriptions.
type unfinished struct {
	store *store.Store
	count *prometheus.Desc
}

func newUnfinished(s *store.Store) *unfinished {
	return &unfinished{s, prometheus.NewDesc("kuairelay_subscriptions_unfinished",
		"Waybills that kuaidihelp has still to be asked for, and tenants that have still to be caught up.", nil, nil)}
}

// Describe implements prometheus.Collector.
func (u *unfinished) Describe(ch chan<- *prometheus.Desc) { ch <- u.count }

// Collect implements prometheus.Collector.
func (u *unfinished) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	n, err := u.store.Unfinished(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(u.count, fmt.Errorf("ask the store: %w", err))
		return
	}
	ch <- prometheus.MustNewConstMetric(u.count, prometheus.GaugeValue, float64(n))
}
