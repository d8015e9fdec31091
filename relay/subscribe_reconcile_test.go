package relay_test

import (
	"fmt"
	"strings"
	"testing"

	"kuairelay/relay/api"
	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/kuaidihelp/fake"
	"kuairelay/test/redisserver"
)

// parcelAt is a parcel's update with one track.
func parcelAt(code, status, at string) fake.Item {
	parcel := fake.NewParcels(1, nil).Of("zt", code)
	item := parcel.Update(status)
	item.Tracks[0].Time = at
	return item
}

// pushed has a relay take an update as kuaidihelp would push it.
func (r *running) pushed(item fake.Item) {
	r.t.Helper()
	contentType, body, err := fake.Encode(fake.JSON, []fake.Item{item})
	if err != nil {
		r.t.Fatal(err)
	}
	if status, answer := r.push(contentType, string(body)); status != 200 || answer != "success" {
		r.t.Fatalf("%d %s", status, answer)
	}
}

// queried counts how many times a waybill was asked for.
func queried(p *provider, code string) (n int) {
	for _, c := range p.Calls() {
		if c.Method == kuaidihelp.MethodQuery && strings.Contains(","+c.Data+",", code) {
			n++
		}
	}
	return n
}

func TestNewsThatNoCallbackBroughtIsFoundByAQuery(t *testing.T) {
	t.Parallel()
	p := newProvider(t, fake.Options{})
	shop, alerts := newTenant(t, nil), newTenant(t, nil)
	yaml := "redis: {url: '" + redisserver.Start(t).URL() + "'}\nadmin: {token: " + adminToken + "}\n" +
		account(p.URL, ", rate: 1000, query: {rate: 1000, daily_budget: 100, min_interval: 1h}") +
		"subscriptions: {reconcile: {after: 10s, resubscribe_after: 1}}\n" + two(shop, alerts)
	replicas := []*running{start(t, yaml), start(t, yaml), start(t, yaml)}

	// One parcel has moved twice, and the second push was lost. Of another all is known. The third was never scanned.
	// What kuaidihelp knows is there before anybody may ask for it.
	same := parcelAt("1002", "sending", "2026-11-01 10:00:00")
	p.Move(parcelAt("1001", "delivering", "2026-11-02 10:00:00"))
	p.Move(same)
	for _, code := range []string{"1001", "1002", "1003"} {
		replicas[0].subscribe(shopKey, "zt", code)
	}
	replicas[1].subscribe(alertsKey, "zt", "1002")
	replicas[0].pushed(parcelAt("1001", "sending", "2026-11-01 10:00:00"))
	replicas[1].pushed(same)

	got := shop.wait(3)
	news := got[2]
	if reason := news.header.Get("kuairelay-reason"); reason != "reconcile" ||
		!strings.Contains(news.body, `"waybill_code":"1001"`) || !strings.Contains(news.body, `"status":"delivering"`) {
		t.Errorf("the news came as %q: %s", reason, news.body)
	}
	sum := func(result string) string {
		n := 0
		for _, r := range replicas {
			var one int
			_, _ = fmt.Sscan(r.metric(`kuairelay_reconciled_total{result="`+result+`"}`), &one)
			n += one
		}
		return fmt.Sprint(n)
	}
	for result, want := range map[string]string{"missed": "1", "unchanged": "1", "no_record": "1", "error": "0"} {
		until(t, result+" is "+want, func() bool { return sum(result) == want })
	}

	missed := 0 // by the replica that has found it
	for _, r := range replicas {
		a := &apiClient{running: r, t: t}
		if p, told := a.problems(adminToken)[api.PushesMissed]; told && p.What == "1 update was not pushed" {
			missed++
		}
	}
	if missed != 1 {
		t.Errorf("%d replicas say that a push was missed", missed)
	}

	// Each was asked for once, and the one whose callback was lost is subscribed once more.
	until(t, "1001 is subscribed again", func() bool { return p.asked("1001") == 3 })
	for _, code := range []string{"1001", "1002", "1003"} {
		if n := queried(p, code); n != 1 {
			t.Errorf("%s was asked for %d times", code, n)
		}
	}
	for _, r := range alerts.all() {
		if strings.Contains(r.body, "1001") || r.header.Get("kuairelay-reason") == "reconcile" {
			t.Errorf("alerts got %s", r.body)
		}
	}
	if n := len(shop.all()); n != 3 {
		t.Errorf("shop got %d updates, want 3", n)
	}
}

func TestADryRunOfQueriesOnlyCounts(t *testing.T) {
	t.Parallel()
	p := newProvider(t, fake.Options{})
	shop, alerts := newTenant(t, nil), newTenant(t, nil)
	r := start(t, "redis: {url: '"+redisserver.Start(t).URL()+"'}\n"+
		account(p.URL, ", rate: 1000, query: {rate: 1000, daily_budget: 100, min_interval: 1h}")+
		"subscriptions: {reconcile: {after: 2s, resubscribe_after: 1, dry_run: true}}\n"+two(shop, alerts))
	p.Move(parcelAt("1001", "signed", "2026-11-02 10:00:00"))
	r.subscribe(shopKey, "zt", "1001")
	until(t, "the query is counted", func() bool {
		return r.metric(`kuairelay_reconciled_total{result="missed"}`) == "1"
	})
	if got := shop.all(); len(got) != 0 {
		t.Errorf("a dry run delivered %s", got[0].body)
	}
	if n := p.asked("1001"); n != 2 {
		t.Errorf("the waybill was named %d times, want a subscription and a query", n)
	}
}

func TestWhileKuaidihelpIsSilentNoWaybillIsAskedFor(t *testing.T) {
	t.Parallel()
	p := newProvider(t, fake.Options{})
	shop, alerts := newTenant(t, nil), newTenant(t, nil)
	r := start(t, "redis: {url: '"+redisserver.Start(t).URL()+"'}\ncallback: {tokens: ["+token+"], silence: 1s}\n"+
		account(p.URL, ", rate: 1000, query: {rate: 1000, daily_budget: 100, min_interval: 1s}")+
		"subscriptions: {reconcile: {after: 1s}}\n"+two(shop, alerts))
	r.subscribe(shopKey, "zt", "1001")
	until(t, "kuaidihelp is silent", func() bool { return r.metric("kuairelay_provider_silent") == "1" })
	if n := queried(p, "1001"); n != 0 {
		t.Errorf("the waybill was asked for %d times", n)
	}
	until(t, "it is asked for once callbacks come", func() bool {
		r.pushed(parcelAt("2000", "sending", "2026-11-01 10:00:00"))
		return queried(p, "1001") > 0
	})
}
