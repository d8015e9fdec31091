package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"kuairelay/relay/signature"
	"kuairelay/test/process"
)

// endpoints is how many the receiver has: /e/0 to /e/9, and with the same numbers those that take a request and then do
// not answer (/hang/), answer 500 (/fail/), or reset the connection (/reset/).
const endpoints = 10

// receiver is all tenants in one process, as cheap as can be: it reads a delivery, notes it down, and answers 200.
type receiver struct {
	key     signature.Key
	tallies atomic.Pointer[[endpoints]tally]
	buffers sync.Pool
}

// arrivals is what the receiver tells about itself.
type arrivals struct {
	Endpoints [endpoints]arrived `json:"endpoints"`
	Latency   quantiles          `json:"latency"` // from the push of a callback to the arrival, over all that answer
}

// runReceiver is the part "receiver": it prints its URL, and serves until it is killed.
func runReceiver(ctx context.Context, _ []byte, out io.Writer) error {
	key, err := signature.ParseKey(secret)
	if err != nil {
		return err
	}
	r := &receiver{key: key, buffers: sync.Pool{New: func() any { b := make([]byte, 4096); return &b }}}
	r.tallies.Store(new([endpoints]tally))
	return serve(ctx, r, out)
}

// serve prints its URL, and serves until the process is killed.
func serve(ctx context.Context, h http.Handler, out io.Writer) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "http://%s\n", l.Addr())
	s := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	defer context.AfterFunc(ctx, func() { _ = s.Close() })()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// ServeHTTP takes deliveries, and on /-/… the questions of the benchmark.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	switch req.URL.Path {
	case "/-/reset":
		r.tallies.Store(new([endpoints]tally))
		return
	case "/-/counts":
		var counts [endpoints]int
		for i := range counts {
			t := &r.tallies.Load()[i]
			t.mu.Lock()
			counts[i] = t.Distinct
			t.mu.Unlock()
		}
		_ = json.NewEncoder(w).Encode(counts)
		return
	case "/-/arrivals":
		_ = json.NewEncoder(w).Encode(r.arrivals())
		return
	}
	how, path, _ := strings.Cut(strings.TrimPrefix(req.URL.Path, "/"), "/")
	if len(path) != 1 || path[0] < '0' || path[0] > '9' {
		http.NotFound(w, req)
		return
	}
	buffer := r.buffers.Get().(*[]byte)
	defer r.buffers.Put(buffer)
	if int(req.ContentLength) > cap(*buffer) {
		*buffer = make([]byte, req.ContentLength)
	}
	body := (*buffer)[:max(req.ContentLength, 0)]
	if _, err := io.ReadFull(req.Body, body); err != nil {
		return // its sender was killed
	}
	switch how {
	case "hang":
		<-req.Context().Done()
	case "fail":
		w.WriteHeader(http.StatusInternalServerError)
	case "reset":
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
		}
	default:
		r.take(&r.tallies.Load()[path[0]-'0'], req.Header, body)
	}
}

func (r *receiver) take(t *tally, header http.Header, body []byte) {
	if header.Get("Kuairelay-Reason") == "replay" {
		return // it was counted when it was new
	}
	now := time.Now()
	sent, serial, ok := readStamp(body)
	if !ok {
		t.mu.Lock()
		t.Unknown++
		t.mu.Unlock()
		return
	}
	id := header.Get(signature.HeaderID)
	t.add(serial, id, sent, now.UnixNano())
	if id == "" || serial%verifyEvery != 0 {
		return
	}
	err := signature.Verify([]signature.Key{r.key}, header, body, now, 0)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.Verified++; err != nil {
		t.Wrong++
	}
}

func (r *receiver) arrivals() arrivals {
	var a arrivals
	var all []int64
	for i := range a.Endpoints {
		var spans []int64
		a.Endpoints[i], spans = r.tallies.Load()[i].sum()
		all = append(all, spans...)
	}
	a.Latency = quantilesOf(all)
	return a
}

// remote is the receiver as the benchmark sees it.
type remote struct {
	url     string
	process *process.Process
}

func startReceiver(ctx context.Context) (*remote, error) {
	p, url, err := startServer(ctx, "receiver", nil)
	return &remote{url: url, process: p}, err
}

func (r *remote) ask(ctx context.Context, question string, answer any) error {
	text, err := get(ctx, r.url+"/-/"+question)
	if err != nil {
		return fmt.Errorf("ask the receiver: %w", err)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(text, answer)
}

// reset forgets all that has arrived.
func (r *remote) reset(ctx context.Context) error { return r.ask(ctx, "reset", nil) }

// wait returns when so many events have arrived at each of the first n endpoints, and fails if for stall none does. It
// calls watch, if not nil, about 50 times a second with the number of arrivals.
func (r *remote) wait(ctx context.Context, n, events int, stall time.Duration, watch func(total int)) error {
	last, moved := -1, time.Now()
	for {
		var counts [endpoints]int
		if err := r.ask(ctx, "counts", &counts); err != nil {
			return err
		}
		total, done := 0, true
		for _, c := range counts[:n] {
			total += c
			done = done && c >= events
		}
		if watch != nil {
			watch(total)
		}
		if done {
			return nil
		}
		if total != last {
			last, moved = total, time.Now()
		}
		if time.Since(moved) > stall {
			return fmt.Errorf("lost: %v of %d events each arrived, and for %s no more", counts[:n], events, stall)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// get reads a page of one of our own processes.
func get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answered %s: %.200s", url, resp.Status, text)
	}
	return text, err
}
