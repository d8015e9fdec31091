package crash

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	webhook "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/kuaidihelp/fake"
	"kuairelay/test/redisserver"
)

var (
	operations = flag.Int("operations", 1500, "random operations of the test of subscriptions")
	seed       = flag.Uint64("seed", 0, "of the random operations; 0: another one each time")
)

const (
	subscribers = 4
	accountID   = "50001"
	accountKey  = "the-shared-key"
)

// TestSubscribersGetWhatTheyAskedForWhateverHappens does random operations on two replicas: tenants subscribe waybills
// one after another and at the same time, through both APIs; the provider refuses, hangs, fails, loses its answers, and
// pushes before it answers; replicas are killed. docs/contributing.md says how to run it with more operations.
func TestSubscribersGetWhatTheyAskedForWhateverHappens(t *testing.T) {
	t.Parallel()
	w := newWorld(t, *operations, cmp.Or(*seed, rand.Uint64()))
	w.run()
	w.check()
}

// world is what the test knows of what happened.
type world struct {
	t        *testing.T
	n        int
	seed     uint64
	tenants  []*subscriber
	replicas []*relay
	provider *fake.Provider
	redis    *redis.Client
	stop     chan struct{} // ends the watch

	mu       sync.Mutex
	parcels  map[string]*parcel
	calls    []call
	kills    []time.Time
	answers  map[string]int // results of subscribe requests
	betweens int            // waybills that were written down and not yet asked for when a replica was killed
	longest  time.Duration  // that a waybill was pending
}

// parcel is a waybill, and the updates of it that were acknowledged: 1 to acked.
type parcel struct {
	pushing sync.Mutex // updates are pushed one after the other
	begun   atomic.Int64
	acked   atomic.Int64
}

// call is one that the provider was asked.
type call struct {
	codes []string
	at    time.Time
	reply string // "good", "lost", or another
}

// subscriber is a tenant.
type subscriber struct {
	*httptest.Server
	name, key string

	mu    sync.Mutex
	asked map[string]bool    // before the request was sent
	sure  map[string]promise // by waybill: since when everything must come
	got   map[string][]int64 // numbers of a waybill's updates, by first sight
	late  map[string]int     // catch-ups
}

// promise is what an answer to a subscription makes certain: one update from least on, and all after above.
type promise struct{ least, above int64 }

func newWorld(t *testing.T, n int, seed uint64) *world {
	w := &world{t: t, n: n, seed: seed, parcels: map[string]*parcel{}, answers: map[string]int{},
		stop: make(chan struct{})}
	for i := range subscribers {
		w.tenants = append(w.tenants, w.newSubscriber(i))
	}
	server := redisserver.Start(t, "--appendonly", "yes")
	options, err := redis.ParseURL(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	w.redis = redis.NewClient(options)
	t.Cleanup(func() { _ = w.redis.Close() })
	w.provider = fake.NewProvider(fake.Options{AppID: accountID, APIKey: accountKey, Decide: w.decide,
		Subscribed: w.subscribed})
	upstream := httptest.NewServer(w.provider)
	t.Cleanup(upstream.Close)
	for range 2 {
		w.replicas = append(w.replicas, newReplica(t, w.config(server.URL(), upstream.URL)))
	}
	for _, r := range w.replicas {
		r.start()
	}
	return w
}

func (w *world) config(redis, upstream string) string {
	yaml := fmt.Sprintf(`
redis: {url: '%s'}
kuaidihelp: {api_url: '%s', app_id: '%s', api_key: '%s', rate: 100, timeout: 5s}
subscriptions: {rate: 0}
callback: {tokens: [%s]}
egress: {allow_cidrs: [127.0.0.0/8]}
delivery: {timeout: 1s, retry: [50ms, 100ms, 200ms, 500ms, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s]}
tenants:
`, redis, upstream, accountID, accountKey, token)
	for _, x := range w.tenants {
		yaml += fmt.Sprintf(`
  - name: %s
    api_keys: [%s]
    endpoints: [{name: e, url: '%s', secrets: [%s]}]
    routes: [{to: e, match: {subscribed: true}}]
`, x.name, x.key, x.URL, secret)
	}
	return yaml
}

// newSubscriber makes a tenant's endpoint: it checks signatures, and that it was asked for what comes.
func (w *world) newSubscriber(i int) *subscriber {
	wh, err := webhook.NewWebhook(secret)
	if err != nil {
		w.t.Fatal(err)
	}
	x := &subscriber{name: fmt.Sprint("t", i), key: fmt.Sprint("key-of-tenant-", i), asked: map[string]bool{},
		sure: map[string]promise{},
		got:  map[string][]int64{}, late: map[string]int{}}
	x.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return // its sender was killed
		}
		var b struct {
			Data struct {
				Waybill string `json:"waybill_code"`
				N       int64  `json:"n"`
			} `json:"data"`
		}
		if err := wh.Verify(body, req.Header); err != nil || json.Unmarshal(body, &b) != nil {
			w.t.Errorf("a delivery that is not good: %v %s", err, body)
		}
		x.mu.Lock()
		defer x.mu.Unlock()
		code, n := b.Data.Waybill, b.Data.N
		if !x.asked[code] {
			w.t.Errorf("%s got update %d of %s, which it has not subscribed", x.name, n, code)
		}
		if slices.Contains(x.got[code], n) {
			return // a repetition
		}
		if last := x.got[code]; len(last) > 0 && last[len(last)-1] > n {
			w.t.Errorf("%s got update %d of %s after %d", x.name, n, code, last[len(last)-1])
		}
		x.got[code] = append(x.got[code], n)
		if req.Header.Get("Kuairelay-Reason") == "catch-up" {
			x.late[code]++
		}
	}))
	w.t.Cleanup(x.Close)
	return x
}

// decide is what goes wrong at the provider. A waybill that begins with "no" it refuses always, and whatever is in a
// call with it.
func (w *world) decide(c fake.Call) fake.Reply {
	reply, name := fake.Reply{}, "good"
	switch i := rand.IntN(100); {
	case slices.ContainsFunc(c.Codes, func(code string) bool { return strings.HasPrefix(code, "no") }):
		reply, name = fake.Reply{Code: kuaidihelp.CodeNoRecord, Msg: "查询暂无记录"}, "refused"
	case i < 4:
		reply, name = fake.Reply{Lost: true}, "lost"
	case i < 7:
		reply, name = fake.Reply{Status: 503}, "down"
	case i < 9:
		reply, name = fake.Reply{Code: 1008, Msg: "调用频率过高"}, "refused"
	case i < 10 && rand.IntN(4) == 0: // it answers, but nobody listens any more
		name = "lost"
		defer time.Sleep(5500 * time.Millisecond)
	case i < 15:
		defer time.Sleep(300 * time.Millisecond)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, call{c.Codes, time.Now(), name})
	return reply
}

// subscribed pushes the first update of a waybill before the subscription of it is answered, sometimes.
func (w *world) subscribed(_, code string) {
	if rand.IntN(3) == 0 {
		w.push(code)
	}
}

func (w *world) parcel(code string) *parcel {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.parcels[code] == nil {
		w.parcels[code] = &parcel{}
	}
	return w.parcels[code]
}

// push pushes a waybill's next update to some replica until it is acknowledged. A call of a replica that ends with the
// test may ask for one when there is none left to take it.
func (w *world) push(code string) {
	p := w.parcel(code)
	p.pushing.Lock()
	defer p.pushing.Unlock()
	n := p.begun.Add(1)
	body := fmt.Sprintf(`{"type":"express_sub_msg","data":[{"waybill_code":"%s","cp_code":"zt","status":"sending",`+
		`"n":%d,"data":[{"time":"%d"}]}]}`, code, n, n)
	for w.t.Context().Err() == nil {
		r := w.replicas[rand.IntN(2)]
		if status, answer, err := post(r.url+"/callback/"+token, body); err == nil && status == 200 && answer == "success" {
			p.acked.Store(n)
			return
		}
		time.Sleep(time.Duration(1+rand.IntN(20)) * time.Millisecond) // the replica is being restarted
	}
}

// subscribe asks for some waybills, through either API. A tenant whose request is cut off asks again, as its developers
// would.
func (w *world) subscribe(random *rand.Rand, x *subscriber, codes []string) {
	least := make([]int64, len(codes))
	x.mu.Lock()
	for i, code := range codes {
		x.asked[code] = true
		least[i] = w.parcel(code).acked.Load()
	}
	x.mu.Unlock()
	dropIn := random.IntN(4) == 0
	for {
		results, ok := w.request(w.replicas[random.IntN(2)].url, x, codes, dropIn)
		if !ok {
			time.Sleep(time.Duration(1+random.IntN(20)) * time.Millisecond)
			continue
		}
		x.mu.Lock()
		for i, result := range results {
			if _, known := x.sure[codes[i]]; !known && result != "failed" {
				x.sure[codes[i]] = promise{least[i], w.parcel(codes[i]).begun.Load()}
			}
		}
		x.mu.Unlock()
		w.mu.Lock()
		for _, result := range results {
			w.answers[result]++
		}
		w.mu.Unlock()
		return
	}
}

// request makes one request, and returns a result for each waybill; false if no answer came.
func (w *world) request(to string, x *subscriber, codes []string, dropIn bool) ([]string, bool) {
	req, err := http.NewRequest(http.MethodPost, to+"/v1/subscriptions", nil)
	if err != nil {
		w.t.Error(err)
		return nil, true
	}
	body, _ := json.Marshal(map[string]any{"cp_code": "zt", "waybill_codes": codes})
	req.Header.Set("Authorization", "Bearer "+x.key)
	if dropIn {
		ts := strconv.FormatInt(time.Now().UnixMilli(), 10)
		body = []byte(url.Values{"app_id": {x.name}, "method": {kuaidihelp.MethodSubscribe}, "ts": {ts},
			"sign": {kuaidihelp.Sign(x.name, kuaidihelp.MethodSubscribe, ts, x.key)},
			"data": {string(kuaidihelp.CallData("zt", codes))}}.Encode())
		req.URL.Path = "/api"
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	status, text, err := do(req)
	if err != nil {
		return nil, false
	}
	var answer struct {
		Code    int
		Results []struct{ Result string }
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil || status != 200 && status != 504 {
		w.t.Errorf("answer %d %s", status, text)
	}
	results := make([]string, len(codes))
	for i := range results {
		switch {
		case i < len(answer.Results):
			results[i] = answer.Results[i].Result
		case status == 504 || answer.Code != 0:
			results[i] = "failed" // some of them
		default:
			results[i] = "through /api"
		}
	}
	return results, true
}

// run does the operations, by eight at a time.
func (w *world) run() {
	began := time.Now()
	var watch, group sync.WaitGroup
	watch.Go(w.watch)
	var next atomic.Int64
	for worker := range 8 {
		random := rand.New(rand.NewPCG(w.seed, uint64(worker)))
		group.Go(func() {
			for next.Add(1) <= int64(w.n) {
				w.operate(random)
			}
		})
	}
	kills := max(2, w.n/1000)
	for i := range kills {
		until(w.t, "it is time for a kill", func() bool { return next.Load() > int64(w.n*(i+1)/(kills+1)) })
		w.kill(i)
	}
	group.Wait()
	w.t.Logf("%d operations in %s, seed %d", w.n, time.Since(began).Round(time.Second), w.seed)
	w.settle()
	close(w.stop)
	watch.Wait()
}

// operate is one random operation.
func (w *world) operate(random *rand.Rand) {
	code := func() string {
		if random.IntN(20) == 0 {
			return fmt.Sprint("no", random.IntN(50))
		}
		return fmt.Sprint("w", random.IntN(max(50, w.n/4)))
	}
	if random.IntN(2) == 0 {
		w.push(code())
		return
	}
	var codes []string
	for range 1 + random.IntN(random.IntN(12)+1) {
		if c := code(); !slices.Contains(codes, c) {
			codes = append(codes, c)
		}
	}
	x := w.tenants[random.IntN(len(w.tenants))]
	w.subscribe(random, x, codes)
	if random.IntN(4) == 0 { // the same at once from another tenant, at the other replica perhaps
		w.subscribe(random, w.tenants[random.IntN(len(w.tenants))], codes)
	}
}

// kill kills a replica that has just written down what the provider was not asked for yet, and starts it again. Whoever
// subscribed that does not ask again.
func (w *world) kill(i int) {
	r, x := w.replicas[i%2], w.tenants[i%len(w.tenants)]
	var codes []string
	x.mu.Lock()
	for j := range 200 {
		codes = append(codes, fmt.Sprintf("k%d-%d", i, j))
		x.asked[codes[j]] = true
	}
	x.mu.Unlock()
	var cut sync.WaitGroup
	cut.Go(func() { w.request(r.url, x, codes, false) })
	last := codes[len(codes)-1]
	until(w.t, "the last one is written down", func() bool {
		return w.redis.HGet(w.t.Context(), "{kuairelay}2:s:zt "+last, "u").Val() != ""
	})
	r.kill()
	cut.Wait()
	n := 0
	for _, code := range codes {
		if !w.provider.HasSubscribed("zt", code) {
			n++
		}
	}
	w.mu.Lock()
	w.kills, w.betweens = append(w.kills, time.Now()), w.betweens+n
	w.mu.Unlock()
	r.start()
}

// states are the upstream states in the ledger, by waybill.
func (w *world) states() map[string]string {
	read := map[string]*redis.StringCmd{}
	it := w.redis.Scan(w.t.Context(), 0, "{kuairelay}2:s:*", 1000).Iterator()
	_, err := w.redis.Pipelined(w.t.Context(), func(p redis.Pipeliner) error {
		for it.Next(w.t.Context()) {
			_, code, _ := strings.Cut(it.Val(), " ")
			read[code] = p.HGet(w.t.Context(), it.Val(), "u")
		}
		return it.Err()
	})
	if err != nil {
		w.t.Error(err)
	}
	out := map[string]string{}
	for code, state := range read {
		out[code] = state.Val()
	}
	return out
}

// watch notes for how long waybills are pending.
func (w *world) watch() {
	since := map[string]time.Time{}
	for {
		now, states := time.Now(), w.states()
		for code, s := range states {
			if s != "p" {
				delete(since, code)
				continue
			}
			if since[code].IsZero() {
				since[code] = now
			}
			w.mu.Lock()
			w.longest = max(w.longest, now.Sub(since[code]))
			w.mu.Unlock()
		}
		select {
		case <-w.stop:
			return
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// settle waits until nothing is pending, and everybody has what was promised.
func (w *world) settle() {
	until(w.t, "nothing is pending, and nobody has to be caught up", func() bool {
		return w.redis.ZCard(w.t.Context(), "{kuairelay}2:todo").Val() == 0
	})
	deadline := time.Now().Add(60 * time.Second)
	for len(w.missing()) > 0 && time.Now().Before(deadline) {
		time.Sleep(50 * time.Millisecond)
	}
}

// missing lists what a tenant was promised and has not got.
func (w *world) missing() (out []string) {
	for _, x := range w.tenants {
		x.mu.Lock()
		for code, p := range x.sure {
			got := x.got[code]
			if p.least > 0 && (len(got) == 0 || got[len(got)-1] < p.least) {
				out = append(out, fmt.Sprintf("%s has nothing of %s from update %d on", x.name, code, p.least))
			}
			for n := p.above + 1; n <= w.parcel(code).acked.Load(); n++ {
				if !slices.Contains(got, n) {
					out = append(out, fmt.Sprintf("%s has not got update %d of %s", x.name, n, code))
				}
			}
		}
		x.mu.Unlock()
	}
	return out
}

// check says what went wrong.
func (w *world) check() {
	for i, m := range w.missing() {
		if i < 20 {
			w.t.Error(m)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.longest > time.Minute {
		w.t.Errorf("a waybill was pending for %s", w.longest)
	}
	good, again := w.countCalls()
	deliveries, late, promised := 0, 0, 0
	for _, x := range w.tenants {
		x.mu.Lock()
		for code, got := range x.got {
			deliveries, late = deliveries+len(got), late+x.late[code]
		}
		promised += len(x.sure)
		x.mu.Unlock()
	}
	w.t.Logf("%d waybills, %d promises to tenants, answers %v; %d kills, with %d waybills between ledger and provider; "+
		"%d deliveries, %d of them catch-ups",
		len(w.parcels), promised, w.answers, len(w.kills), w.betweens, deliveries, late)
	w.t.Logf("%d calls to the provider (%d waybills taken for the first time, %d again after a lost reply or a "+
		"kill); pending for %s at most",
		len(w.calls), good, again, w.longest.Round(time.Second))
	if w.betweens == 0 || late == 0 || again == 0 {
		w.t.Error("what the test is for did not happen")
	}
}

// countCalls checks that the provider was asked no more often than it had to be: a waybill that it took is asked for
// again only if that answer was lost, or a replica was killed before it could write it down.
func (w *world) countCalls() (good, again int) {
	byCode := map[string][]call{}
	for _, c := range w.calls {
		for _, code := range c.codes {
			byCode[code] = append(byCode[code], c)
		}
		if len(c.codes) > kuaidihelp.MaxPerCall {
			w.t.Errorf("a call for %d waybills", len(c.codes))
		}
	}
	for code, calls := range byCode {
		for i, c := range calls {
			if i == 0 {
				good++
				continue
			}
			before := calls[i-1]
			killed := slices.ContainsFunc(w.kills, func(at time.Time) bool {
				return at.After(before.at) && at.Before(c.at) && at.Sub(before.at) < 5*time.Second
			})
			if before.reply == "good" && !killed {
				w.t.Errorf("%s was asked for again at %s, though it was taken at %s and no replica was killed", code,
					c.at.Format(time.TimeOnly), before.at.Format(time.TimeOnly))
			}
			if before.reply == "lost" || before.reply == "good" {
				again++
			}
		}
	}
	return good, again
}
