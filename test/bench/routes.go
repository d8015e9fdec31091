package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"kuairelay/relay"
	"kuairelay/relay/config"
	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/route"
	"kuairelay/test/process"
)

const (
	matching  = 3  // tenants that get every event
	perTenant = 10 // routes
)

// labelled is how a histogram with an endpoint label ends in the text of Prometheus: one such line for each endpoint.
var labelled = regexp.MustCompile(`_bucket\{.*endpoint="[^"]*".*le="\+Inf"`)

// routes is what W6 is about, beside its throughput.
type routes struct {
	Tenants, Routes int
	RSS             float64 // bytes, in the end; figures.RSS includes what loading the config took
	Match           float64 // seconds to match one event
	Labels          int     // series of histograms that have an endpoint label
}

// measureRoutes is W6: three tenants that get every event, and, if others, a great many more that get none. Each has
// one endpoint.
func measureRoutes(name string, others bool) measurement {
	return func(ctx context.Context, s *session) (f figures, err error) {
		n := 0
		if others {
			n = s.tenants() - matching
		}
		st, err := s.newRelay(ctx, name, "everysec", s.manyTenants(n))
		if err != nil {
			return f, err
		}
		defer st.close()
		if f, err = s.flood(ctx, st, matching); err != nil {
			return f, err
		}
		f.Routes.Tenants = n + matching
		if f.Routes.Match, f.Routes.Routes, err = matchTime(filepath.Join(st.dir, "config.yaml")); err != nil {
			return f, err
		}
		if f.Routes.RSS, _, err = process.MemoryOf(st.process.PID()); err != nil {
			return f, err
		}
		page, err := get(ctx, st.admin+"/metrics")
		f.Routes.Labels = len(labelled.FindAll(page, -1))
		return f, err
	}
}

// manyTenants is the config of W6. The routes are of ten kinds, and most have a waybill prefix that is their tenant's
// own.
func (s *session) manyTenants(others int) string {
	var b bytes.Buffer
	b.WriteString("tenants:\n")
	tenant := func(name, url string) {
		fmt.Fprintf(&b, "  - name: %s\n    endpoints: [ {name: e, url: '%s', secrets: [%s]} ]\n    routes:\n", name, url,
			secret)
	}
	for i, match := range [matching]string{`{waybill_code: "77*"}`, `{type: express_sub_msg}`, `{status: "*"}`} {
		tenant(fmt.Sprintf("all%d", i), s.urls(matching)[i])
		fmt.Fprintf(&b, "      - {to: e, match: %s}\n", match)
		if others > 0 {
			otherRoutes(&b, others+i, perTenant-1)
		}
	}
	for i := range others {
		tenant(fmt.Sprintf("t%d", i), s.urls(endpoints)[endpoints-1])
		otherRoutes(&b, i, perTenant)
	}
	return b.String()
}

// otherRoutes are the first n routes of a tenant that match nothing which is pushed here.
func otherRoutes(b *bytes.Buffer, tenant, n int) {
	brands := [...]string{"zt", "sto", "ytsd", "jt", "yd"}
	statuses := [...]string{"collected", "sending", "delivering", "allograph", "question", "signed"}
	own, brand, status := 1_000_000+tenant*89, brands[tenant%len(brands)], statuses[tenant%len(statuses)]
	kinds := [perTenant]string{
		fmt.Sprintf(`cp_code: %s, status: %s, waybill_code: "%d*"`, brand, status, own),
		fmt.Sprintf(`cp_code: %s, status: signed, waybill_code: "%d*"`, brand, own),
		fmt.Sprintf(`cp_code: [%s, sto, ytsd], status: [signed, question], waybill_code: "%d*"`, brand, own),
		fmt.Sprintf(`status: signed, waybill_code: ["%d8*", "%d1*"]`, own/100, own),
		fmt.Sprintf(`waybill_code: ["%d000001", "%d000002", "%d000003"]`, own, own, own),
		fmt.Sprintf(`type: callback-t%d`, tenant),
		fmt.Sprintf(`type: express_sub_msg, waybill_code: "%d*", changed: status`, own),
		fmt.Sprintf(`cp_code: brand-t%d, status: [signed, question, allograph]`, tenant),
		fmt.Sprintf(`waybill_code: "%d*9", status: "*ed"`, own),
		fmt.Sprintf(`cp_code: %s, waybill_code: "%d*"`, brand, own),
	}
	for _, match := range kinds[:n] {
		fmt.Fprintf(b, "      - {to: e, match: {%s}}\n", match)
	}
}

// matchTime loads a config as the relay does, and measures how long it takes to match one event, and checks that three
// routes do.
func matchTime(path string) (seconds float64, all int, err error) {
	c, err := config.Load(path, config.Options{CheckWhen: route.CheckWhen, LookupEnv: os.LookupEnv})
	if err != nil {
		return 0, 0, err
	}
	for _, t := range c.Tenants {
		all += len(t.Routes)
	}
	table, err := relay.NewTable(c, nil)
	if err != nil {
		return 0, 0, err
	}
	made, err := newCallbacks(0, false)
	if err != nil {
		return 0, 0, err
	}
	events := kuaidihelp.Parse("application/json", made.appendTo(nil, 0, 0, kinds), time.Now()).Events
	const times = 200_000
	var found []route.Candidate
	started := time.Now()
	for i := range times {
		if found = table.Match(events[i%len(events)], found[:0]); len(found) != matching {
			return 0, 0, fmt.Errorf("%d routes match event %d, not %d", len(found), i, matching)
		}
	}
	return time.Since(started).Seconds() / times, all, nil
}
