package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"kuairelay/relay/kuaidihelp/fake"
)

// loadOptions say what a load generator pushes.
type loadOptions struct {
	URL string `json:"url"` // of the callback path
	Run int    `json:"run"` // names this load: no other has the same waybills
	// Callers push one callback after the other, as fast as they are answered. With a Rate there are as many as it takes.
	Callers int `json:"callers"`
	// Rate is callbacks a second, pushed on time whatever becomes of the earlier ones.
	Rate int `json:"rate"`
	// Events is how many to push; 0: as many as fit into Duration.
	Events   int           `json:"events"`
	Duration time.Duration `json:"duration"`
	Items    int           `json:"items"` // of a callback; 0 is 1
	One      bool          `json:"one"`   // all items are updates of one waybill
}

// pushed is what a load generator did.
type pushed struct {
	Events int       `json:"events"`
	First  int64     `json:"first"` // unix ns of the first push
	Answer quantiles `json:"answer"`
	Bytes  int       `json:"bytes"` // of all callbacks
}

// runLoad is the part "load": it pushes until it is done, and prints what it did. Every callback must be answered
// success.
func runLoad(ctx context.Context, text []byte, out io.Writer) error {
	var o loadOptions
	if err := json.Unmarshal(text, &o); err != nil {
		return err
	}
	o.Items = max(o.Items, 1)
	made, err := newCallbacks(o.Run, o.One)
	if err != nil {
		return err
	}
	g := &generator{loadOptions: o, made: made, client: newClient(max(o.Callers, 256))}
	started := time.Now()
	g.end = started.Add(o.Duration)
	if o.Rate > 0 {
		g.steady(ctx)
	} else {
		g.closed(ctx)
	}
	if g.failed != nil {
		return g.failed
	}
	return json.NewEncoder(out).Encode(pushed{
		Events: int(g.next.Load()), First: started.UnixNano(), Answer: quantilesOf(g.answers), Bytes: int(g.bytes.Load()),
	})
}

type generator struct {
	loadOptions
	made   *callbacks
	client *http.Client
	end    time.Time
	next   atomic.Int64
	bytes  atomic.Int64

	mu      sync.Mutex
	answers []int64
	failed  error
}

// claim gives the serial number of the next callback's first item, or false if there is to be none.
func (g *generator) claim() (int, bool) {
	if g.Events == 0 && !time.Now().Before(g.end) {
		return 0, false
	}
	for {
		n := g.next.Load()
		if g.Events > 0 && n >= int64(g.Events) {
			return 0, false
		}
		if g.next.CompareAndSwap(n, n+int64(g.Items)) {
			return int(n), true
		}
	}
}

// closed has callers that each wait for the answer.
func (g *generator) closed(ctx context.Context) {
	var callers sync.WaitGroup
	for range g.Callers {
		callers.Go(func() {
			var buf []byte
			var answers []int64
			for {
				serial, ok := g.claim()
				if !ok || ctx.Err() != nil {
					break
				}
				buf = buf[:0]
				took, err := g.push(ctx, &buf, serial)
				if err != nil {
					g.fail(err)
					break
				}
				answers = append(answers, took)
			}
			g.mu.Lock()
			g.answers = append(g.answers, answers...)
			g.mu.Unlock()
		})
	}
	callers.Wait()
}

// steady keeps the rate, and waits for no answer.
func (g *generator) steady(ctx context.Context) {
	var callers sync.WaitGroup
	started, pause := time.Now(), time.Second/time.Duration(g.Rate)
	for i := 0; ctx.Err() == nil; i++ {
		time.Sleep(time.Until(started.Add(time.Duration(i) * pause)))
		serial, ok := g.claim()
		if !ok {
			break
		}
		callers.Go(func() {
			took, err := g.push(ctx, new([]byte), serial)
			if err != nil {
				g.fail(err)
			}
			g.mu.Lock()
			g.answers = append(g.answers, took)
			g.mu.Unlock()
		})
	}
	callers.Wait()
}

// push pushes one callback, and returns how long its answer took, in nanoseconds.
func (g *generator) push(ctx context.Context, buf *[]byte, serial int) (int64, error) {
	started := time.Now()
	*buf = g.made.appendTo(*buf, started.UnixNano(), serial, g.Items)
	g.bytes.Add(int64(len(*buf)))
	status, answer, err := fake.Push(ctx, g.client, g.URL, "application/json", *buf)
	if err == nil && (status != http.StatusOK || answer != "success") {
		err = fmt.Errorf("a callback was answered %d %q", status, answer)
	}
	return int64(time.Since(started)), err
}

func (g *generator) fail(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.failed = errors.Join(g.failed, err)
}

// newClient is the HTTP client of load, post loop and forwarder: net/http as it comes, with enough connections kept
// alive.
func newClient(connections int) *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConns: connections, MaxIdleConnsPerHost: connections,
		DisableCompression: true}}
}
