package relay_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"kuairelay/test/redisserver"
)

// withDeadLetters is a relay whose tenant shop has so many dead letters. It takes them if they are redriven.
func withDeadLetters(t *testing.T, n int) (r *apiClient, shop *tenant) {
	t.Helper()
	shop = newTenant(t, func(w http.ResponseWriter, _ int, r received) {
		if r.header.Get("Kuairelay-Reason") != "redrive" {
			w.WriteHeader(http.StatusUnprocessableEntity)
		}
	})
	r = startAPI(t, "admin: {token: "+adminToken+"}\n"+withToken(redisserver.Start(t).URL())+
		strings.Replace(twoTenants(shop.URL, shop.URL), "retry: [10ms, 1h]", "retry: [1ms]", 1))
	var items []string
	for i := range n {
		items = append(items, item(fmt.Sprint(8000+i), "collected", "2026-11-23 09:00:00"))
	}
	r.push("application/json", callback(items...))
	until(t, "they are dead", func() bool { return deadOf(r) == n })
	return r, shop
}

// deadOf is how many dead letters shop has.
func deadOf(r *apiClient) int {
	var list struct{ Total int }
	_, body := r.call(shopKey, "GET", "/v1/dead-letters?limit=1&total=true", "")
	_ = json.Unmarshal([]byte(body), &list)
	return list.Total
}

// TestAnActOnManyDeadLettersGoesOnInSteps: each step says how far it is, and has the form of the next one.
func TestAnActOnManyDeadLettersGoesOnInSteps(t *testing.T) {
	t.Parallel()
	const n = 620
	r, shop := withDeadLetters(t, n)
	operator, _ := operatorAndShop(t, r.running)

	question := operator.get("/dead-letters/sure?act=redrive&endpoint=shop%2Forders").body
	if !strings.Contains(question, fmt.Sprintf(">Send %d again</button>", n)) {
		t.Fatalf("the question is %s", question)
	}
	form := fieldsOf(t, question, "/dead-letters/redrive")
	first := operator.post("/dead-letters/redrive?part=main", form)
	if !strings.Contains(first.body, "500 of 620 are queued again.") || !strings.Contains(first.body, "data-more") {
		t.Fatalf("the first step: %d %s", first.StatusCode, first.body)
	}

	// The same step twice does each once.
	again := operator.post("/dead-letters/redrive?part=main", form)
	if !strings.Contains(again.body, "120 of 620 are queued again.") {
		t.Errorf("the same once more: %d %s", again.StatusCode, again.body)
	}
	second := operator.post("/dead-letters/redrive?part=main", fieldsOf(t, first.body, "/dead-letters/redrive"))
	if !strings.Contains(second.body, "500 of 620") || strings.Contains(second.body, "data-go") {
		t.Errorf("the second step: %d %s", second.StatusCode, second.body)
	}
	redriven := func() (n int) {
		for _, x := range shop.all() {
			if x.header.Get("Kuairelay-Reason") == "redrive" {
				n++
			}
		}
		return n
	}
	until(t, "shop has got them", func() bool { return redriven() >= n })
	if redriven() != n || deadOf(r) != 0 {
		t.Errorf("%d were sent, %d are dead", redriven(), deadOf(r))
	}

	// What was not counted, or came to nothing, is not begun.
	for _, expect := range []string{"", "0", "-3", "many"} {
		got := operator.post("/dead-letters/redrive", url.Values{"all": {"1"}, "expect": {expect}})
		if got.StatusCode != http.StatusBadRequest {
			t.Errorf("expect %q: %d", expect, got.StatusCode)
		}
	}
}

// TestDeadLettersAreShownByWhatTheyHaveInCommon: groups have counts, and lead to the question about them alone.
func TestDeadLettersAreShownByWhatTheyHaveInCommon(t *testing.T) {
	t.Parallel()
	r, _ := withDeadLetters(t, 7)
	operator, _ := operatorAndShop(t, r.running)
	page := operator.get("/dead-letters").body
	for _, want := range []string{"7 dead letters", "Each is kept for 30 days.", "Send 7 again…", "Dismiss 7…"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %q: %s", want, page)
		}
	}
	other := operator.get("/dead-letters?reason=another&group=none").body
	if !strings.Contains(other, "No dead letter is like that") {
		t.Errorf("of another reason: %s", other)
	}

	// Two rows are chosen.
	var list struct {
		Letters []struct {
			EventID  string `json:"event_id"`
			Endpoint string
		} `json:"dead_letters"`
	}
	_, body := r.call(adminToken, "GET", "/admin/v1/dead-letters", "")
	must(t, json.Unmarshal([]byte(body), &list))
	q := url.Values{"act": {"dismiss"}, "chosen": {"1"}}
	for _, l := range list.Letters[:2] {
		q.Add("letter", l.EventID+" "+l.Endpoint)
	}
	question := operator.get("/dead-letters/sure?" + q.Encode()).body
	if !strings.Contains(question, ">Dismiss 2</button>") {
		t.Errorf("the question is %s", question)
	}
	got := operator.post("/dead-letters/dismiss", fieldsOf(t, question, "/dead-letters/dismiss"))
	if to := got.Header.Get("Location"); !strings.Contains(to, "did=dismiss&n=2") || deadOf(r) != 5 {
		t.Errorf("%d %q, %d are left", got.StatusCode, to, deadOf(r))
	}
}

func TestTheQuarantineIsWorkedOffOnItsPage(t *testing.T) {
	t.Parallel()
	shop := newTenant(t, nil)
	r := startAPI(t, "admin: {token: "+adminToken+"}\n"+withToken(redisserver.Start(t).URL())+
		twoTenants(shop.URL, shop.URL))
	for i := range 3 {
		r.push("application/json", fmt.Sprintf(`{"type":"express_sub_msg","data":[{"no_waybill":"<b>%d</b>"}]}`, i))
	}
	r.push("application/x-www-form-urlencoded", "type=express_sub_msg&data=%5B%7B%22a%22%3A1%7D")
	r.drained()
	operator, _ := operatorAndShop(t, r.running)
	var list struct{ Quarantined []struct{ ID, Reason string } }
	_, body := r.call(adminToken, "GET", "/admin/v1/quarantine", "")
	must(t, json.Unmarshal([]byte(body), &list))
	if len(list.Quarantined) != 4 {
		t.Fatalf("%+v", list)
	}

	one := list.Quarantined[0]
	for as, want := range map[string]string{"text": "type=express_sub_msg&amp;data=%5B", "hex": "00000000  74 79 70 65",
		"parsed": "data = [{&#34;a&#34;:1}"} {
		if got := operator.get("/quarantine?id=" + one.ID + "&as=" + as).body; !strings.Contains(got, want) {
			t.Errorf("as %s: no %q in %s", as, want, got)
		}
	}
	raw := operator.get("/quarantine/raw?id=" + one.ID)
	if raw.body != "type=express_sub_msg&data=%5B%7B%22a%22%3A1%7D" ||
		raw.Header.Get("Content-Type") != "application/octet-stream" ||
		!strings.HasPrefix(raw.Header.Get("Content-Disposition"), `attachment; filename="qtn_`) ||
		!strings.Contains(raw.Header.Get("Content-Security-Policy"), "sandbox") {
		t.Errorf("%v %s", raw.Header, raw.body)
	}
	if got := operator.get("/quarantine?contains=no_waybill").body; strings.Count(got, `id="qtn_`) != 3 {
		t.Errorf("with a text: %s", got)
	}

	// A group goes as a whole, and one by itself.
	group := url.Values{"act": {"drop"}, "reason": {strings.Replace(list.Quarantined[1].Reason, "item 0", "item n", 1)}}
	question := operator.get("/quarantine/sure?" + group.Encode()).body
	if !strings.Contains(question, ">Remove 3</button>") {
		t.Fatalf("%v: %s", group, question)
	}
	got := operator.post("/quarantine/drop", fieldsOf(t, question, "/quarantine/drop"))
	if to := got.Header.Get("Location"); !strings.Contains(to, "did=drop-group&n=3") {
		t.Errorf("%d %q %s", got.StatusCode, to, got.body)
	}
	operator.post("/quarantine/drop", url.Values{"id": {one.ID}, "back": {"/quarantine"}})
	if page := operator.get("/quarantine").body; !strings.Contains(page, "Quarantine is empty") {
		t.Error(page)
	}
}
