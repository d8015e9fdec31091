package relay_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"kuairelay/relay/kuaidihelp/fake"
	"kuairelay/test/redisserver"
)

// finds is an answer of /find.
type finds struct {
	Found []struct {
		Query, Kind, Path string
		Verdict           struct{ Code, Text, Next string }
	}
}

func TestEveryPastedLineIsFoundOrExplained(t *testing.T) {
	t.Parallel()
	shop, alerts, redis := newTenant(t, nil), newTenant(t, nil), redisserver.Start(t)
	provider := newProvider(t, fake.Options{})
	a := startAPI(t, "admin: {token: "+adminToken+"}\n"+withToken(redis.URL())+account(provider.URL, "")+two(shop, alerts))
	find := func(key, lines string) finds {
		t.Helper()
		path := "/v1/find?q="
		if key == adminToken {
			path = "/admin/v1/find?q="
		}
		return ok[finds](a, key, "GET", path+url.QueryEscape(lines), "")
	}
	a.subscribe(shopKey, "zt", "777001", "777002")
	a.mustPush(callback(item("777001", "signed", "1"), item("777003", "signed", "1")))
	a.taken(`{"type":"express_sub_msg","data":[{"waybill_code":"777004"`)
	shop.wait(1)
	var id string
	until(t, "it is delivered", func() bool {
		list := ok[listed](a, shopKey, "GET", "/v1/events", "")
		id = list.Events[0].ID
		return list.Events[0].State == "delivered"
	})
	quarantined := ok[struct {
		Quarantined []struct{ ID string }
	}](a, adminToken, "GET", "/admin/v1/quarantine", "").Quarantined[0].ID

	origin := ok[struct{ Callback struct{ ID string } }](a, adminToken, "GET", "/admin/v1/events/"+id, "")

	expect := func(key string, wants ...string) {
		t.Helper()
		var lines []string
		for _, want := range wants {
			line, _, _ := strings.Cut(want, " ")
			lines = append(lines, line)
		}
		got := find(key, strings.Join(lines, "\n"))
		for i, want := range wants {
			f := got.Found[i]
			if said := fmt.Sprintf("%s %s %s %s", f.Query, f.Kind, f.Path, f.Verdict.Code); said != want {
				t.Errorf("%s: %s (%s), want %s", key, said, f.Verdict.Text, want)
			}
		}
	}
	brought := origin.Callback.ID
	expect(adminToken,
		brought+" callback /events?callback="+brought+"&newer=true delivered", "cb_0 callback  unknown",
		"777001 waybill /waybills/777001 delivered",
		"777002 waybill /waybills/777002 awaited",
		"777003 waybill /waybills/777003 unrouted",
		"777004 waybill /waybills/777004 quarantined",
		"777005 waybill  unsubscribed",
		id+" event /events/"+id+" delivered",
		quarantined+" quarantined /quarantine/"+quarantined+" quarantined",
		"evt_0 event  unknown", "rpl_0 replay  unknown",
		"shop/orders endpoint /endpoints/shop/orders ok", "shop tenant /endpoints?tenant=shop tenant")

	// A tenant finds its own. What is another's is as what is not there.
	expect(shopKey, "777001 waybill /waybills/777001 delivered", "777003 waybill  unsubscribed",
		"777004 waybill  unsubscribed", id+" event /events/"+id+" delivered", "orders endpoint /endpoints/orders ok")
	expect(alertsKey, brought+" callback  unknown", "777001 waybill  unsubscribed", "777009 waybill  unsubscribed",
		id+" event  unknown", quarantined+" waybill  unknown",
		"shop/orders waybill  unsubscribed", "shop waybill  unsubscribed")
	own, others := find(alertsKey, "777001").Found[0], find(alertsKey, "777009").Found[0]
	if own.Verdict != others.Verdict {
		t.Errorf("what another got is told: %+v, not %+v", own.Verdict, others.Verdict)
	}

	// A callback that waits is found while Redis is down.
	redis.Kill()
	a.mustPush(callback(item("777006", "signed", "1")))
	expect(adminToken, "777006 waybill /waybills/777006 spooled")
	status, text := a.call(shopKey, "GET", "/v1/find?q=777006", "")
	if status != 503 || strings.Contains(text, redis.Addr) {
		t.Errorf("%d %s", status, text)
	}
}
