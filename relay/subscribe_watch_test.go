package relay_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"kuairelay/relay/kuaidihelp/fake"
	"kuairelay/test/redisserver"
)

// attentive is the config of two tenants that watch their parcels with spans of so many seconds, and of one that does
// not.
func attentive(shops, alertsSpan int, shop, audit, alerts, other *tenant) string {
	return fmt.Sprintf(`
tenants:
  - name: shop
    watch: {not_collected: %[1]ds, stalled: %[1]ds, not_picked_up: %[1]ds}
    api_keys: [%[3]s]
    endpoints:
      - {name: orders, url: "%[4]s", secrets: [%[5]s]}
      - {name: audit, url: "%[6]s", secrets: [%[7]s], format: kuaidihelp}
    routes: [{to: orders, match: {subscribed: true}}, {to: audit, match: {type: waybill.*}}]
  - name: alerts
    watch: {stalled: %[2]ds}
    api_keys: [%[8]s]
    endpoints: [{name: orders, url: "%[9]s", secrets: [%[10]s]}]
    routes: [{to: orders}]
  - name: other
    api_keys: [other-key-1]
    endpoints: [{name: orders, url: "%[11]s", secrets: [%[12]s]}]
    routes: [{to: orders, match: {subscribed: true}}]
`, shops, alertsSpan, shopKey, shop.URL, secret, audit.URL, secret, alertsKey, alerts.URL, secret, other.URL, secret)
}

// attention is what a tenant was told of parcels that do not move, as "waybill type span"; each must be the first.
func (x *tenant) attention() (all []string) {
	x.t.Helper()
	sequences := map[string]int64{}
	ids := map[string]bool{}
	for _, r := range x.all() {
		var got struct {
			Type string
			Data json.RawMessage
		}
		data := struct {
			WaybillCode string  `json:"waybill_code"`
			AfterS      float64 `json:"after_s"`
		}{}
		err := json.Unmarshal([]byte(r.body), &got)
		if err == nil {
			err = json.Unmarshal([]byte(strings.Trim(string(got.Data), "[]")), &data)
		}
		if err != nil {
			x.t.Fatalf("%v: %s", err, r.body)
		}
		seq, err := strconv.ParseInt(r.header.Get("kuairelay-sequence"), 10, 64)
		if err != nil || seq <= sequences[data.WaybillCode] {
			x.t.Errorf("out of order: %s", r.body)
		}
		sequences[data.WaybillCode] = seq
		if data.AfterS == 0 {
			continue
		}
		if ids[r.header.Get("webhook-id")] {
			x.t.Errorf("twice: %s", r.body)
		}
		ids[r.header.Get("webhook-id")] = true
		all = append(all, fmt.Sprint(data.WaybillCode, " ", got.Type, " ", data.AfterS))
	}
	slices.Sort(all)
	return all
}

// told waits until a tenant was told of this much, and fails unless it is this.
func (x *tenant) told(want ...string) {
	x.t.Helper()
	deadline := time.Now().Add(patience)
	for len(x.attention()) < len(want) && time.Now().Before(deadline) {
		time.Sleep(25 * time.Millisecond)
	}
	if got := x.attention(); !slices.Equal(got, want) {
		x.t.Errorf("told of %q, want %q", got, want)
	}
}

func TestTenantsAreToldOnceOfEachParcelThatDoesNotMove(t *testing.T) {
	t.Parallel()
	p := newProvider(t, fake.Options{})
	shop, audit, alerts, other := newTenant(t, nil), newTenant(t, nil), newTenant(t, nil), newTenant(t, nil)
	yaml := "redis: {url: '" + redisserver.Start(t).URL() + "'}\n" + account(p.URL, ", rate: 1000") +
		attentive(10, 12, shop, audit, alerts, other)
	replicas := []*running{start(t, yaml), start(t, yaml), start(t, yaml)}
	for i, key := range []string{shopKey, alertsKey, "other-key-1"} {
		replicas[i].subscribe(key, "zt", "1001", "1002", "1003", "1004")
	}
	replicas[0].pushed(parcelAt("1002", "sending", "2026-11-01 10:00:00"))
	replicas[1].pushed(parcelAt("1003", "allograph", "2026-11-01 10:00:00"))
	replicas[2].pushed(parcelAt("1004", "sending", "2026-11-01 10:00:00"))
	replicas[2].pushed(parcelAt("1004", "signed", "2026-11-01 11:00:00"))

	// One replica is stopped while it may be telling.
	shop.wait(5)
	replicas[0].end()
	replicas[0] = start(t, yaml)
	first := []string{"1001 waybill.not_collected 10", "1002 waybill.stalled 10", "1003 waybill.not_picked_up 10"}
	shop.told(first...)
	audit.told(first...)
	alerts.told("1002 waybill.stalled 12")

	// A late update ends it. The next silence is told of again, and nothing else.
	replicas[1].pushed(parcelAt("1002", "delivering", "2026-11-02 10:00:00"))
	alerts.told("1002 waybill.stalled 12", "1002 waybill.stalled 12")
	shop.told(first[0], first[1], first[1], first[2])
	if got := other.attention(); len(got) > 0 {
		t.Errorf("a tenant that watches nothing was told of %q", got)
	}

	// They are found like any other events.
	for path, n := range map[string]int{
		"waybills/1002": 2, "events?status=waybill.stalled": 2, "events?status=sending": 0,
	} {
		_, text, _ := replicas[2].api("GET", "/v1/"+path, shopKey, "")
		if strings.Count(text, `"type":"waybill.stalled"`) != n {
			t.Errorf("%s: %s", path, text)
		}
	}
	if n := total(replicas, `kuairelay_subscriptions_stuck_total{kind="stalled"}`); n < 2 {
		t.Errorf("%v were counted of the last two", n)
	}
}

func TestWhileKuaidihelpIsSilentNoTenantIsToldOfAParcel(t *testing.T) {
	t.Parallel()
	p := newProvider(t, fake.Options{})
	shop, audit, alerts, other := newTenant(t, nil), newTenant(t, nil), newTenant(t, nil), newTenant(t, nil)
	r := start(t, "redis: {url: '"+redisserver.Start(t).URL()+"'}\ncallback: {tokens: ["+token+"], silence: 1s}\n"+
		account(p.URL, ", rate: 1000")+attentive(3, 4, shop, audit, alerts, other))
	r.subscribe(shopKey, "zt", "1001")
	until(t, "kuaidihelp is silent", func() bool { return r.metric("kuairelay_provider_silent") == "1" })
	began := time.Now()
	until(t, "two looks at least have passed", func() bool { return time.Since(began) > 11*time.Second })
	if got := shop.attention(); len(got) > 0 {
		t.Errorf("told of %q", got)
	}
	until(t, "the tenant is told once callbacks come", func() bool {
		r.pushed(parcelAt("2000", "sending", "2026-11-01 10:00:00"))
		return len(shop.attention()) == 1
	})
}
