package relay_test

import (
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"kuairelay/test/redisserver"
)

func TestTheConfigPageSaysWhatAReloadCameTo(t *testing.T) {
	t.Parallel()
	r := startAPI(t, "admin: {token: "+adminToken+"}\n"+withToken(redisserver.Start(t).URL())+
		twoTenants("http://127.0.0.1:1", "http://127.0.0.1:1"))
	operator, shop := operatorAndShop(t, r.running)
	reload := func() string {
		got := operator.post("/config/reload", url.Values{"back": {"/config"}})
		if got.StatusCode != http.StatusSeeOther {
			t.Fatalf("reload: %d %s", got.StatusCode, wordsOf(t, got.body))
		}
		return wordsOf(t, operator.get(got.Header.Get("Location")).body)
	}
	says := func(words string, wants ...string) {
		t.Helper()
		for _, want := range wants {
			if !strings.Contains(words, want) {
				t.Errorf("the page does not say %q: %s", want, words)
			}
		}
	}

	says(reload(), "The files are the same as before.")
	good, err := os.ReadFile(r.file)
	must(t, err)
	must(t, os.WriteFile(r.file, []byte(strings.Replace(string(good), "{to: mail,", "{to: male,", 1)), 0o600))
	says(reload(), "Not taken: the files have 1 mistakes", "male")
	words := wordsOf(t, shop.get("/config").body)
	if strings.Contains(words, "male") || strings.Contains(words, "relays") {
		t.Errorf("shop is told of another's mistake, or of replicas: %s", words)
	}
	operator.language = "zh-CN"
	for _, path := range []string{"/config", "/"} {
		says(wordsOf(t, operator.get(path).body), `该租户没有端点 "male" ；是不是 "mail" ？`)
	}
	operator.language = "en"
	must(t, os.WriteFile(r.file, append(good, []byte("retention: 72h\n")...), 0o600))
	says(reload(), "Reloaded. In use now: ", "The files have no mistakes.", "retention: 72h")
	until(t, "the replica is listed with the config that it serves", func() bool {
		return strings.Contains(wordsOf(t, operator.get("/config").body), "by 1 of 1 relays")
	})
}

func TestTheAuditIsNarrowedAndPaged(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	r := startAPI(t, "admin: {token: "+adminToken+"}\n"+withToken(server.URL())+
		twoTenants("http://127.0.0.1:1", "http://127.0.0.1:1"))
	operator, _ := operatorAndShop(t, r.running)
	for range 3 {
		ok[any](r, shopKey, "POST", "/v1/endpoints/orders/pause", "")
		ok[any](r, otherKey, "POST", "/v1/endpoints/mail/pause", "")
	}
	for path, want := range map[string][2]string{ // what the page says, and what it does not
		"/system?what=pause&tenant=shop": {"shop paused shop/orders", "mail"},
		"/system?what=resume":            {"Nothing matches.", "orders"},
		"/system?tenant=other":           {"other paused other/mail", "shop/orders"},
	} {
		words := wordsOf(t, operator.get(path).body)
		_, audit, _ := strings.Cut(words, "Who did what")
		if !strings.Contains(audit, want[0]) || strings.Contains(audit, want[1]) {
			t.Errorf("%s: %s", path, audit)
		}
	}
	if got := operator.get("/system?what=<script>"); got.StatusCode != http.StatusBadRequest {
		t.Errorf("an act that there is not: %d", got.StatusCode)
	}

	// Without Redis the page has what this relay knows.
	server.Kill()
	until(t, "without Redis the page says what is missing", func() bool {
		words := wordsOf(t, operator.get("/system").body)
		_, audit, _ := strings.Cut(words, "Who did what")
		return strings.Contains(words, "only this relay is shown") && strings.Contains(audit, "Redis does not answer")
	})
}

func TestHelpExplainsEveryStateAndTheFirstSteps(t *testing.T) {
	t.Parallel()
	r := startAPI(t, "admin: {token: "+adminToken+"}\n"+withToken(redisserver.Start(t).URL())+
		twoTenants("http://127.0.0.1:1", "http://127.0.0.1:1"))
	operator, shop := operatorAndShop(t, r.running)
	for _, want := range []string{
		"breaker open", "An older update of the same waybill goes first.", "dead letter", "OpenAPI",
	} {
		for _, b := range []*browser{operator, shop} {
			if words := wordsOf(t, b.get("/help").body); !strings.Contains(words, want) {
				t.Errorf("it does not say %q: %s", want, words)
			}
		}
	}
	if words := wordsOf(t, shop.get("/help").body); !strings.Contains(words, "kuairelay listen --secret") {
		t.Errorf("a tenant is not told its first steps: %s", words)
	}
	paused := shop.post("/endpoints/shop/orders/pause", url.Values{"back": {"/console/help"}})
	said := shop.get(strings.TrimPrefix(paused.Header.Get("Location"), "/console")).body
	words := wordsOf(t, said)
	if !strings.Contains(words, "shop/orders is paused. Resume undoes this.") || strings.Contains(said, "EXTRA") {
		t.Error("what was done is not said, or with what is in no text")
	}
}
