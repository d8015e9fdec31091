package relay_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kuairelay/relay/kuaidihelp/fake"
	"kuairelay/test/redisserver"
)

// unknown is a provider that has no record of waybills until it is told.
type unknown struct {
	mu    sync.Mutex
	known map[string]bool
}

func (u *unknown) knows(code string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.known[code] = true
}

func (u *unknown) decide(c fake.Call) fake.Reply {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, code := range c.Codes {
		if !u.known[code] {
			return fake.Reply{Code: 201101, Msg: "查询暂无记录"}
		}
	}
	return fake.Reply{}
}

// watching is the config of two tenants, of which one wants to be told of losses. Its endpoint audit has another form.
func watching(shop, audit, alerts *tenant) string {
	return fmt.Sprintf(`
tenants:
  - name: shop
    watch: {lost: true}
    api_keys: [%s]
    endpoints:
      - {name: orders, url: "%s", secrets: [%s]}
      - {name: audit, url: "%s", secrets: [%s], format: kuaidihelp}
    routes: [{to: orders}, {to: audit, match: {type: subscription.lost}}]
  - name: alerts
    api_keys: [%s]
    endpoints: [{name: orders, url: "%s", secrets: [%s]}]
    routes: [{to: orders}]
`, shopKey, shop.URL, secret, audit.URL, secret, alertsKey, alerts.URL, secret)
}

func TestAWaybillWithoutARecordIsAskedForAgainAndThenLost(t *testing.T) {
	t.Parallel()
	provider := &unknown{known: map[string]bool{}}
	p := newProvider(t, fake.Options{Decide: provider.decide})
	shop, audit, alerts := newTenant(t, nil), newTenant(t, nil), newTenant(t, nil)
	yaml := "redis: {url: '" + redisserver.Start(t).URL() + "'}\n" + account(p.URL, ", rate: 1000") +
		"subscriptions: {no_record: {retry: [20s, 5s]}}\n" + watching(shop, audit, alerts)
	replicas := []*running{start(t, yaml), start(t, yaml)}

	// The answer comes at once, says why, and when kuaidihelp is asked again.
	began := time.Now()
	for i, key := range []string{shopKey, alertsKey} {
		status, text, _ := replicas[i].patient("POST", "/v1/subscriptions", key,
			`{"cp_code":"zt","waybill_codes":["lost","found"]}`)
		var got struct {
			Results []struct {
				Result, Msg string
				Code        int
				RetryAt     time.Time `json:"retry_at"`
			}
		}
		if err := json.Unmarshal([]byte(text), &got); err != nil || status != 200 || len(got.Results) != 2 {
			t.Fatalf("%d %s", status, text)
		}
		for _, r := range got.Results {
			if r.Result != "pending" || r.Code != 201101 || !strings.HasPrefix(r.Msg, "查询暂无记录; the relay asks again at ") ||
				r.RetryAt.Before(began) {
				t.Errorf("%+v", r)
			}
		}
	}
	if took := time.Since(began); took > 18*time.Second { // each would poll for 20 s
		t.Errorf("the answers took %s", took)
	}
	_, text, _ := replicas[0].api("GET", "/v1/subscriptions/zt/lost", shopKey, "")
	if !strings.Contains(text, `"state":"pending","code":201101,"msg":"查询暂无记录",`) ||
		!strings.Contains(text, `"retry_at":"`) {
		t.Errorf("the subscription is %s", text)
	}
	if code, msg := replicas[0].dropIn(form("shop", "express.sub.msg", now10(), shopKey,
		`{"waybill_codes":"lost","cp_code":"zt"}`)); code != 0 || !strings.Contains(msg, "asks again: lost)") {
		t.Errorf("%d %s", code, msg)
	}
	provider.knows("found")

	// The replicas ask together once for each time that it is due. Then the tenant that wants to be told is told.
	var told map[string]any
	for _, r := range audit.wait(1) {
		if err := json.Unmarshal([]byte(r.body), &told); err != nil {
			t.Fatal(err)
		}
	}
	if told["type"] != "subscription.lost" {
		t.Errorf("as kuaidihelp writes it: %v", told)
	}
	first := shop.wait(1)[0]
	var loss struct {
		Type string
		Data struct {
			WaybillCode string `json:"waybill_code"`
			CPCode      string `json:"cp_code"`
			Reason, Msg string
			Code, Asked int
			Since       time.Time
		}
	}
	if err := json.Unmarshal([]byte(first.body), &loss); err != nil {
		t.Fatal(err)
	}
	d := loss.Data
	if loss.Type != "subscription.lost" || d.WaybillCode != "lost" || d.CPCode != "zt" || d.Reason != "no_record" ||
		d.Msg != "查询暂无记录" || d.Code != 201101 || d.Asked != 3 || d.Since.Before(began.Add(-time.Second)) {
		t.Errorf("%s", first.body)
	}

	// It was named with "found" and then alone at first, and perhaps in the next two turns.
	if n := p.asked("lost"); n < 4 || n > 6 {
		t.Errorf("it was named %d times in three turns", n)
	}
	for _, r := range replicas {
		until(t, "the one is live, and the other has failed", func() bool {
			_, found, _ := r.patient("GET", "/v1/subscriptions/zt/found", shopKey, "")
			_, lost, _ := r.patient("GET", "/v1/subscriptions/zt/lost", alertsKey, "")
			return strings.Contains(found, `"state":"live"`) && strings.Contains(lost, `"state":"failed","code":201101`) &&
				!strings.Contains(lost, "retry_at")
		})
		if got := r.subscribe(shopKey, "zt", "found")[0]; got.Result != "already" {
			t.Errorf("%+v", got)
		}
	}
	until(t, "one loss is counted", func() bool {
		return total(replicas, `kuairelay_subscriptions_lost_total{reason="no_record"}`) == 1
	})

	// It can be looked at and replayed like any other. An update is the last one of the waybill, and follows it.
	status, text := replicas[0].push("application/json", callback(item("lost", "collected", "2026-11-30 10:00:00")))
	if status != 200 {
		t.Errorf("%d %s", status, text)
	}
	all := shop.wait(2)
	if last := all[len(all)-1]; !strings.Contains(last.body, "waybill.collected") {
		t.Errorf("%s", last.body)
	}
	if got := alerts.wait(1); len(got) != 1 || !strings.Contains(got[0].body, "waybill.collected") {
		t.Errorf("the other tenant got %s", got[0].body)
	}
	if got := replicas[1].subscribe(shopKey, "zt", "lost")[0]; got.Result != "already" {
		t.Errorf("after a push it is %+v", got)
	}
	_, text, _ = replicas[0].api("GET", "/v1/waybills/lost", shopKey, "")
	if strings.Count(text, `"type":"subscription.lost"`) != 1 {
		t.Errorf("%s", text)
	}
}

// total adds up a series over replicas.
func total(replicas []*running, series string) (sum float64) {
	for _, r := range replicas {
		var n float64
		_, _ = fmt.Sscan(r.metric(series), &n)
		sum += n
	}
	return sum
}

func TestANewNumberCostsFewCalls(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	p := newProvider(t, fake.Options{Decide: func(c fake.Call) fake.Reply {
		calls.Add(1)
		return by(c)
	}})
	shop, alerts := newTenant(t, nil), newTenant(t, nil)
	r := start(t, account(p.URL, ", rate: 1000")+two(shop, alerts))
	for what, c := range map[string]struct {
		codes []string
		most  int64
	}{
		"all known":   {strings.Fields("k1 k2 k3 k4 k5 k6 k7 k8 k9 k10"), 1},
		"one of ten":  {strings.Fields("a1 a2 a3 a4 a5 a6 a7 a8 a9 norecord-1"), 1 + 2 + 5},
		"one of four": {strings.Fields("b1 b2 b3 norecord-2"), 1 + 4},
		"all ten": {strings.Fields(strings.ReplaceAll("c0 c1 c2 c3 c4 c5 c6 c7 c8 c9", "c", "norecord-c")),
			1 + 2 + 10},
		"one that is alone": {[]string{"norecord-3"}, 1},
	} {
		calls.Store(0)
		r.subscribe(shopKey, "zt", c.codes...)
		if n := calls.Load(); n > c.most {
			t.Errorf("%s: %d calls, want at most %d", what, n, c.most)
		}
	}
}
