package relay_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kuairelay/test/redisserver"
)

// A person who has mended a receiver does not wait for the schedule.
func TestWhatWaitsIsTriedAtOnceAndItsLineFollows(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	broken.Store(true)
	shop := newTenant(t, func(w http.ResponseWriter, _ int, _ received) {
		if broken.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	a := startAPI(t, withToken(redisserver.Start(t).URL())+"admin: {token: "+adminToken+"}\n"+
		strings.Replace(twoTenants(shop.URL, shop.URL), "retry: [10ms, 1h]", "retry: [1h]", 1))
	a.push("application/json", callback(item("1", "collected", "1"), item("2", "collected", "1")))
	a.push("application/json", callback(item("1", "delivering", "2")))
	retrying := func(waybill string) (first shownEvent) {
		until(t, "the first update of "+waybill+" is tried again in an hour", func() bool {
			found := ok[listed](a, shopKey, "GET", "/v1/waybills/"+waybill, "")
			first = found.Events[0]
			return len(first.Deliveries) == 1 && first.Deliveries[0].State == "retrying"
		})
		return first
	}
	one, two := retrying("1"), retrying("2")
	tries := len(shop.all())

	// What waits for its attempt is not sent again beside it.
	if status, text := a.call(shopKey, "POST", "/v1/events/"+one.ID+"/resend", `{"endpoint":"orders"}`); status != 409 ||
		!strings.Contains(text, "still to be delivered") {
		t.Errorf("%d %s", status, text)
	}

	type retried struct{ Done int }
	broken.Store(false)
	if r := ok[retried](a, shopKey, "POST", "/v1/endpoints/orders/retry", `{"waybill_code":"1"}`); r.Done != 1 {
		t.Errorf("of a waybill: %+v", r)
	}
	got := shop.wait(tries + 2)[tries:]
	if !strings.Contains(got[0].body, "collected") || !strings.Contains(got[1].body, "delivering") ||
		got[0].header.Get("Kuairelay-Reason") != "retry" {
		t.Errorf("%+v", got)
	}
	if r := ok[retried](a, adminToken, "POST", "/admin/v1/endpoints/shop/orders/retry", `{"all":true}`); r.Done != 1 {
		t.Errorf("all: %+v", r)
	}
	shop.wait(tries + 3)

	// And what was delivered is sent once more, to the endpoint that is named.
	var again delivery
	until(t, "the other waybill is delivered", func() bool {
		status, text := a.call(shopKey, "POST", "/v1/events/"+two.ID+"/resend", `{"endpoint":"orders"}`)
		again = delivery{State: text}
		return status == 200
	})
	got = shop.wait(tries + 4)
	last := got[len(got)-1]
	if last.header.Get("Kuairelay-Reason") != "replay" || last.header.Get("Webhook-Id") != two.ID ||
		!strings.Contains(again.State, `"shop/orders"`) {
		t.Errorf("%+v after %s", last, again.State)
	}
}

// The receiver is slow and fails half of the time. New updates come meanwhile, and wait for none that is sent again.
func TestAReplaySendsTheUpdatesOfAWaybillInTheirOrder(t *testing.T) {
	t.Parallel()
	const waybills, updates = 5, 12
	var replaying atomic.Bool
	var mu sync.Mutex
	open, worst := map[string]int{}, 0 // updates of a waybill that are under way
	shop := newTenant(t, func(w http.ResponseWriter, _ int, r received) {
		if !replaying.Load() {
			return
		}
		var code string
		_, _ = fmt.Sscanf(r.body[strings.Index(r.body, `"waybill_code":`):], `"waybill_code":%q`, &code)
		mu.Lock()
		open[code]++
		worst = max(worst, open[code])
		mu.Unlock()
		time.Sleep(time.Duration(rand.IntN(5)) * time.Millisecond)
		mu.Lock()
		open[code]--
		mu.Unlock()
		if rand.IntN(2) == 0 {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	a := startAPI(t, withToken(redisserver.Start(t).URL())+"admin: {token: "+adminToken+"}\n"+
		strings.Replace(twoTenants(shop.URL, shop.URL), "retry: [10ms, 1h]",
			"breaker: {failures: 0}, retry: ["+strings.Repeat("5ms, ", 29)+"5ms]", 1))
	for i := range updates {
		for w := range waybills {
			a.push("application/json", callback(item(fmt.Sprint(w), "sending", fmt.Sprintf("%05d", i))))
		}
	}
	until(t, "all is delivered", func() bool {
		return a.metric(`kuairelay_deliveries_total{endpoint="shop/orders",outcome="delivered"}`) ==
			fmt.Sprint(waybills*updates)
	})
	before := len(shop.all())

	replaying.Store(true)
	r := ok[replayState](a, shopKey, "POST", "/v1/replays", `{"endpoint":"orders","rate":10000}`)
	if r = ended(t, a, shopKey, "/v1", r.ID); r.Queued != waybills*updates {
		t.Fatalf("%+v", r)
	}
	until(t, "all is delivered again", func() bool {
		return a.metric(`kuairelay_deliveries_total{endpoint="shop/orders",outcome="delivered"}`) ==
			fmt.Sprint(2*waybills*updates)
	})
	checkOrder(t, "shop", shop.all()[before:], waybills*updates)
	if worst > 1 {
		t.Errorf("%d updates of a waybill were under way at one time", worst)
	}
}

func TestATestEventMayBeASampleOfAStatus(t *testing.T) {
	t.Parallel()
	shop := newTenant(t, nil)
	a := startAPI(t, "admin: {token: "+adminToken+"}\n"+strings.Replace(twoTenants(shop.URL, shop.URL),
		"{name: spare,", "{name: spare, format: kuaidihelp, headers: {X-Token: secret-token},", 1))
	for endpoint, begins := range map[string]string{
		"orders": `{"type":"waybill.signed","timestamp":"`, "spare": `{"type":"express_sub_msg","data":[{"test":true,`,
	} {
		before := len(shop.all())
		r := ok[struct {
			Delivered bool
			Request   struct {
				Method, URL, Body string
				Headers           map[string]string
			}
		}](a, shopKey, "POST", "/v1/endpoints/"+endpoint+"/test", `{"status":"Signed"}`)
		sent := shop.wait(before + 1)[before]
		got := sent.body

		// The answer has the request as it was sent, without what is secret.
		if q := r.Request; q.Method != "POST" || q.Body != got || q.Headers["Webhook-Id"] != sent.header.Get("Webhook-Id") ||
			q.Headers["Webhook-Signature"] != "v1,(signature)" || !strings.HasPrefix(q.URL, shop.URL) ||
			strings.Contains(q.URL, "hidden") || q.Headers["X-Token"] == "secret-token" {
			t.Errorf("%s: the request is said to be %+v", endpoint, q)
		}
		if !r.Delivered || !strings.HasPrefix(got, begins) || !strings.Contains(got, `"test":true,"message":"A test from`) ||
			!strings.Contains(got, `"endpoint":"shop/`+endpoint+`"`) || !strings.Contains(got, `"status":"signed"`) ||
			!strings.Contains(got, `"waybill_code":"TEST`) {
			t.Errorf("%s: %+v, %s", endpoint, r, got)
		}
	}
	if events := ok[listed](a, adminToken, "GET", "/admin/v1/events", ""); len(events.Events) != 0 {
		t.Errorf("a test is kept: %+v", events)
	}
	if status, text := a.call(shopKey, "POST", "/v1/endpoints/orders/test", `{"status":"lost"}`); status != 400 ||
		!strings.Contains(text, "status: must be one of collected, ") {
		t.Errorf("%d %s", status, text)
	}
}
