package relay_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
	"kuairelay/relay/store/db"
	"kuairelay/test/redisserver"
)

// BenchmarkAPIOverAMillionEvents measures how long the API's answers take over HTTP with a million events in Redis:
// 250,000 waybills with four updates each, over a hundred endpoints, and one endpoint that has twenty events of all.
// KUAIRELAY_EVENTS may say another number of events. Its figures are the slowest and the median of a hundred requests
// of each kind, in ms.
//
//	go test -run '^$' -bench API -benchtime 1x -timeout 1h ./relay
func BenchmarkAPIOverAMillionEvents(b *testing.B) {
	n := 1_000_000
	if text := os.Getenv("KUAIRELAY_EVENTS"); text != "" {
		n, _ = strconv.Atoi(text)
	}
	server := redisserver.Start(b)
	fill(b, server.URL(), n)
	var yaml strings.Builder
	yaml.WriteString(withToken(server.URL()) + "admin: {token: " + adminToken + "}\ntenants:\n")
	for t := range 10 {
		fmt.Fprintf(&yaml, "  - name: t%d\n    api_keys: [the-key-of-t%d]\n    endpoints:\n", t, t)
		for e := range 10 {
			fmt.Fprintf(&yaml, "      - {name: e%d, url: 'http://127.0.0.1:9', secrets: [%s]}\n", e, secret)
		}
		if t == 0 {
			fmt.Fprintf(&yaml, "      - {name: rare, url: 'http://127.0.0.1:9', secrets: [%s]}\n", secret)
		}
	}
	r := start(b, yaml.String())
	for _, q := range []struct{ name, key, path string }{
		{"events", adminToken, "/admin/v1/events"},
		{"events-oldest", adminToken, "/admin/v1/events?newer=true"},
		{"events-of-a-tenant", "the-key-of-t3", "/v1/events"},
		{"events-of-an-endpoint", adminToken, "/admin/v1/events?endpoint=t3/e4"},
		{"events-of-a-rare-endpoint", adminToken, "/admin/v1/events?endpoint=t0/rare"},
		{"events-by-status", adminToken, "/admin/v1/events?status=signed"},
		{"events-by-brand-nobody-has", adminToken, "/admin/v1/events?brand=nobody"},
		{"events-dead", adminToken, "/admin/v1/events?state=dead"},
		{"dead-letters", adminToken, "/admin/v1/dead-letters"},
		{"endpoints", adminToken, "/admin/v1/endpoints"},
		{"quarantine", adminToken, "/admin/v1/quarantine"},
		{"replays", adminToken, "/admin/v1/replays"},
		{"status", adminToken, "/admin/v1/status"},
		{"waybill", adminToken, "/admin/v1/waybills/*"},
	} {
		b.Run(q.name, func(b *testing.B) {
			for b.Loop() {
				var took []time.Duration
				cursor := ""
				for i := range 100 {
					path := strings.Replace(q.path, "*", fmt.Sprint(777_000_000_000+(i*7919)%(n/4)), 1)
					if cursor != "" { // each request asks for the next page, as a person who looks through the list
						path += map[bool]string{true: "&", false: "?"}[strings.Contains(path, "?")] + "cursor=" + url.QueryEscape(cursor)
					}
					began := time.Now()
					body := r.ask(b, q.key, path)
					took = append(took, time.Since(began))
					cursor = ""
					if _, rest, ok := strings.Cut(body, `"next":"`); ok && q.name != "waybill" { // there it is what to do
						cursor, _, _ = strings.Cut(rest, `"`)
					}
				}
				slices.Sort(took)
				b.ReportMetric(float64(took[50].Microseconds())/1000, "p50-ms")
				b.ReportMetric(float64(took[99].Microseconds())/1000, "max-ms")
				b.ReportMetric(0, "ns/op")
			}
		})
	}
}

func (r *running) ask(t testing.TB, key, path string) string {
	t.Helper()
	base := r.public
	if strings.HasPrefix(path, "/admin") {
		base = r.admin
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	status, body := r.do(req)
	if status != http.StatusOK {
		t.Fatalf("%s: %d %s", path, status, body)
	}
	return body
}

// fill puts events into a Redis. One in ten is delivered, one in a thousand dead; the others wait at endpoints that are
// paused.
func fill(b *testing.B, address string, n int) {
	b.Helper()
	s := openStores(b, db.Options{URL: address, Timeout: time.Minute})
	var settling sync.WaitGroup
	settle := make(chan queue.Outcome, 1000)
	for range 64 {
		settling.Go(func() {
			for o := range settle {
				if _, err := s.Settle(b.Context(), o); err != nil {
					b.Error(err)
				}
			}
		})
	}
	statuses := []string{"collected", "sending", "delivering", "signed"}
	padding := strings.Repeat("快件已到达 ", 12)
	for from := 0; from < n; from += 64 {
		var routed []queue.Routed
		for i := from; i < min(from+64, n); i++ {
			waybill, status := fmt.Sprint(777_000_000_000+i%(n/4)), statuses[i*4/n]
			sum := sha256.Sum256([]byte(waybill + status))
			ep := fmt.Sprintf("t%d/e%d", i/7%10, i%10)
			if i%(n/20) == 17 {
				ep = "t0/rare"
			}
			routed = append(routed, queue.Routed{
				Event: &event.Event{ID: "evt_" + hex.EncodeToString(sum[:]), Type: event.TypeWaybill, WaybillCode: waybill,
					CPCode: "zt", Status: status, ReceivedAt: time.Now(),
					Data: fmt.Appendf(nil, `{"waybill_code":%q,"cp_code":"zt","status":%q,`+
						`"data":[{"time":"2026-11-24 08:00:00","context":%q}]}`, waybill, status, padding)},
				To: []queue.Candidate{{Endpoint: ep, When: event.Always, Lease: time.Minute, Slot: i%10 == 0}},
			})
		}
		got, err := s.Accept(b.Context(), routed)
		if err != nil {
			b.Fatal(err)
		}
		for i, x := range got {
			for _, d := range x.Leased {
				o := queue.Outcome{Delivery: d, Kind: queue.Delivered,
					Attempt: &event.Attempt{Status: 200, Duration: 20 * time.Millisecond}}
				if (from+i)%1000 == 0 {
					o.Kind, o.Reason, o.Attempt.Status = queue.Dead, "the receiver refuses this body: 422", 422
				}
				settle <- o
			}
		}
	}
	close(settle)
	settling.Wait()
	for t := range 10 {
		for e := range 10 {
			if err := s.Park(b.Context(), fmt.Sprintf("t%d/e%d", t, e), event.Actor{}); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := s.Park(b.Context(), "t0/rare", event.Actor{}); err != nil {
		b.Fatal(err)
	}
}
