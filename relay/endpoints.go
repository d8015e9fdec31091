package relay

import (
	"fmt"
	"net/http"
	"net/url"

	"kuairelay/relay/config"
	"kuairelay/relay/deliver"
	"kuairelay/relay/event"
	"kuairelay/relay/signature"
)

// endpoints turns those of the config into those of the pool, and says which of them keep the order of a waybill.
func endpoints(tenants []config.Tenant) ([]deliver.Endpoint, map[string]bool, error) {
	var out []deliver.Endpoint
	ordered := make(map[string]bool)
	for _, t := range tenants {
		for _, e := range t.Endpoints {
			d := e.Delivery
			ep := deliver.Endpoint{
				Name: e.ID, URL: e.URL, Format: e.Format, Timeout: d.Timeout, MaxInFlight: d.MaxInFlight, Rated: d.Rate > 0, MaxBacklog: d.MaxBacklog,
				Policy: deliver.Policy{Retry: d.Retry, MaxAge: d.MaxAge}, AllowCIDRs: e.AllowCIDRs, TLS: e.TLS, Headers: make(http.Header),
			}
			for _, h := range e.Headers {
				ep.Headers.Set(h.Name, h.Value.Reveal())
			}
			for _, s := range e.Secrets {
				k, err := signature.ParseKey(s.Secret.Reveal())
				if err != nil {
					return nil, nil, fmt.Errorf("endpoint %s: %w", e.ID, err)
				}
				ep.Keys = append(ep.Keys, deliver.Key{Key: k, Until: s.Until})
			}
			out = append(out, ep)
			ordered[e.ID] = d.Order != "none"
		}
	}
	return out, ordered, nil
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
