package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"kuairelay/relay/kuaidihelp"
	"kuairelay/test/report"
)

const (
	// readers is how many connections a tenant floods each of its paths with.
	readers = 64
	// readEndpoints is how many endpoints the tenant has that reads, and readUpdates how many updates its longest waybill
	// has.
	readEndpoints = 2000
	readUpdates   = 3000

	shopKey = "bench-shop-key"
)

// flooded is what others got while a tenant flooded one of its paths.
type flooded struct {
	Path             string
	Answered, Turned int // requests: answered 200 or so, and turned away
	Answer, Latency  quantiles
	Spooled          int
	CPU, RedisCPU    float64 // cores that the relay and Redis used
}

// readPaths are the paths of a tenant, as a client writes them, with the body of a request.
var readPaths = [][2]string{
	{"", ""}, // quiet
	{"GET /v1/status"},
	{"GET /v1/events?limit=500"},
	{"GET /v1/events?status=nope&limit=500"},
	{"GET /v1/events?data=true&limit=100"},
	{"GET /v1/events/{event}"},
	{"GET /v1/waybills/{waybill}"},
	{"GET /v1/endpoints?limit=500"},
	{"GET /v1/endpoints/e1"},
	{"POST /v1/endpoints/e1/pause"},
	{"POST /v1/endpoints/e1/resume"},
	{"POST /v1/endpoints/e0/test"},
	{"", ""},
	{"GET /v1/dead-letters?limit=500"},
	{"POST /v1/dead-letters/redrive", `{"all":true}`},
	{"POST /v1/dead-letters/dismiss", `{"all":true}`},
	{"GET /v1/replays"},
	{"POST /v1/replays", `{"rate":10000,"endpoint":"e0"}`},
	{"GET /v1/replays/rpl_none"},
	{"GET /v1/subscriptions?limit=1000"},
	{"POST /v1/subscriptions", `{"cp_code":"zt","waybill_codes":"{codes}"}`},
	{"POST /api", `{"cp_code":"zt","waybill_codes":"{codes}"}`},
	{"GET /v1/subscriptions/zt/{waybill}"},
	{"DELETE /v1/subscriptions/zt/{waybill}"},
	{"", ""},
}

// measureReads has one tenant flood each path that it has, while another gets 200 callbacks a second.
func measureReads(ctx context.Context, s *session) (f figures, err error) {
	st, err := s.newRelay(ctx, "reads", "everysec", s.readingTenants())
	if err != nil {
		return f, err
	}
	defer st.close()
	events := 20_000
	if s.Quick {
		events = 1000
	}
	if _, err := s.measure(ctx, st, 1, loadOptions{Callers: callers, Events: events, Items: 50}); err != nil {
		return f, err
	}
	long := loadOptions{Callers: 1, Events: min(readUpdates, events), Items: 50, One: true}
	if _, err := s.measure(ctx, st, 1, long); err != nil {
		return f, err
	}
	event, waybill, err := st.latest(ctx)
	if err != nil {
		return f, err
	}
	fill := strings.NewReplacer("{event}", event, "{waybill}", waybill)

	for _, path := range readPaths {
		if path[0] != "" && !strings.Contains(path[0], s.Path) {
			continue
		}
		before, err := st.spooled(ctx)
		if err != nil {
			return f, err
		}
		flood, stop := context.WithCancel(ctx)
		row := flooded{Path: path[0]}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			if path[0] != "" {
				row.Answered, row.Turned = st.flood(flood, fill.Replace(path[0]), fill.Replace(path[1]))
			}
		}()
		st.name = "reads " + strings.NewReplacer("/", " ", "?", " ").Replace(path[0]) // of its profiles
		g, err := s.measure(ctx, st, 1, loadOptions{Rate: 200, Duration: s.Duration})
		stop()
		<-ended
		if err != nil {
			return f, fmt.Errorf("%s: %w", path[0], err)
		}
		if path[0] == "POST /v1/replays" { // the next path is not to be measured beside them
			if err := st.endReplays(ctx); err != nil {
				return f, err
			}
		}
		after, err := st.spooled(ctx)
		if err != nil {
			return f, err
		}
		row.Answer, row.Latency, row.Spooled = g.Answer, g.Latency, after-before
		row.CPU, row.RedisCPU = g.CPU/g.Seconds, g.RedisCPU/g.Seconds
		f.Floods = append(f.Floods, row)
		f.Events, f.Deliveries, f.Seconds = f.Events+g.Events, f.Deliveries+g.Deliveries, f.Seconds+g.Seconds
	}
	return f, nil
}

// readingTenants are rival, who is measured, and shop, who reads.
func (s *session) readingTenants() string {
	var b strings.Builder
	fmt.Fprintf(&b, `kuaidihelp: {api_url: 'http://127.0.0.1:1/api', app_id: bench, api_key: bench-shared-key}
delivery: {breaker: {failures: 0}}
tenants:
  - name: rival
    endpoints: [{name: e, url: '%s', secrets: [%s]}]
    routes: [{to: e}]
  - name: shop
    api_keys: [%s]
    routes: [{to: [e0]}, {to: [dead], match: {waybill_code: "*7"}}]
    endpoints:
      - {name: dead, url: '%s/fail/2', secrets: [%s], retry: [1s]}
`, s.urls(1)[0], secret, shopKey, s.receiver.url, secret)
	for i := range readEndpoints {
		fmt.Fprintf(&b, "      - {name: e%d, url: '%s', secrets: [%s]}\n", i, s.urls(2)[1], secret)
	}
	return b.String()
}

// flood asks as fast as it is answered, on as many connections as there are readers.
func (st *stand) flood(ctx context.Context, path, body string) (answered, turned int) {
	method, path, _ := strings.Cut(path, " ")
	var good, refused atomic.Int64
	client := newClient(readers)
	defer client.CloseIdleConnections()
	var asking sync.WaitGroup
	for range readers {
		asking.Go(func() {
			for ctx.Err() == nil {
				body := body
				if before, after, ok := strings.Cut(body, "{codes}"); ok { // each time others
					body = before + codes(1000, int(st.subscribed.Add(1))) + after
				}
				status, text, err := st.ask(ctx, client, method, path, body)
				switch {
				case err != nil:
				case status == http.StatusTooManyRequests || strings.Contains(text, `"code":1008`):
					refused.Add(1)
				default:
					good.Add(1)
				}
			}
		})
	}
	asking.Wait()
	return int(good.Load()), int(refused.Load())
}

// ask makes a request of shop's. On /api the body is the data of a call.
func (st *stand) ask(ctx context.Context, client *http.Client, method, path, body string) (int, string, error) {
	base, _, _ := strings.Cut(st.push, "/callback/")
	if path == "/api" {
		ts := strconv.FormatInt(time.Now().Unix(), 10)
		body = url.Values{"app_id": {"shop"}, "method": {kuaidihelp.MethodSubscribe}, "ts": {ts}, "data": {body},
			"sign": {kuaidihelp.Sign("shop", kuaidihelp.MethodSubscribe, ts, shopKey)}}.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, base+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	if path == "/api" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	req.Header.Set("Authorization", "Bearer "+shopKey)
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

// endReplays cancels those of shop that are open.
func (st *stand) endReplays(ctx context.Context) error {
	for ctx.Err() == nil {
		status, text, err := st.ask(ctx, http.DefaultClient, http.MethodGet, "/v1/replays", "")
		if err != nil {
			return err
		}
		if status == http.StatusTooManyRequests {
			continue // it is answered after a while
		}
		open := 0
		for _, replay := range strings.Split(text, `"id":"`)[1:] {
			id, rest, _ := strings.Cut(replay, `"`)
			if !strings.Contains(rest, `"state":"running"`) {
				continue
			}
			open++
			if _, _, err := st.ask(ctx, http.DefaultClient, http.MethodDelete, "/v1/replays/"+id, ""); err != nil {
				return err
			}
		}
		if open == 0 {
			return nil
		}
	}
	return ctx.Err()
}

// latest gives the id and the waybill of the latest event.
func (st *stand) latest(ctx context.Context) (event, waybill string, err error) {
	status, text, err := st.ask(ctx, http.DefaultClient, http.MethodGet, "/v1/events?limit=1", "")
	if err != nil {
		return "", "", err
	}
	field := func(name string) string {
		_, after, _ := strings.Cut(text, `"`+name+`":"`)
		value, _, _ := strings.Cut(after, `"`)
		return value
	}
	if event, waybill = field("id"), field("waybill_code"); event == "" || waybill == "" {
		return "", "", fmt.Errorf("list events: %d %s", status, text)
	}
	return event, waybill, nil
}

// spooled is how many callbacks the relay has put into its spool.
func (st *stand) spooled(ctx context.Context) (int, error) {
	text, err := get(ctx, st.admin+"/metrics")
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(text), "\n"+`kuairelay_spool_callbacks_total{result="written"} `)
	line, _, _ := strings.Cut(after, "\n")
	n, err := strconv.ParseFloat(line, 64)
	return int(n), err
}

// codes are n waybills, as one text, other ones in each request.
func codes(n, request int) string {
	const digits = 15
	text := bytes.Repeat([]byte("880000000000000,"), n)
	for i := range n {
		code := text[i*(digits+1):][:digits]
		putDigits(code[2:11], int64(request))
		putDigits(code[11:], int64(i))
	}
	return string(text[:len(text)-1])
}

// floodTable has a row for each path that a tenant floods, with medians over the rounds.
func (r results) floodTable() *report.Table {
	t := &report.Table{Head: []string{"flooded by a tenant", "answered", "turned away", "callback p50", "p99", "by quiet",
		"arrival p50", "p99", "by quiet", "spooled",
		"CPU", "Redis' CPU"}}
	rounds := r[reads]
	for i, first := range rounds[0].Floods {
		path := "nothing"
		if first.Path != "" {
			path = "`" + first.Path + "`"
		}
		over := func(of func(flooded) float64) float64 {
			return r.of(reads, func(f figures) float64 { return of(f.Floods[i]) })
		}
		byQuiet := func(of func(flooded) float64) string {
			return plain(r.of(reads, func(f figures) float64 { return of(f.Floods[i]) / f.quietFlood(of) }))
		}
		count := func(of func(flooded) int) string {
			return report.Count(over(func(row flooded) float64 { return float64(of(row)) }))
		}
		answer, latency := func(f flooded) float64 { return f.Answer.P99 }, func(f flooded) float64 { return f.Latency.P99 }
		t.Add(path, count(func(f flooded) int { return f.Answered }), count(func(f flooded) int { return f.Turned }),
			millis(over(func(f flooded) float64 { return f.Answer.P50 })), millis(over(answer)), byQuiet(answer),
			millis(over(func(f flooded) float64 { return f.Latency.P50 })), millis(over(latency)), byQuiet(latency),
			report.Count(r.most(func(f figures) float64 { return float64(f.Floods[i].Spooled) }, reads)),
			percent(over(func(f flooded) float64 { return f.CPU })), percent(over(func(f flooded) float64 {
				return f.RedisCPU
			})))
	}
	return t
}

// quietFlood is the median of a quantity of a round while nothing was flooded.
func (f figures) quietFlood(of func(flooded) float64) float64 {
	var quiet []float64
	for _, row := range f.Floods {
		if row.Path == "" {
			quiet = append(quiet, of(row))
		}
	}
	return median(quiet)
}
