package crash

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"kuairelay/relay/event"
	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/kuaidihelp/fake"
	"kuairelay/test/redisserver"
)

// stalled notes the ids of the webhooks that tell a tenant of parcels that do not move, by their waybills.
type stalled struct {
	*httptest.Server
	mu sync.Mutex
	of map[string]map[string]bool
}

func newStalled(t *testing.T) *stalled {
	x := &stalled{of: map[string]map[string]bool{}}
	x.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return // its sender was killed
		}
		var b struct {
			Type string
			Data struct {
				Code string `json:"waybill_code"`
			}
		}
		if err := json.Unmarshal(body, &b); err != nil {
			t.Errorf("%v: %s", err, body)
		}
		if b.Type != event.TypeStalled {
			return
		}
		x.mu.Lock()
		defer x.mu.Unlock()
		if x.of[b.Data.Code] == nil {
			x.of[b.Data.Code] = map[string]bool{}
		}
		x.of[b.Data.Code][req.Header.Get("webhook-id")] = true
	}))
	t.Cleanup(x.Close)
	return x
}

// told lists the waybills of which so many silences were told.
func (x *stalled) told(silences int) []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	codes := []string{}
	for _, code := range slices.Sorted(maps.Keys(x.of)) {
		if len(x.of[code]) == silences {
			codes = append(codes, code)
		}
	}
	return codes
}

// TestEachSilenceIsToldOnceWhateverIsKilled has three replicas tell two tenants of parcels that do not move, and kills
// them meanwhile. Of each silence there is one event, for those that have subscribed the waybill.
func TestEachSilenceIsToldOnceWhateverIsKilled(t *testing.T) {
	t.Parallel()
	upstream := httptest.NewServer(fake.NewProvider(fake.Options{AppID: accountID, APIKey: accountKey}))
	t.Cleanup(upstream.Close)
	shop, mail := newStalled(t), newStalled(t)
	tenant := func(name string, x *stalled) string {
		return fmt.Sprintf(`
  - name: %s
    api_keys: [key-of-the-%s]
    watch: {stalled: 3s}
    endpoints: [{name: e, url: '%s', secrets: [%s]}]
    routes: [{to: e, match: {subscribed: true}}]`, name, name, x.URL, secret)
	}
	yaml := fmt.Sprintf(`
redis: {url: '%s'}
kuaidihelp: {api_url: '%s', app_id: '%s', api_key: '%s', rate: 200}
subscriptions: {rate: 0}
callback: {tokens: [%s]}
egress: {allow_cidrs: [127.0.0.0/8]}
delivery: {timeout: 2s, retry: [50ms, 100ms, 200ms, 500ms, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s]}
tenants:%s%s
`, redisserver.Start(t, "--appendonly", "yes").URL(), upstream.URL, accountID, accountKey, token, tenant("shop", shop),
		tenant("mail", mail))
	var replicas []*relay
	for range 3 {
		replicas = append(replicas, newReplica(t, yaml))
		replicas[len(replicas)-1].start()
	}
	codes := make([]string, 300)
	for i := range codes {
		codes[i] = fmt.Sprint("79", 1000000+i)
	}
	half := codes[:len(codes)/2]
	subscribe(t, replicas[0], "key-of-the-shop", codes)
	subscribe(t, replicas[1], "key-of-the-mail", half)
	kill := func(from int) {
		for i := range 3 {
			told := len(shop.told(from))
			until(t, "some are told", func() bool { n := len(shop.told(from)); return n > told || n == len(codes) })
			replicas[i].kill()
			replicas[i].start()
		}
	}

	// A silence, and then another one, which only an update begins.
	for silence := 1; silence <= 2; silence++ {
		status := []string{kuaidihelp.StatusCollected, kuaidihelp.StatusSending}[silence-1]
		pushEach(t, replicas[0], codes, status, fmt.Sprintf("2026-11-0%d 10:00:00", silence))
		kill(silence)
		until(t, "each silence is told", func() bool {
			return slices.Equal(shop.told(silence), codes) && slices.Equal(mail.told(silence), half)
		})
	}
}

// pushEach pushes an update of each parcel.
func pushEach(t *testing.T, r *relay, codes []string, status, at string) {
	t.Helper()
	makes := fake.NewParcels(1, nil)
	for part := range slices.Chunk(codes, 100) {
		var items []fake.Item
		for _, code := range part {
			item := makes.Of("zt", code).Update(status)
			item.Tracks[0].Time = at
			items = append(items, item)
		}
		_, body, err := fake.Encode(fake.JSON, items)
		if err != nil {
			t.Fatal(err)
		}
		until(t, "updates are taken", func() bool {
			code, answer, err := post(r.url+"/callback/"+token, string(body))
			return err == nil && code == 200 && answer == "success"
		})
	}
}
