package relay_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"kuairelay/relay/kuaidihelp/fake"
	"kuairelay/test/redisserver"
)

// The flood asks for a hundred calls at four a second. What another tenant asks for then takes its turn among them.
func TestATenantThatFloodsTheLineDoesNotHoldUpAnother(t *testing.T) {
	t.Parallel()
	p := newProvider(t, fake.Options{})
	shop, alerts := newTenant(t, nil), newTenant(t, nil)
	r := start(t, account(p.URL, ", rate: 4, concurrency: 1")+two(shop, alerts))
	var codes []string
	for i := range 1000 {
		codes = append(codes, fmt.Sprint("flood", i))
	}
	ctx, end := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.public+"/v1/subscriptions",
		strings.NewReader(`{"cp_code":"zt","waybill_codes":"`+strings.Join(codes, ",")+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+shopKey)
	flood := make(chan error)
	go func() {
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		flood <- err
	}()
	until(t, "the flood has begun", func() bool { return len(p.Calls()) > 2 })
	before := len(p.Calls())
	for i := range 3 {
		if got := r.subscribe(alertsKey, "zt", fmt.Sprint("own", i)); got[0].Result != "subscribed" {
			t.Errorf("%+v", got)
		}
	}
	// Each of the three has waited for the call under way, and for one or two of the flood's. More are made while a busy
	// machine is slow to ask for the next, and all of them if the three have to wait for the flood.
	calls := p.Calls()
	if n := len(calls) - before; n > 30 {
		t.Errorf("%d calls were made until three were served", n)
	}
	if len(calls) > 90 {
		t.Error("the flood was over: the test shows nothing")
	}
	end()
	if err := <-flood; err != nil && !errors.Is(err, context.Canceled) { // on a slow machine it was answered before
		t.Errorf("the flood's request ended with %v", err)
	}
}

func TestATenantOverItsQuotaDoesNotSlowAnother(t *testing.T) {
	t.Parallel()
	p := newProvider(t, fake.Options{})
	shop, alerts := newTenant(t, nil), newTenant(t, nil)
	yaml := strings.Replace(two(shop, alerts), "api_keys: ["+shopKey,
		"subscriptions: {rate: 0, daily_quota: 10}\n    api_keys: ["+shopKey, 1)
	yaml = strings.Replace(yaml, "api_keys: ["+alertsKey, "subscriptions: {rate: 0}\n    api_keys: ["+alertsKey, 1)
	r := start(t, account(p.URL, ", rate: 1000")+yaml)
	// Both take as long as they take: only their ratio says anything on a busy machine.
	serve := func(from int) time.Duration {
		began := time.Now()
		for i := range 30 {
			r.subscribe(alertsKey, "zt", fmt.Sprint("own", from+i))
		}
		return time.Since(began)
	}
	alone := serve(0)
	end, over := make(chan struct{}), make(chan int)
	go func() {
		refused := 0
		for i := 0; ; i++ {
			select {
			case <-end:
				over <- refused
				return
			default:
			}
			if status, _, _ := r.api("POST", "/v1/subscriptions", shopKey,
				fmt.Sprintf(`{"cp_code":"zt","waybill_codes":"x%d"}`, i)); status == 429 {
				refused++
			}
		}
	}()
	beside := serve(100)
	close(end)
	if refused := <-over; refused == 0 {
		t.Error("nothing was refused")
	} else {
		t.Logf("30 requests took %s alone, and %s beside %d that were over the quota", alone, beside, refused)
	}
	if n := p.asked("x11"); n != 0 {
		t.Errorf("what is over the quota reached the provider %d times", n)
	}
	for i := range 30 {
		if p.asked(fmt.Sprint("own", 100+i)) != 1 {
			t.Errorf("own%d was asked for %d times", 100+i, p.asked(fmt.Sprint("own", 100+i)))
		}
	}
}

func TestManyWaybillsAreCaughtUpInOneRequest(t *testing.T) {
	t.Parallel()
	p := newProvider(t, fake.Options{})
	shop, alerts := newTenant(t, nil), newTenant(t, nil)
	r := start(t, account(p.URL, ", rate: 1000")+two(shop, alerts))
	var items, codes []string
	for i := range 20 {
		codes = append(codes, fmt.Sprint("w", i))
		items = append(items, item(codes[i], "collected", "0"))
	}
	r.mustPush(callback(items...))
	for _, got := range r.subscribe(shopKey, " zt", codes...) {
		if got.Result != "subscribed" {
			t.Errorf("%+v", got)
		}
	}
	shop.wait(20)
	if got := r.metric("kuairelay_upstream_call_duration_seconds_count"); got != "2" {
		t.Errorf("the duration of %s calls was measured, of two", got)
	}
}

func TestATenantAtItsMostSubscriptionsIsToldSo(t *testing.T) {
	t.Parallel()
	p := newProvider(t, fake.Options{})
	shop, alerts := newTenant(t, nil), newTenant(t, nil)
	r := start(t, account(p.URL, "")+"subscriptions: {max: 2}\n"+two(shop, alerts))
	for i, got := range r.subscribe(shopKey, "zt", "1", "2", "3") {
		if full := i == 2; (got.Code == 429) != full || (got.Result == "failed") != full || full &&
			!strings.Contains(got.Msg, "subscriptions.max") {
			t.Errorf("%+v", got)
		}
	}
	if p.asked("3") != 0 {
		t.Error("kuaidihelp is asked for the third")
	}
	if code, msg := r.dropIn(form("shop", "express.sub.msg", now10(), shopKey,
		`{"waybill_codes":"1,3","cp_code":"zt"}`)); code != 1008 || !strings.Contains(msg, "(1 of 2: 3)") {
		t.Errorf("%d %s", code, msg)
	}
	if got := r.subscribe(alertsKey, "zt", "3")[0]; got.Result != "subscribed" {
		t.Errorf("another tenant: %+v", got)
	}
}

func TestSubscriptionsAreSaidToBeOutOfReachWhileRedisIsDown(t *testing.T) {
	t.Parallel()
	p := newProvider(t, fake.Options{})
	shop, alerts := newTenant(t, nil), newTenant(t, nil)
	redis := redisserver.Start(t)
	r := start(t, "redis: {url: '"+redis.URL()+"'}"+account(p.URL, "")+
		strings.Replace(two(shop, alerts), "api_keys: ["+alertsKey+"]",
			"api_keys: ["+alertsKey+"]\n    subscriptions: {rate: 1}", 1))
	r.subscribe(shopKey, "zt", "1")

	// Reading and deleting count for the rate, too.
	for _, method := range []string{"GET", "DELETE"} {
		limited := 0
		for range 30 {
			if status, _, _ := r.api(method, "/v1/subscriptions/zt/1", alertsKey, ""); status == 429 {
				limited++
			}
		}
		if limited == 0 {
			t.Errorf("thirty times %s at once, one a second, and none was too many", method)
		}
	}

	redis.Kill()
	for _, c := range []struct{ method, path, body string }{
		{"POST", "", `{"cp_code":"zt","waybill_codes":"2"}`}, {"GET", "", ""}, {"GET", "/zt/1", ""}, {"DELETE", "/zt/1", ""},
	} {
		status, text, header := r.api(c.method, "/v1/subscriptions"+c.path, shopKey, c.body)
		if status != 503 || header.Get("Retry-After") != "1" || !strings.Contains(text, "the ledger cannot be reached") {
			t.Errorf("%s %s: %d %s, Retry-After %q", c.method, c.path, status, text, header.Get("Retry-After"))
		}
	}
	if code, msg := r.dropIn(form("shop", "express.sub.msg", now10(), shopKey,
		`{"waybill_codes":"2","cp_code":"zt"}`)); code != 1001 || !strings.Contains(msg, "the ledger cannot be reached") {
		t.Errorf("%d %s", code, msg)
	}
}
