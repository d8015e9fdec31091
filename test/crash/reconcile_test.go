package crash

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/kuaidihelp/fake"
	"kuairelay/test/redisserver"
)

var parcels = flag.Int("parcels", 150, "parcels of the test of lost pushes; their spans grow with their number")

// leaky is a provider that loses pushes, and what became of them.
type leaky struct {
	*fake.Provider
	mu      sync.Mutex
	scanned map[string]time.Time   // when the carrier scans a parcel first: nobody knows it before
	ends    map[string]int         // how many pushes until the subscription of a waybill ends without a word
	ended   map[string]bool        // those that have ended
	queries map[string][]time.Time // by waybill
	calls   map[string]int         // by method
	refused int                    // queries that were answered with an error
}

// newLeaky has a provider for which three parcels in ten are not scanned for a while, and one subscription in twenty
// ends.
func newLeaky(codes []string, unscanned time.Duration) *leaky {
	l := &leaky{scanned: map[string]time.Time{}, ends: map[string]int{}, ended: map[string]bool{},
		queries: map[string][]time.Time{}, calls: map[string]int{}}
	for i, at := range rand.Perm(len(codes)) {
		if i < len(codes)*3/10 {
			l.scanned[codes[at]] = time.Now().Add(time.Duration(rand.Float64() * float64(unscanned)))
		}
		if rand.IntN(20) == 0 {
			l.ends[codes[at]] = 1 + rand.IntN(5)
		}
	}
	l.Provider = fake.NewProvider(fake.Options{AppID: accountID, APIKey: accountKey, Decide: l.decide})
	return l
}

// decide has no record of parcels that are not scanned, and answers a query in fifty with an error. Who subscribes a
// waybill again gets its pushes again.
func (l *leaky) decide(c fake.Call) fake.Reply {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls[c.Method]++
	if c.Method == kuaidihelp.MethodSubscribe {
		for _, code := range c.Codes {
			if time.Now().Before(l.scanned[code]) {
				return fake.Reply{Code: kuaidihelp.CodeNoRecord, Msg: "查询暂无记录"}
			}
		}
		for _, code := range c.Codes {
			delete(l.ended, code)
		}
		return fake.Reply{}
	}

	for _, code := range c.Codes {
		l.queries[code] = append(l.queries[code], time.Now())
	}
	if rand.IntN(50) == 0 {
		l.refused++
		return fake.Reply{Code: kuaidihelp.CodeBadParameters, Msg: "请求参数错误"}
	}
	return fake.Reply{}
}

// loses says whether a push of a waybill gets lost: of one that the provider does not know as subscribed, of one whose
// subscription has ended, and one push in ten.
func (l *leaky) loses(code string) bool {
	if !l.HasSubscribed("zt", code) {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ends[code]--; l.ends[code] == 0 {
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

// TestEveryLostPushIsFoundWhateverIsKilled plays parcels at a provider that has no record of some at first, loses
// pushes, ends subscriptions without a word, and answers some queries with an error, while replicas are killed. Every
// tenant gets the last state of each parcel that it has subscribed, and of no other; no waybill is asked for more often
// than it may be, and every query is counted. docs/contributing.md says how to run it with more parcels.
func TestEveryLostPushIsFoundWhateverIsKilled(t *testing.T) {
	t.Parallel()
	awayFromMidnight(t)
	all := make([]string, *parcels)
	for i := range all {
		all[i] = fmt.Sprint("77", 1000000+i)
	}
	half := all[:len(all)/2]

	// A parcel moves the more seldom the more there are, and may be silent for so much longer.
	span := func(atLeast, each time.Duration) time.Duration {
		return max(atLeast, time.Duration(len(all))*each)
	}
	after, interval := span(4*time.Second, 6*time.Millisecond), span(3*time.Second, 3*time.Millisecond)
	unscanned := span(5*time.Second, 4*time.Millisecond)
	l := newLeaky(all, unscanned)
	upstream := httptest.NewServer(l)
	t.Cleanup(upstream.Close)
	shop, mail := newLatest(t), newLatest(t)
	server := redisserver.Start(t, "--appendonly", "yes").URL()
	yaml := fmt.Sprintf(`
redis: {url: '%s'}
kuaidihelp: {api_url: '%s', app_id: '%s', api_key: '%s', rate: 200,
  query: {rate: 100, daily_budget: 1000000, min_interval: %s}}
subscriptions: {rate: 0, no_record: {retry: [%s, %s, %s, %s]}, reconcile: {after: %s, resubscribe_after: 1}}
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
`, server, upstream.URL, accountID, accountKey, interval, unscanned/4, unscanned/2, unscanned/2, unscanned, after,
		token, shop.URL, secret, mail.URL, secret)
	var replicas []*relay
	for range 3 {
		replicas = append(replicas, newReplica(t, yaml))
		replicas[len(replicas)-1].start()
	}
	for part := range slices.Chunk(all, 500) {
		subscribe(t, replicas[0], "key-of-the-shop", part)
	}
	for part := range slices.Chunk(half, 500) {
		subscribe(t, replicas[1], "key-of-the-mail", part)
	}

	// The parcels are under way, and replicas die meanwhile.
	ended := make(chan struct{})
	go func() { defer close(ended); l.play(t, replicas, all) }()
	kills := 0
	for playing := true; playing || kills < 4; kills++ {
		time.Sleep(time.Duration(1500+rand.IntN(1500)) * time.Millisecond) // at any time of its work
		r := replicas[kills%len(replicas)]
		r.kill()
		r.start()
		select {
		case <-ended:
			playing = false
		default:
		}
	}
	signed := func(x *latest, codes []string) bool {
		x.mu.Lock()
		defer x.mu.Unlock()
		return !slices.ContainsFunc(codes, func(code string) bool { return x.of[code] != kuaidihelp.StatusSigned })
	}
	within(t, 90*time.Second+4*after, "every parcel's last state has come", func() bool {
		return signed(shop, all) && signed(mail, half)
	})

	if n := len(mail.of); n != len(half) {
		t.Errorf("mail got %d parcels, and has subscribed %d", n, len(half))
	}
	if shop.reconciled == 0 {
		t.Error("nothing came by a query: the test does not see what it is to see")
	}
	for _, gauge := range []string{"kuairelay_subscriptions_unfinished", "kuairelay_subscriptions_no_record"} {
		until(t, gauge+" is 0", func() bool {
			_, text, err := get(t.Context(), replicas[0].admin+"/metrics")
			return err == nil && strings.Contains(text, "\n"+gauge+" 0\n")
		})
	}
	l.check(t, interval, server, kills)
	t.Logf("%d parcels: %d updates came by a query to shop; %d calls subscribed, %d asked (%d answered with an error)",
		len(all), shop.reconciled, l.calls[kuaidihelp.MethodSubscribe], l.calls[kuaidihelp.MethodQuery], l.refused)
}

// TestNoDayHasMoreQueriesThanItsBudgetWhateverIsKilled has three replicas ask for silent waybills, and kills them,
// until the budget of the day is used up.
func TestNoDayHasMoreQueriesThanItsBudgetWhateverIsKilled(t *testing.T) {
	t.Parallel()
	const budget = 130
	awayFromMidnight(t)
	codes := make([]string, 2*budget)
	for i := range codes {
		codes[i] = fmt.Sprint("78", 1000000+i)
	}
	l := newLeaky(codes, 0)
	upstream := httptest.NewServer(l)
	t.Cleanup(upstream.Close)
	shop := newLatest(t)
	server := redisserver.Start(t, "--appendonly", "yes").URL()
	yaml := fmt.Sprintf(`
redis: {url: '%s'}
kuaidihelp: {api_url: '%s', app_id: '%s', api_key: '%s', rate: 200,
  query: {rate: 20, daily_budget: %d, min_interval: 1s}}
subscriptions: {rate: 0, reconcile: {after: 2s}}
callback: {tokens: [%s]}
egress: {allow_cidrs: [127.0.0.0/8]}
tenants:
  - name: shop
    api_keys: [key-of-the-shop]
    endpoints: [{name: e, url: '%s', secrets: [%s]}]
    routes: [{to: e, match: {subscribed: true}}]
`, server, upstream.URL, accountID, accountKey, budget, token, shop.URL, secret)
	var replicas []*relay
	for range 3 {
		replicas = append(replicas, newReplica(t, yaml))
		replicas[len(replicas)-1].start()
	}
	subscribe(t, replicas[0], "key-of-the-shop", codes)

	metric := func(r *relay, line string) bool {
		_, text, err := get(t.Context(), r.admin+"/metrics")
		return err == nil && strings.Contains(text, "\n"+line+"\n")
	}
	spent := fmt.Sprint("kuairelay_queries_today ", budget)
	kills := 0
	for ; kills < 3 || !metric(replicas[0], spent); kills++ {
		asked := l.asked()
		until(t, "a query is made, or none may be", func() bool {
			return l.asked() > asked || metric(replicas[0], spent)
		})
		r := replicas[kills%len(replicas)]
		r.kill()
		r.start()
	}

	// Every replica looks again, and when what they had taken before is asked for, none asks.
	for _, r := range replicas {
		until(t, "a replica knows that the day has no queries left", func() bool {
			text, _ := os.ReadFile(r.log.Name())
			return strings.Contains(string(text), "kuaidihelp.query.daily_budget is used up")
		})
		until(t, r.admin+" has "+spent, func() bool { return metric(r, spent) })
	}
	asked, since := l.asked(), time.Now()
	until(t, "nobody asks for 3 s", func() bool { // the waybills are silent for 2 s again
		if now := l.asked(); now != asked {
			asked, since = now, time.Now()
		}
		return time.Since(since) > 3*time.Second
	})
	if asked > budget {
		t.Errorf("%d waybills were asked for; %d may be", asked, budget)
	}
	t.Logf("%d waybills of %d were asked for; the others were counted by replicas that were killed %d times", asked,
		budget, kills)
}

// asked counts the waybills that were asked for.
func (l *leaky) asked() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, at := range l.queries {
		n += len(at)
	}
	return n
}

// awayFromMidnight waits until midnight in China is over, if it comes soon: queries are counted anew from then on.
func awayFromMidnight(t *testing.T) {
	t.Helper()
	china := time.FixedZone("China", 8*3600)
	day := time.Now().Add(time.Minute).In(china).Day()
	within(t, 2*time.Minute, "midnight in China is over", func() bool { return time.Now().In(china).Day() == day })
}

// check holds what was asked against what may be asked, and against what the relay has counted.
func (l *leaky) check(t *testing.T, interval time.Duration, redisURL string, kills int) {
	network := interval / 2 // that a call takes more than another from the relay to here, on a busy machine
	asked, most := l.asked(), 0
	l.mu.Lock()
	defer l.mu.Unlock()
	for code, at := range l.queries {
		most = max(most, len(at))
		for i := 1; i < len(at); i++ {
			if apart := at[i].Sub(at[i-1]); apart < interval-network {
				t.Errorf("%s was asked for twice within %s", code, apart)
			}
		}
	}

	o, err := redis.ParseURL(redisURL)
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(o)
	defer func() { _ = client.Close() }()
	text, err := client.Get(t.Context(), "{kuairelay}2:queries").Result()
	if err != nil {
		t.Fatal(err)
	}
	// A replica that was killed may have counted what it was going to ask for.
	const atOnce = 100
	var day, counted int
	if _, err := fmt.Sscan(text, &day, &counted); err != nil || counted < asked || counted > asked+atOnce*kills {
		t.Errorf("%d waybills were asked for, and %q are counted", asked, text)
	}
	t.Logf("%d waybills were asked for, one of them %d times at most; %d are counted", asked, most, counted)
}

// pushers is how many updates are pushed at one time.
const pushers = 4

// play moves the parcels on, until all are signed for, and pushes what is not lost.
func (l *leaky) play(t *testing.T, replicas []*relay, codes []string) {
	var pushing sync.WaitGroup
	for part := range slices.Chunk(codes, (len(codes)+pushers-1)/pushers) {
		pushing.Go(func() { l.playSome(t, replicas, part) })
	}
	pushing.Wait()
}

func (l *leaky) playSome(t *testing.T, replicas []*relay, codes []string) {
	makes := fake.NewParcels(1, nil)
	var underWay []*fake.Parcel
	for _, code := range codes {
		underWay = append(underWay, makes.Of("zt", code))
	}
	for len(underWay) > 0 {
		i := rand.IntN(len(underWay))
		code := underWay[i].WaybillCode
		l.mu.Lock()
		scanned := time.Now().After(l.scanned[code])
		l.mu.Unlock()
		if !scanned {
			time.Sleep(time.Millisecond)
			continue
		}
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
		pace := pushers * 10 * time.Millisecond // of the parcels, and quicker if there are many
		time.Sleep(pace / time.Duration(max(1, len(codes)*pushers/500)))
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
