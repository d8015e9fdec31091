package relay

import (
	"context"
	"io"
	"net/http"

	"kuairelay/relay/api"
	"kuairelay/relay/config"
	"kuairelay/relay/event"
	"kuairelay/relay/ingest"
	"kuairelay/relay/intake"
	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/route"
)

// viewOf is what the API is to know of a config, and of what was built from it.
func viewOf(c *config.Config, table *route.Table, test tester) api.View {
	v := api.View{Test: test}
	for _, t := range c.Tenants {
		tenant := api.Tenant{Name: t.Name}
		for _, e := range t.Endpoints {
			tenant.Endpoints = append(tenant.Endpoints, api.Endpoint{ID: e.ID, URL: e.Shown, Format: e.Format})
		}
		v.Tenants = append(v.Tenants, tenant)
	}
	v.Explain = func(e *event.Stored, wishes []event.Subscription, tenant string) []api.Route {
		var out []api.Route
		past := pastOf(e, wishes)
		for _, r := range table.ExplainTo(kuaidihelp.Reread(e.Event), tenant) {
			r = past.judge(r)
			out = append(out, api.Route{Tenant: r.Tenant, At: r.Pos, Endpoints: r.Endpoints, Matched: r.Matched, Why: r.Why})
		}
		return out
	}
	return v
}

// retakeMost bounds what a callback from quarantine may come to, decompressed and in UTF-8.
const retakeMost = 64 << 20

// retake takes in a callback, or an item of one, from quarantine as if it had just come.
func retake(ctx context.Context, in *intake.Intake, q event.Quarantined) (api.Taken, error) {
	read := func(r io.Reader) ([]byte, error) {
		return io.ReadAll(http.MaxBytesReader(nil, io.NopCloser(r), retakeMost))
	}
	body, err := ingest.Unpack(q.Raw, q.Headers["Content-Encoding"], read)
	if err == nil {
		body, err = kuaidihelp.Decode(q.Headers["Content-Type"], body, read)
	}
	if err != nil {
		return api.Taken{Rejected: err.Error()}, nil //nolint:nilerr // it is what the operator asked: why it was not taken
	}

	out, err := in.Retake(ctx, q, body)
	return api.Taken(out), err
}
