package relay_test

import (
	"strings"
	"testing"
	"time"

	"kuairelay/relay/kuaidihelp/fake"
)

func TestAKeyOfTheConfigThatHasEndedIsRefusedLikeAWrongOne(t *testing.T) {
	t.Parallel()
	shop, alerts := newTenant(t, nil), newTenant(t, nil)
	p := newProvider(t, fake.Options{})
	yaml := strings.Replace(two(shop, alerts), "shop-key-2]", "{key: shop-key-2, name: old, until: "+
		time.Now().Add(-time.Second).Format(time.RFC3339)+"}, {key: shop-key-3, until: "+
		time.Now().Add(time.Hour).Format(time.RFC3339)+"}]", 1)
	r := start(t, account(p.URL, "")+yaml)
	r.relay.AnswerWrongKeysAtOnce()

	for key, good := range map[string]bool{shopKey: true, "shop-key-2": false, "shop-key-3": true} {
		for method, path := range map[string]string{"GET": "/v1/endpoints", "POST": "/v1/subscriptions"} {
			status, text, _ := r.api(method, path, key, `{"cp_code":"zt","waybill_codes":["1001"]}`)
			if status != map[bool]int{true: 200, false: 401}[good] {
				t.Errorf("%s %s with %s: %d %s", method, path, key, status, text)
			}
		}
		code, msg := r.dropIn(form("shop", "express.sub.msg", now10(), key, `{"cp_code":"zt","waybill_codes":"1002"}`))
		if (code == 0) != good {
			t.Errorf("/api with %s: %d %s", key, code, msg)
		}
	}
	if n := r.metric(`kuairelay_wrong_keys_total{path="/v1"}`); n != "2" {
		t.Errorf("%s wrong keys are counted", n)
	}
}
