package crash

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/kuaidihelp/fake"
	"kuairelay/test/redisserver"
)

// minInterval is the time between two queries of a waybill in the test of lost pushes.
const minInterval = 3 * time.Second

// leaky is a provider that loses pushes, and what became of them.
type leaky struct {
	*fake.Provider
	mu      sync.Mutex
	ended   map[string]bool        // subscriptions that it has ended without a word
	queries map[string][]time.Time // by waybill
	calls   int
}

// decide answers a query in fifty with an error. Who subscribes a waybill again gets its pushes again.
func (l *leaky) decide(c fake.Call) fake.Reply {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.Method == kuaidihelp.MethodSubscribe {
		for _, code := range c.Codes {
			delete(l.ended, code)
		}
		return fake.Reply{}
	}
	l.calls++
	for _, code := range c.Codes {
		l.queries[code] = append(l.queries[code], time.Now())
	}
	if rand.IntN(50) == 0 {
		return fake.Reply{Code: kuaidihelp.CodeBadParameters, Msg: "请求参数错误"}
	}
	return fake.Reply{}
}

// loses says whether a push of a waybill gets lost: one in ten does, and one in twenty ends the subscription.
func (l *leaky) loses(code string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if rand.IntN(20) == 0 {
		l.ended[code] = true
	}
	return l.ended[code] || rand.IntN(10) == 0
}

// latest notes the last status that tenants got of each waybill.
type latest struct {
	*httptest.Server
	mu         sync.Mutex
	of         map[string]string
	reconciled int
}

func newLatest(t *testing.T) *latest {
	x := &latest{of: map[string]string{}}
	x.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return // its sender was killed
		}
		var b struct {
			Data struct {
				Code   string `json:"waybill_code"`
				Status string `json:"status"`
			} `json:"data"`
		}
		if err := json.Unmarshal(body, &b); err != nil {
			t.Errorf("%v: %s", err, body)
		}
		x.mu.Lock()
		defer x.mu.Unlock()
		if x.of[b.Data.Code] != kuaidihelp.StatusSigned { // a repetition of an older one changes nothing
			x.of[b.Data.Code] = b.Data.Status
		}
		if req.Header.Get("Kuairelay-Reason") == "reconcile" {
			x.reconciled++
		}
	}))
	t.Cleanup(x.Close)
	return x
}

// TestEveryLostPushIsFoundWhateverIsKilled plays parcels at a provider that loses pushes, ends subscriptions without a
// word, and answers some queries with an error, while replicas are killed. Every tenant gets the last state of each
// parcel that it has subscribed, and of no other, and no waybill is asked for more often than it may be.
func TestEveryLostPushIsFoundWhateverIsKilled(t *testing.T) {
	t.Parallel()
	const parcels = 150
	l := &leaky{ended: map[string]bool{}, queries: map[string][]time.Time{}}
	l.Provider = fake.NewProvider(fake.Options{AppID: accountID, APIKey: accountKey, Decide: l.decide})
	upstream := httptest.NewServer(l)
	t.Cleanup(upstream.Close)
	shop, mail := newLatest(t), newLatest(t)
	yaml := fmt.Sprintf(`
redis: {url: '%s'}
kuaidihelp: {api_url: '%s', app_id: '%s', api_key: '%s', rate: 100,
  query: {rate: 100, daily_budget: 100000, min_interval: %s}}
subscriptions: {rate: 0, reconcile: {after: 4s, resubscribe_after: 1}}
callback: {tokens: [%s]}
egress: {allow_cidrs: [127.0.0.0/8]}
delivery: {timeout: 2s, retry: [50ms, 100ms, 200ms, 500ms, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s]}
tenants:
  - name: shop
    api_keys: [key-of-the-shop]
    endpoints: [{name: e, url: '%s', secrets: [%s]}]
    routes: [{to: e, match: {subscribed: true}}]
  - name: mail
    api_keys: [key-of-the-mail]
    endpoints: [{name: e, url: '%s', secrets: [%s]}]
    routes: [{to: e, match: {subscribed: true}}]
`, redisserver.Start(t, "--appendonly", "yes").URL(), upstream.URL, accountID, accountKey, minInterval, token, shop.URL,
		secret, mail.URL, secret)
	var replicas []*relay
	for range 3 {
		replicas = append(replicas, newReplica(t, yaml))
		replicas[len(replicas)-1].start()
	}
	all := make([]string, parcels)
	for i := range all {
		all[i] = fmt.Sprint("77", 1000+i)
	}
	half := all[:parcels/2]
	subscribe(t, replicas[0], "key-of-the-shop", all)
	subscribe(t, replicas[1], "key-of-the-mail", half)

	// The parcels are under way, and replicas die meanwhile.
	var playing sync.WaitGroup
	playing.Go(func() { l.play(t, replicas, all) })
	for i := range 4 {
		time.Sleep(time.Duration(1500+rand.IntN(1500)) * time.Millisecond) // at any time of its work
		replicas[i%len(replicas)].kill()
		replicas[i%len(replicas)].start()
	}
	playing.Wait()
	signed := func(x *latest, codes []string) bool {
		x.mu.Lock()
		defer x.mu.Unlock()
		return !slices.ContainsFunc(codes, func(code string) bool { return x.of[code] != kuaidihelp.StatusSigned })
	}
	until(t, "every parcel's last state has come", func() bool { return signed(shop, all) && signed(mail, half) })

	if n := len(mail.of); n != len(half) {
		t.Errorf("mail got %d parcels, and has subscribed %d", n, len(half))
	}
	if shop.reconciled == 0 {
		t.Error("nothing came by a query: the test does not see what it is to see")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	const network = 300 * time.Millisecond // that a call takes more than another from the relay to here
	asked := 0
	for code, at := range l.queries {
		asked += len(at)
		for i := 1; i < len(at); i++ {
			if apart := at[i].Sub(at[i-1]); apart < minInterval-network {
				t.Errorf("%s was asked for twice within %s", code, apart)
			}
		}
	}
	t.Logf("%d updates came by a query to shop; %d calls asked for %d waybills", shop.reconciled, l.calls, asked)
}

// play moves the parcels on, until all are signed for, and pushes what is not lost.
func (l *leaky) play(t *testing.T, replicas []*relay, codes []string) {
	makes := fake.NewParcels(1, nil)
	var underWay []*fake.Parcel
	for _, code := range codes {
		underWay = append(underWay, makes.Of("zt", code))
	}
	for len(underWay) > 0 {
		i := rand.IntN(len(underWay))
		item := underWay[i].Next()
		if underWay[i].Signed() {
			underWay = slices.Delete(underWay, i, i+1)
		}
		l.Move(item)
		if l.loses(item.WaybillCode) {
			continue
		}
		_, body, err := fake.Encode(fake.JSON, []fake.Item{item})
		if err != nil {
			t.Error(err)
			return
		}
		for t.Context().Err() == nil {
			status, answer, err := post(replicas[rand.IntN(len(replicas))].url+"/callback/"+token, string(body))
			if err == nil && status == 200 && answer == "success" {
				break
			}
			time.Sleep(10 * time.Millisecond) // the replica is being restarted
		}
		time.Sleep(10 * time.Millisecond) // the pace of the parcels
	}
}

// subscribe subscribes waybills, until each is taken.
func subscribe(t *testing.T, r *relay, key string, codes []string) {
	t.Helper()
	body, _ := json.Marshal(map[string]any{"cp_code": "zt", "waybill_codes": codes})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+"/v1/subscriptions", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	if status, text, err := do(req); err != nil || status != 200 {
		t.Fatalf("%d %s %v", status, text, err)
	}
}
