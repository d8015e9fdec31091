package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/ledger"
	"kuairelay/relay/queue"
)

// letterPages are dead letters, one on each page. It records what is done with them.
type letterPages struct {
	deadLetterStore
	pages     [][]event.DeadLetter
	endpoints []string            // that were asked for
	redriven  map[string][]string // ids by endpoint
}

func (l *letterPages) DeadLetters(_ context.Context, endpoints []string, cursor string,
	_ int) ([]event.DeadLetter, string, error) {
	l.endpoints = endpoints
	at := len(cursor)
	next := cursor + "+"
	if len(next) == len(l.pages) {
		next = ""
	}
	return l.pages[at], next, nil
}

func (l *letterPages) Redrive(_ context.Context, endpoint string, ids ...string) (int, error) {
	if l.redriven == nil {
		l.redriven = make(map[string][]string)
	}
	l.redriven[endpoint] = append(l.redriven[endpoint], ids...)
	return len(ids), nil
}

// letter is a dead letter of a waybill that was given up so long before noon.
func letter(waybill string, ago time.Duration) event.DeadLetter {
	return event.DeadLetter{EventID: "evt_" + waybill, Endpoint: "shop/orders", WaybillCode: waybill, CPCode: "zt",
		DeadAt: noon.Add(-ago)}
}

func TestDeadLettersAreReadUntilThereIsOneThatTheFilterTakes(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		query string
		want  []string // waybills
		next  string
	}{
		{query: "", want: []string{"1"}, next: "+"},
		{query: "waybill_code=3", want: []string{"3"}, next: "+++"},
		{query: "waybill_code=3&since=150m", want: nil, next: ""}, // 3 is older
		{query: "until=150m", want: []string{"3"}, next: "+++"},
		{query: "waybill_code=none", want: nil, next: "++++++"},
		{query: "waybill_code=none&cursor=%2B%2B", want: nil, next: ""},
		{query: "brand=sto", want: nil, next: "++++++"},
	} {
		store := &letterPages{}
		for i := range 8 {
			store.pages = append(store.pages, []event.DeadLetter{letter(fmt.Sprint(i+1), time.Duration(i+1)*time.Hour)})
		}
		b := newBench(Options{})
		b.deadLetters = store
		got, err := ask(b, listDeadLetters, "shop", "/?"+x.query, "")
		var waybills []string
		for _, l := range got.DeadLetters {
			waybills = append(waybills, l.WaybillCode)
		}
		if err != nil || !slices.Equal(waybills, x.want) || got.Next != x.next {
			t.Errorf("%s: %v, next %q (%v), want %v, next %q", x.query, waybills, got.Next, err, x.want, x.next)
		}
		if want := []string{"shop/orders", "shop/b", "shop/a"}; !slices.Equal(store.endpoints, want) {
			t.Errorf("%s: of the endpoints %v, want %v", x.query, store.endpoints, want)
		}
	}
}

func TestDeadLettersAreRedrivenByEndpoint(t *testing.T) {
	t.Parallel()
	id := "evt_" + strings.Repeat("0a", 32)
	store := &letterPages{}
	b := newBench(Options{})
	b.deadLetters = store
	body := fmt.Sprintf(`{"dead_letters":[{"event_id":%q,"endpoint":"a"},{"event_id":%q,"endpoint":"shop/b"},`+
		`{"event_id":"none","endpoint":"a"}]}`, id, id)
	got, err := ask(b, redriveDeadLetters, "shop", "/", body)
	want := map[string][]string{"shop/a": {id}, "shop/b": {id}}
	if err != nil || got.Done != 2 || !maps.EqualFunc(store.redriven, want, slices.Equal) {
		t.Errorf("%+v (%v): %v", got, err, store.redriven)
	}
	if slices.Sort(b.due); !slices.Equal(b.due, []string{"shop/a", "shop/b"}) {
		t.Errorf("%v are told that something is due", b.due)
	}

	store.redriven = nil
	_, err = ask(b, redriveDeadLetters, "shop", "/", fmt.Sprintf(`{"dead_letters":[{"event_id":%q,`+
		`"endpoint":"other/mail"}]}`, id))
	refused(t, "another tenant's", err, 400, "other/mail is not yours")
	if len(store.redriven) > 0 {
		t.Errorf("redriven: %v", store.redriven)
	}

	store.pages = [][]event.DeadLetter{{letter("1", time.Hour)}, {letter("2", time.Hour)}}
	all, err := ask(b, redriveDeadLetters, "", "/", `{"all":true}`)
	if err != nil || all != (DeadLettersResult{Done: 1, Next: "+"}) ||
		!slices.Equal(store.redriven["shop/orders"], []string{"evt_1"}) {
		t.Errorf("%+v (%v): %v", all, err, store.redriven)
	}
}

// healthy gives every endpoint as idle, or as paused if it is in the map.
type healthy struct {
	endpointStore
	paused map[string]bool
}

func (h healthy) Health(_ context.Context, endpoints []string, _ int) (out []queue.EndpointHealth, _ error) {
	for _, e := range endpoints {
		one := queue.EndpointHealth{Endpoint: e}
		if h.paused[e] {
			one.Parked = "paused"
		}
		out = append(out, one)
	}
	return out, nil
}

func TestEndpointsAreListedInPagesByName(t *testing.T) {
	t.Parallel()
	b := newBench(Options{})
	b.endpoints = healthy{paused: map[string]bool{"shop/b": true}}
	for _, x := range []struct {
		tenant, query string
		want          []string
		next          string
	}{
		{tenant: "shop", query: "", want: []string{"shop/a", "shop/b", "shop/orders"}},
		{tenant: "", query: "", want: []string{"other/mail", "shop/a", "shop/b", "shop/orders"}},
		{tenant: "", query: "limit=2", want: []string{"other/mail", "shop/a"}, next: "shop/a"},
		{tenant: "", query: "limit=2&cursor=shop/a", want: []string{"shop/b", "shop/orders"}},
		{tenant: "", query: "cursor=shop/aa", want: []string{"shop/b", "shop/orders"}},
		{tenant: "", query: "tenant=other", want: []string{"other/mail"}},
		{tenant: "shop", query: "state=paused&limit=2", want: []string{"shop/b"}, next: "shop/b"},
		{tenant: "shop", query: "cursor=zzz", want: nil},
	} {
		got, err := ask(b, listEndpoints, x.tenant, "/?"+x.query, "")
		var names []string
		for _, e := range got.Endpoints {
			names = append(names, e.Endpoint)
			if strings.Contains(e.URL, "token") || strings.Contains(e.URL, "u:p") {
				t.Errorf("%s shows %s", e.Endpoint, e.URL)
			}
		}
		if err != nil || !slices.Equal(names, x.want) || got.Next != x.next {
			t.Errorf("%q %s: %v, next %q (%v), want %v, next %q", x.tenant, x.query, names, got.Next, err, x.want, x.next)
		}
	}
	_, err := ask(b, listEndpoints, "shop", "/?state=closed", "")
	refused(t, "a state that is none", err, 400, "state: must be one of")
}

func TestTheHealthOfAnEndpointIsThatOfItsLatestAttempts(t *testing.T) {
	t.Parallel()
	b := newBench(Options{})
	c, _ := b.call("shop", "/", "")
	attempt := func(status int, took, ago time.Duration) event.AttemptRecord {
		return event.AttemptRecord{At: noon.Add(-ago), Status: status, Duration: took}
	}
	sample := []event.AttemptRecord{
		attempt(200, 40*time.Millisecond, time.Minute), attempt(500, 10*time.Millisecond, 2*time.Minute),
		attempt(200, 30*time.Millisecond, 3*time.Minute), attempt(503, 20*time.Millisecond, 4*time.Minute),
	}
	got := c.showEndpoint(queue.EndpointHealth{Endpoint: "shop/orders", Latest: sample})
	if got.State != "ok" || got.Sample != 4 || got.SuccessRate != 0.5 || got.P50MS != 30 || got.P95MS != 40 ||
		!got.LastAt.Equal(noon.Add(-time.Minute)) || got.LastError == nil || got.LastError.Status != 500 {
		t.Errorf("%+v, last error %+v", got, got.LastError)
	}
	if got := c.showEndpoint(queue.EndpointHealth{Endpoint: "shop/orders", Latest: sample[1:],
		FailedInRow: 1}); got.State != "ok" || got.InRow != 0 {
		t.Errorf("after an attempt that failed: %+v", got)
	}
	since := noon.Add(-time.Hour)
	if got := c.showEndpoint(queue.EndpointHealth{Endpoint: "shop/orders", Latest: sample[1:], FailedInRow: 2,
		FailingSince: since}); got.State != "failing" || got.InRow != 2 || !got.FailingSince.Equal(since) {
		t.Errorf("after two attempts that failed: %+v", got)
	}
	if got := c.showEndpoint(queue.EndpointHealth{Endpoint: "shop/orders", Latest: sample[1:], Parked: "open",
		ParkedUntil: noon}); got.State != "open" || !got.ProbeAt.Equal(noon) {
		t.Errorf("while its breaker is open: %+v", got)
	}
	if got := c.showEndpoint(queue.EndpointHealth{Endpoint: "shop/orders", Latest: sample[1:],
		Parked: "gone"}).State; got != "gone" {
		t.Errorf("parked, it is %s", got)
	}
	if got := c.showEndpoint(queue.EndpointHealth{Endpoint: "shop/orders"}); got.State != "idle" || got.Sample != 0 {
		t.Errorf("without an attempt: %+v", got)
	}
}

// shelf is a quarantine that holds callbacks by their ids, in this order.
type shelf struct {
	quarantineStore
	ids []string
}

func (s *shelf) QuarantinedByID(_ context.Context, id string) (*event.Quarantined, bool, error) {
	if !slices.Contains(s.ids, id) {
		return nil, false, nil
	}
	return &event.Quarantined{ID: id}, true, nil
}

func (s *shelf) Quarantined(_ context.Context, offset, most int) (page []event.Quarantined, next int, err error) {
	end := min(offset+most, len(s.ids))
	for _, id := range s.ids[min(offset, end):end] {
		page = append(page, event.Quarantined{ID: id})
	}
	if end < len(s.ids) {
		next = end
	}
	return page, next, nil
}

func (s *shelf) Unquarantine(_ context.Context, ids ...string) (int, error) {
	n := len(s.ids)
	s.ids = slices.DeleteFunc(s.ids, func(x string) bool { return slices.Contains(ids, x) })
	return n - len(s.ids), nil
}

// retakes takes in all callbacks but bad ones. Each has two events, and one of them is new.
func retakes(_ context.Context, q event.Quarantined) (RetakeResult, error) {
	switch {
	case strings.HasPrefix(q.ID, "down"):
		return RetakeResult{}, errors.New("redis is down")
	case strings.HasPrefix(q.ID, "bad"):
		return RetakeResult{Rejected: "not understood"}, nil
	}
	return RetakeResult{Events: 2, New: 1}, nil
}

func TestWhatIsUnderstoodLeavesQuarantine(t *testing.T) {
	t.Parallel()
	b := newBench(Options{Retake: retakes})
	store := &shelf{ids: []string{"a", "bad", "b", "c"}}
	b.quarantine = store
	got, err := ask(b, replayQuarantine, "", "/", `{"ids":["a","bad"]}`)
	want := QuarantineResult{Tried: 2, Events: 2, New: 1, Released: 1, Failed: []string{"bad"}}
	if err != nil || !reflect.DeepEqual(got, want) || !slices.Equal(store.ids, []string{"bad", "b", "c"}) {
		t.Errorf("%+v (%v), left %v", got, err, store.ids)
	}

	_, err = ask(b, replayQuarantine, "", "/", `{"ids":["b","none"]}`)
	refused(t, "one that is not there", err, 404, "nothing in quarantine has this id")
	if !slices.Equal(store.ids, []string{"bad", "b", "c"}) {
		t.Errorf("one of the ids was not there, and left are %v", store.ids)
	}

	store.ids = append(store.ids, "down")
	_, err = ask(b, replayQuarantine, "", "/", `{"ids":["down"]}`)
	refused(t, "while Redis is down", err, 503, "cannot take in a callback from quarantine")
	for _, body := range []string{`{}`, `{"all":true,"ids":["b"]}`, `{"all":true,"cursor":"-1"}`,
		`{"all":true,"cursor":"x"}`} {
		_, err = ask(b, replayQuarantine, "", "/", body)
		refused(t, body, err, 400, "")
	}
}

func TestTheWholeQuarantineIsReplayedPageByPage(t *testing.T) {
	t.Parallel()
	b := newBench(Options{Retake: retakes})
	store := &shelf{}
	for i := range defaultLimit + 5 {
		kind := "good"
		if i%10 == 0 {
			kind = "bad"
		}
		store.ids = append(store.ids, fmt.Sprint(kind, i))
	}
	b.quarantine = store
	first, err := ask(b, replayQuarantine, "", "/", `{"all":true}`)
	if err != nil || first.Tried != 100 || first.Released != 90 || first.Next != "10" {
		t.Fatalf("%+v (%v)", first, err)
	}
	second, err := ask(b, replayQuarantine, "", "/", `{"all":true,"cursor":"10"}`)
	if err != nil || second.Tried != 5 || second.Released != 4 || second.Next != "" || len(store.ids) != 11 {
		t.Errorf("%+v (%v), %d are left", second, err, len(store.ids))
	}
}

// replayList has one replay, of the tenant other.
type replayList struct {
	replayStore
	begun event.Replay
	err   error
}

func (l *replayList) NewReplay(_ context.Context, r event.Replay) (event.Replay, error) {
	l.begun = r
	return r, l.err
}

func (*replayList) Replay(context.Context, string) (*event.Replay, bool, error) {
	return &event.Replay{ID: "r", Tenant: "other"}, true, nil
}

func TestAReplayEndsWhereItWasAskedFor(t *testing.T) {
	t.Parallel()
	b := newBench(Options{})
	store := &replayList{}
	b.replays = store
	got, err := ask(b, createReplay, "shop", "/", `{"endpoint":"orders","since":"2026-11-24T16:00:00+08:00"}`)
	want := ReplayRequest{Rate: defaultRate,
		filter: filter{Tenant: "shop", Endpoint: "shop/orders", Since: noon.Add(-4 * time.Hour), Until: noon}}
	if err != nil || !reflect.DeepEqual(got.Request, want) || store.begun.Tenant != "shop" {
		t.Errorf("%+v (%v), want %+v", got.Request, err, want)
	}
	for body, detail := range map[string]string{
		`{"rate":10001}`:                       "rate: must be from 1 to 10000",
		`{"rate":-1}`:                          "rate: ",
		`{"state":"unrouted"}`:                 "state: unrouted events belong to no tenant",
		`{"state":"open"}`:                     "state: open deliveries are not sent again",
		`{"state":"retrying"}`:                 "state: open deliveries",
		`{"state":"dead","reroute":true}`:      "state: reroute takes only unrouted events",
		`{"reroute":true}`:                     "reroute: unrouted events belong to no tenant",
		`{"until":"2026-11-24","rate":"fast"}`: "",
	} {
		_, err := ask(b, createReplay, "shop", "/", body)
		refused(t, body, err, 400, detail)
	}

	store.err = event.ErrTooMany
	c, answer := b.call("shop", "/", `{}`)
	_, err = createReplay(c)
	refused(t, "one too many", err, 429, "too many replays")
	if after := answer.Header().Get("Retry-After"); after != "10" {
		t.Errorf("Retry-After %q", after)
	}
	_, err = ask(b, readReplay, "shop", "/", "")
	refused(t, "another tenant's", err, 404, "there is no such replay")
	if got, err := ask(b, readReplay, "", "/", ""); err != nil || got.ID != "r" {
		t.Errorf("the operator gets %+v (%v)", got, err)
	}
}

// oneSubscription holds one subscription, unless it fails.
type oneSubscription struct {
	subscriptionStore
	err  error
	most int
}

func (l *oneSubscription) Subscriptions(_ context.Context, tenant, _ string,
	most int) ([]ledger.Subscription, string, error) {
	l.most = most
	return []ledger.Subscription{{Tenant: tenant, Since: noon, Expires: noon.Add(1500 * time.Microsecond),
		State: ledger.Failed}}, "next", l.err
}

func (l *oneSubscription) Unsubscribe(_ context.Context, _ string, w event.Waybill) (bool, error) {
	return w == event.Waybill{CPCode: "zt", Code: "1"}, l.err
}

func TestATenantReadsAndEndsItsOwnSubscriptions(t *testing.T) {
	t.Parallel()
	b := newBench(Options{})
	store := &oneSubscription{}
	b.subscriptions = store
	page, err := ask(b, listOwnSubscriptions, "shop", "/?limit=1000&unknown=1", "")
	if err != nil || store.most != 1000 || page.Next != "next" ||
		!page.Subscriptions[0].Expires.Equal(noon.Add(time.Millisecond)) {
		t.Errorf("%+v (%v), %d at most", page, err, store.most)
	}
	for _, limit := range []string{"0", "1001", "x"} {
		_, err := ask(b, listOwnSubscriptions, "shop", "/?limit="+limit, "")
		refused(t, limit, err, 400, "limit must be a whole number from 1 to 1000")
	}
	for waybill, want := range map[string]int{"1": 0, "2": 404} {
		c, _ := b.call("shop", "/", "")
		c.SetParamNames("cp_code", "waybill")
		c.SetParamValues("ZT", waybill)
		if status, detail := problem(removeSubscription(c)); status != want {
			t.Errorf("%s: %d %s, want %d", waybill, status, detail, want)
		}
	}
}

func TestALedgerThatFailsIsNoFaultWhereTheClientHasGone(t *testing.T) {
	t.Parallel()
	for _, gone := range []bool{false, true} {
		b := newBench(Options{})
		b.subscriptions = &oneSubscription{err: errors.New("redis does not answer")}
		c, answer := b.call("shop", "/", "")
		ctx, cancel := context.WithCancel(t.Context())
		c.SetRequest(c.Request().WithContext(ctx))
		detail, after, lines := "the ledger cannot be reached; try again", "1", 1
		if gone {
			cancel()
			detail, after, lines = "the client has gone away", "", 0
		}
		_, err := listOwnSubscriptions(c)
		cancel()
		refused(t, fmt.Sprint("gone ", gone), err, 503, detail)
		if got := answer.Header().Get("Retry-After"); got != after || b.logs.Len() != lines {
			t.Errorf("gone %v: Retry-After %q, %d lines in the log", gone, got, b.logs.Len())
		}
	}
}

// manySubscriptions holds so many subscriptions, each fiftieth of which failed.
type manySubscriptions struct {
	subscriptionStore
	n     int
	asked int
}

func (l *manySubscriptions) Subscriptions(_ context.Context, tenant, from string,
	most int) (out []ledger.Subscription, next string, _ error) {
	l.asked++
	at := len(from)
	for i := at; i < min(at+most, l.n); i++ {
		state := ledger.Live
		if i%50 == 49 {
			state = ledger.Failed
		}
		out = append(out, ledger.Subscription{Tenant: tenant, State: state, Waybill: event.Waybill{Code: fmt.Sprint(i)}})
	}
	if at+most < l.n {
		next = strings.Repeat("+", at+most)
	}
	return out, next, nil
}

func (*manySubscriptions) WaybillSubscriptions(_ context.Context, code string, _ []string,
	tenant string) ([]ledger.Subscription, error) {
	return []ledger.Subscription{{
		Tenant: cmp.Or(tenant, "any"), Waybill: event.Waybill{Code: code}, State: ledger.Live,
	}}, nil
}

func (*manySubscriptions) Subscribers(context.Context) ([]string, error) { return nil, nil }

func (l *manySubscriptions) CountSubscriptions(_ context.Context, tenant string, most int) (ledger.Counts, error) {
	looked := min(most, l.n)
	return ledger.Counts{Total: l.n, Looked: looked, Today: 3, States: map[ledger.State]int{ledger.Live: looked}}, nil
}

func TestSubscriptionsAreListedByStateAndByWaybill(t *testing.T) {
	t.Parallel()
	b := newBench(Options{})
	for _, x := range []struct {
		tenant, query string
		want          string
		next, asked   int
	}{
		{tenant: "shop", query: "state=failed&limit=10", want: "49", next: 50, asked: 5},
		{tenant: "shop", query: "state=pending&limit=1000", want: "", next: 2000, asked: 2},
		{tenant: "shop", query: "waybill_code=7", want: "7"},
		{tenant: "shop", query: "waybill_code=7&state=failed", want: ""},
		{tenant: "", query: "tenant=shop&state=failed&limit=50", want: "49", next: 50, asked: 1},
		{tenant: "", query: "waybill_code=7", want: "7"},
	} {
		store := &manySubscriptions{n: 5000}
		b.subscriptions = store
		var codes []string
		next := ""
		if x.tenant == "" {
			page, err := ask(b, listSubscriptions, x.tenant, "/?"+x.query, "")
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range page.Subscriptions {
				codes = append(codes, s.WaybillCode)
			}
			next = page.Next
		} else {
			page, err := ask(b, listOwnSubscriptions, x.tenant, "/?"+x.query, "")
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range page.Subscriptions {
				codes = append(codes, s.WaybillCode)
			}
			next = page.Next
		}
		if got := strings.Join(codes, " "); got != x.want || len(next) != x.next || store.asked != x.asked {
			t.Errorf("%s: %s, next at %d, asked %d times; want %+v", x.query, got, len(next), store.asked, x)
		}
	}
	_, err := ask(b, listSubscriptions, "", "/?state=failed", "")
	refused(t, "nobody's", err, 400, "tenant: this parameter is required, or waybill_code")
	_, err = ask(b, listOwnSubscriptions, "shop", "/?state=dead", "")
	refused(t, "a state that is none", err, 400, "state: must be pending, live or failed")
}

func TestSubscriptionsAreCountedUpToABoundOfEachAnswer(t *testing.T) {
	t.Parallel()
	b := newBench(Options{Upstream: func() Upstream { return Upstream{Configured: true, Waiting: 4} }})
	b.Use(Settings{UpstreamRate: 10, Tenants: []Tenant{{Name: "b"}, {Name: "a", DailyQuota: 100}, {Name: "c"}}})
	b.subscriptions = &manySubscriptions{n: 6000}
	got, err := ask(b, summarizeSubscriptions, "", "/?limit=2", "")
	if err != nil || len(got.Tenants) != 2 || got.Next != "b" ||
		*got.Upstream != (Upstream{Configured: true, Waiting: 4, Rate: 10}) {
		t.Fatalf("%+v, %+v, %v", got, got.Upstream, err)
	}
	first, second := got.Tenants[0], got.Tenants[1]
	if first.Tenant != "a" || first.Subscribed != 6000 || first.States[ledger.Live] != 6000 || first.AtLeast ||
		first.Today != 3 || !first.QuotaEndsAt.Equal(time.Date(2026, 11, 24, 16, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v", first)
	}
	if second.Subscribed != 6000 || second.States[ledger.Live] != 4000 || !second.AtLeast || second.Today != 0 {
		t.Errorf("%+v", second)
	}

	own, err := ask(b, summarizeSubscriptions, "c", "/", "")
	if err != nil || len(own.Tenants) != 1 || own.Tenants[0].Tenant != "c" || own.Upstream != nil {
		t.Errorf("%+v, %v", own, err)
	}
	_, err = ask(b, summarizeSubscriptions, "c", "/?tenant=b", "")
	refused(t, "another's", err, 400, "a tenant sees only its own data")
}
