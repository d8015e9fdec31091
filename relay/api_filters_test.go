package relay_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"kuairelay/test/redisserver"
)

// refusing is a relay with one tenant whose endpoint refuses everything, and dead letters that differ in brand, status
// and waybill.
func refusing(t *testing.T) *apiClient {
	t.Helper()
	shop := newTenant(t, func(w http.ResponseWriter, _ int, _ received) { w.WriteHeader(http.StatusTeapot) })
	a := startAPI(t, withToken(redisserver.Start(t).URL())+"admin: {token: "+adminToken+"}\n"+
		strings.Replace(twoTenants(shop.URL, shop.URL), "retry: [10ms, 1h]", "retry: [1ms, 1ms, 1ms]", 1))
	letter := `{"waybill_code":"%s","cp_code":"%s","status":"%s","data":[{"time":"2026-11-23 09:12:31","context":"x"}]}`
	a.push("application/json", callback(fmt.Sprintf(letter, "81", "zt", "collected"),
		fmt.Sprintf(letter, "82", "sto", "collected"),
		fmt.Sprintf(letter, "83", "zt", "delivering")))
	until(t, "all are dead", func() bool { return len(deadWaybills(a, "")) == 3 })
	return a
}

// deadWaybills are those of shop's dead letters that a query takes.
func deadWaybills(a *apiClient, query string) (out []string) {
	list := ok[struct {
		Letters []struct {
			Waybill string `json:"waybill_code"`
		} `json:"dead_letters"`
	}](a, shopKey, "GET", "/v1/dead-letters"+query, "")
	for _, l := range list.Letters {
		out = append(out, l.Waybill)
	}
	slices.Sort(out)
	return out
}

func TestDeadLettersAreListedDismissedAndRedrivenByEachFilter(t *testing.T) {
	t.Parallel()
	for filter, want := range map[string][]string{
		"brand=zt": {"81", "83"}, "cp_code=sto": {"82"}, "status=collected": {"81", "82"}, "status=delivering": {"83"},
		"waybill_code=82":           {"82"},
		"brand=zt&status=collected": {"81"}, "brand=sto&status=delivering": nil, "state=dead": {"81", "82", "83"},
		"endpoint=orders": {"81", "82", "83"},
	} {
		t.Run(filter, func(t *testing.T) {
			t.Parallel()
			a := refusing(t)
			if got := deadWaybills(a, "?"+filter); !slices.Equal(got, want) {
				t.Errorf("listed are %v, want %v", got, want)
			}
			var keys []string
			for pair := range strings.SplitSeq(filter, "&") {
				name, value, _ := strings.Cut(pair, "=")
				keys = append(keys, fmt.Sprintf("%q:%q", strings.Replace(name, "cp_code", "brand", 1), value))
			}
			body := `{"all":true,"filter":{` + strings.Join(keys, ",") + `}}`
			type done struct{ Done int }
			if d := ok[done](a, shopKey, "POST", "/v1/dead-letters/redrive", body); d.Done != len(want) {
				t.Errorf("redriven are %d, want %d", d.Done, len(want))
			}
			until(t, "all are dead again", func() bool { return len(deadWaybills(a, "")) == 3 })
			if d := ok[done](a, shopKey, "POST", "/v1/dead-letters/dismiss", body); d.Done != len(want) {
				t.Errorf("dismissed are %d, want %d", d.Done, len(want))
			}
			left := slices.DeleteFunc([]string{"81", "82", "83"}, func(code string) bool { return slices.Contains(want, code) })
			if got := deadWaybills(a, ""); !slices.Equal(got, left) {
				t.Errorf("left are %v, want %v", got, left)
			}
		})
	}
}

func TestOnlyTheStateDeadIsOneOfDeadLetters(t *testing.T) {
	t.Parallel()
	a := startAPI(t, twoTenants("http://127.0.0.1:1", "http://127.0.0.1:1"))
	for _, state := range []string{"open", "delivered", "queued", "dismissed"} {
		if status, text := a.call(shopKey, "GET", "/v1/dead-letters?state="+state, ""); status != 400 ||
			!strings.Contains(text, "state:") {
			t.Errorf("%s: %d %s", state, status, text)
		}
	}
}

func TestAnEventSaysInWhichStateItIs(t *testing.T) {
	t.Parallel()
	shop := newTenant(t, func(w http.ResponseWriter, _ int, r received) {
		switch {
		case strings.Contains(r.body, `"910"`):
			w.WriteHeader(http.StatusServiceUnavailable) // once more in an hour
		case strings.Contains(r.body, `"911"`):
			w.WriteHeader(http.StatusTeapot)
		}
	})
	a := startAPI(t, withToken(redisserver.Start(t).URL())+"admin: {token: "+adminToken+"}\n"+
		strings.Replace(twoTenants(shop.URL, shop.URL), "retry: [10ms, 1h]", "retry: [1ms, 1ms, 1ms, 1h]", 1))
	a.push("application/json", callback(item("910", "collected", "1"), item("911", "collected", "1"),
		item("912", "collected", "1")))
	stateOf := func(code string) string {
		w := ok[struct{ Events []struct{ State string } }](a, shopKey, "GET", "/v1/waybills/"+code, "")
		return w.Events[0].State
	}
	for code, want := range map[string]string{"910": "open", "911": "dead", "912": "delivered"} {
		until(t, code+" is "+want, func() bool { return stateOf(code) == want })
	}
	ok[map[string]any](a, shopKey, "POST", "/v1/dead-letters/dismiss", `{"all":true}`)
	if got := stateOf("911"); got != "dismissed" {
		t.Errorf("a dismissed one is %s", got)
	}
	status := ok[struct {
		Open int
		At   time.Time `json:"oldest_at"`
	}](a, shopKey, "GET", "/v1/status", "")
	if status.Open != 1 || time.Since(status.At) > time.Minute || status.At.IsZero() {
		t.Errorf("status: %+v", status)
	}
}

func TestAReplayIsAsFastAsAskedAndTakesNothingThatCameLater(t *testing.T) {
	t.Parallel()
	shop := newTenant(t, nil)
	a := startAPI(t, withToken(redisserver.Start(t).URL())+"admin: {token: "+adminToken+"}\n"+
		twoTenants(shop.URL, "http://127.0.0.1:1"))
	var items []string
	for i := range 6 {
		items = append(items, item(fmt.Sprint(9200+i), "collected", "1"))
	}
	a.push("application/json", callback(items...))
	shop.wait(6)
	until(t, "all is delivered", func() bool {
		return ok[struct{ Open int }](a, shopKey, "GET", "/v1/status", "").Open == 0
	})
	began := time.Now()
	r := ok[replayState](a, shopKey, "POST", "/v1/replays", `{"rate":2}`)
	until(t, "it has begun", func() bool { return ok[replayState](a, shopKey, "GET", "/v1/replays/"+r.ID, "").Queued > 0 })
	a.push("application/json", callback(item("9300", "collected", "1")))
	if r = ended(t, a, shopKey, "/v1", r.ID); r.Queued != 6 {
		t.Errorf("%+v", r)
	}
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("6 events at 2 a second took %s", took)
	}
}

func TestAllOfQuarantineIsTakenInPageByPage(t *testing.T) {
	t.Parallel()
	a := startAPI(t, withToken(redisserver.Start(t).URL())+"admin: {token: "+adminToken+"}\n"+
		twoTenants("http://127.0.0.1:1", "http://127.0.0.1:1"))
	for i := range 101 {
		a.push("text/plain", fmt.Sprint("not a callback ", i))
	}
	a.drained()
	type tried struct {
		Tried  int
		Failed []string
		Next   string
	}
	first := ok[tried](a, adminToken, "POST", "/admin/v1/quarantine/replay", `{"all":true}`)
	if first.Tried != 100 || first.Next == "" {
		t.Fatalf("%d, next %q", first.Tried, first.Next)
	}
	rest := ok[tried](a, adminToken, "POST", "/admin/v1/quarantine/replay", `{"all":true,"cursor":"`+first.Next+`"}`)
	if rest.Tried != 1 || rest.Next != "" || slices.Contains(first.Failed, rest.Failed[0]) {
		t.Errorf("then %+v", rest)
	}
}
