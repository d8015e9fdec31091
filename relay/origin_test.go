package relay_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"kuairelay/relay/event"
	"kuairelay/test/redisserver"
)

// cameIn is an event with what is known of its callback.
type cameIn struct {
	ID       string
	Callback *struct {
		ID, From, Form, Replica string
		At                      time.Time
		Item, Items             int
	}
	Config   string
	Same     *bool `json:"config_now_same"`
	Repeated []struct{ Callback string }
	Waybill  string `json:"waybill_code"`
}

// callbacksIn are the ids of the callbacks in the log, in their order.
func callbacksIn(r *running) (ids []string) {
	for _, line := range r.logs.FilterMessage("callback").All() {
		id, _ := line.ContextMap()["callback"].(string)
		ids = append(ids, id)
	}
	return ids
}

func TestAnEventSaysInWhichCallbackItCame(t *testing.T) {
	t.Parallel()
	for name, redis := range map[string]string{
		"through the spool": "", "with a Redis": withToken(redisserver.Start(t).URL()),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			shop := newTenant(t, nil)
			a := startAPI(t, redis+"admin: {token: "+adminToken+"}\n"+twoTenants(shop.URL, shop.URL))
			body := callback(item("7001", "collected", "2026-11-23 09:00:00"), `{}`,
				item("7002", "collected", "2026-11-23 09:00:00"))
			a.push("application/json", body)
			a.push("application/json", callback(item("7003", "collected", "2026-11-23 09:00:00")))
			a.push("application/json", callback(item("7002", "collected", "2026-11-23 09:00:00")))
			shop.wait(3)
			type page struct{ Events []cameIn }
			var all page
			until(t, "all came, one of them twice", func() bool {
				all = ok[page](a, adminToken, "GET", "/admin/v1/events?waybill_code=7002", "")
				return len(all.Events) == 1 && len(all.Events[0].Repeated) == 1
			})

			ids := callbacksIn(a.running)
			one := ok[cameIn](a, adminToken, "GET", "/admin/v1/events/"+all.Events[0].ID, "")
			c := one.Callback
			if len(ids) != 3 || c == nil || c.ID != ids[0] || c.Item != 3 || c.Items != 3 || c.Form != "json" ||
				c.From != "127.0.0.1" || c.Replica == "" || one.Repeated[0].Callback != ids[2] {
				t.Fatalf("%+v of %+v, and the log names %v", c, one, ids)
			}
			if at, _ := event.CallbackTime(c.ID); !at.Equal(c.At) {
				t.Errorf("its id says %s, and it came at %s", at, c.At)
			}
			if len(one.Config) != 8 || one.Same == nil || !*one.Same {
				t.Errorf("config %q, the same now: %v", one.Config, one.Same)
			}

			// The callback's other event is found by it. A tenant is not told who sent it.
			found := ok[page](a, shopKey, "GET", "/v1/events?callback="+c.ID, "")
			if len(found.Events) != 2 || found.Events[1].Waybill != "7001" || found.Events[1].Callback.Item != 1 {
				t.Errorf("of the callback: %+v", found)
			}
			for _, e := range found.Events {
				if e.Callback.From+e.Callback.Replica+e.Config != "" {
					t.Errorf("a tenant sees %+v of %+v", e.Callback, e)
				}
			}
		})
	}
}

func TestTheRequestOfADeliveryIsWhatTheTenantGot(t *testing.T) {
	t.Parallel()
	shop := newTenant(t, func(w http.ResponseWriter, _ int, _ received) { w.WriteHeader(http.StatusServiceUnavailable) })
	a := startAPI(t, withToken(redisserver.Start(t).URL())+"admin: {token: "+adminToken+"}\n"+
		strings.Replace(twoTenants(shop.URL, shop.URL), "retry: [10ms, 1h]",
			"retry: [1h], headers: {X-Team: the-value-of-the-header}", 1))
	a.push("application/json", callback(item("7101", "collected", "2026-11-23 09:00:00")))
	got := shop.wait(1)[0]
	list := ok[struct{ Events []cameIn }](a, shopKey, "GET", "/v1/events", "")
	path := "/events/" + list.Events[0].ID + "/request?endpoint=shop/orders"

	type request struct {
		Method, URL, Body string
		Headers           map[string]string
		Changed           *bool `json:"changed_since"`
	}
	until(t, "the attempt has failed", func() bool {
		return strings.Contains(a.answerOf(adminToken, "/admin/v1/events/"+list.Events[0].ID), `"retrying"`)
	})
	for key, base := range map[string]string{adminToken: "/admin/v1", shopKey: "/v1"} {
		r := ok[request](a, key, "GET", base+path, "")
		if r.Method != "POST" || r.URL != shop.URL+"/hooks" || r.Body != got.body || r.Changed == nil || *r.Changed {
			t.Errorf("%+v, and the tenant got %s", r, got.body)
		}

		// Each header is the one that came, but for those that are not shown, and that are not the same again.
		hidden := map[string]string{"X-Team": "(hidden)", "Webhook-Timestamp": "(unix time of the attempt)",
			"Webhook-Signature": "v1,(signature)", "Kuairelay-Reason": "retry",
			"Traceparent": got.header.Get("Traceparent")[:36] + "(id of the attempt)-01"}
		for name, value := range r.Headers {
			if want := hidden[name]; want == "" && value != got.header.Get(name) || want != "" && value != want {
				t.Errorf("%s: %q, and the tenant got %q", name, value, got.header.Get(name))
			}
		}
		for name := range got.header {
			if _, shown := r.Headers[name]; !shown && name != "Content-Length" && name != "Accept-Encoding" {
				t.Errorf("the tenant got %s, which is not shown", name)
			}
		}
	}
	if status, _ := a.call(otherKey, "GET", "/v1"+path, ""); status != 404 {
		t.Errorf("another tenant: %d", status)
	}
}

// answerOf is the text of an answer.
func (a *apiClient) answerOf(key, path string) string {
	a.t.Helper()
	_, text := a.call(key, "GET", path, "")
	return text
}
