package relay

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"

	"kuairelay/relay/config"
	"kuairelay/relay/deliver"
	"kuairelay/relay/event"
	"kuairelay/relay/signature"
)

// made is an endpoint of the config, and of the pool.
type made struct {
	of config.Endpoint
	is *deliver.Endpoint
}

// endpoints turns those of the config into those of the pool. One that is as it was before stays the very same, so that the pool
// can tell.
func endpoints(tenants []config.Tenant, before map[string]made) ([]*deliver.Endpoint, map[string]made, error) {
	var all []*deliver.Endpoint
	now := make(map[string]made)
	for _, t := range tenants {
		for _, e := range t.Endpoints {
			m, known := before[e.ID]
			if !known || !sameEndpoint(m.of, e) {
				ep, err := endpoint(e)
				if err != nil {
					return nil, nil, err
				}
				m = made{e, ep}
			}
			now[e.ID] = m
			all = append(all, m.is)
		}
	}
	return all, now, nil
}

func endpoint(e config.Endpoint) (*deliver.Endpoint, error) {
	d := e.Delivery
	ep := &deliver.Endpoint{
		Name: e.ID, URL: e.URL, Format: e.Format, Timeout: d.Timeout, MaxInFlight: d.MaxInFlight, Rated: d.Rate > 0, MaxBacklog: d.MaxBacklog,
		Policy: deliver.Policy{Retry: d.Retry, MaxAge: d.MaxAge}, AllowCIDRs: e.AllowCIDRs, TLS: e.TLS, Headers: make(http.Header),
	}
	for _, h := range e.Headers {
		ep.Headers.Set(h.Name, h.Value.Reveal())
	}
	for _, s := range e.Secrets {
		k, err := signature.ParseKey(s.Secret.Reveal())
		if err != nil {
			return nil, fmt.Errorf("endpoint %s: %w", e.ID, err)
		}
		ep.Keys = append(ep.Keys, deliver.Key{Key: k, Until: s.Until})
	}
	return ep, nil
}

// sameEndpoint says whether two configs have the same of an endpoint, wherever it stands in them.
func sameEndpoint(a, b config.Endpoint) bool {
	if !sameTLS(a.TLS, b.TLS) {
		return false
	}
	a.Pos, a.TLS, b.Pos, b.TLS = config.Position{}, nil, config.Position{}, nil
	return reflect.DeepEqual(a, b)
}

func sameTLS(a, b *tls.Config) bool {
	if a == nil || b == nil {
		return a == b
	}
	same := func(a, b tls.Certificate) bool { return slices.EqualFunc(a.Certificate, b.Certificate, bytes.Equal) }
	return a.ServerName == b.ServerName && (a.RootCAs == nil) == (b.RootCAs == nil) && (a.RootCAs == nil || a.RootCAs.Equal(b.RootCAs)) &&
		slices.EqualFunc(a.Certificates, b.Certificates, same)
}

// ordered says which endpoints keep the order of a waybill.
func ordered(tenants []config.Tenant) map[string]bool {
	out := make(map[string]bool)
	for _, t := range tenants {
		for _, e := range t.Endpoints {
			out[e.ID] = e.Delivery.Order != "none"
		}
	}
	return out
}

// flows are those of the endpoints, for the store, which keeps to them over all replicas.
func flows(tenants []config.Tenant) map[string]event.Flow {
	out := make(map[string]event.Flow)
	for _, t := range tenants {
		for _, e := range t.Endpoints {
			out[e.ID] = event.Flow{Rate: e.Delivery.Rate, Breaker: event.Breaker(e.Delivery.Breaker)}
		}
	}
	return out
}

// egress turns that of the config into that of the pool.
func egress(c *config.Config) (deliver.Egress, error) {
	out := deliver.Egress{AllowCIDRs: c.Egress.AllowCIDRs}
	if c.Egress.Proxy == "" {
		return out, nil
	}
	u, err := url.Parse(c.Egress.Proxy.Reveal())
	if err != nil {
		return out, fmt.Errorf("egress.proxy: it is not a URL") // the error would hold it
	}
	out.Proxy = u
	return out, nil
}
