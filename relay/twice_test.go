package relay_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"

	"kuairelay/relay/api"
	"kuairelay/test/redisserver"
)

// answerTwice answers a request that has been read with two answers at once.
func answerTwice(t *testing.T, w http.ResponseWriter) {
	t.Helper()
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	_, _ = io.WriteString(conn, "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"+
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	_ = conn.Close()
}

func TestTheHealthOfAnEndpointSaysThatItAnswersTwiceUntilItIsResumed(t *testing.T) {
	t.Parallel()
	x := newTenant(t, func(w http.ResponseWriter, _ int, _ received) { answerTwice(t, w) })
	r := startAPI(t, withToken(redisserver.Start(t).URL())+fmt.Sprintf(`
tenants:
  - name: shop
    api_keys: [%s]
    endpoints: [{name: orders, url: %q, secrets: [%s]}]
    routes: [{to: orders}]
`, shopKey, x.URL, secret))
	health := func(method, path string) api.EndpointHealth {
		return ok[api.EndpointHealth](r, shopKey, method, "/v1/endpoints/orders"+path, "")
	}
	r.push("application/json", callback(item("1", "collected", "2026-11-23 09:00:00")))
	until(t, "its health says so", func() bool { return !health("GET", "").Twice.IsZero() })
	if h := health("POST", "/resume"); !h.Twice.IsZero() {
		t.Errorf("resumed: %+v", h)
	}
}
