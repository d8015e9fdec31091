package relay_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kuairelay/relay/deliver"
	"kuairelay/relay/event"
	"kuairelay/relay/queue"
	"kuairelay/relay/signature"
	"kuairelay/relay/store"
	"kuairelay/relay/store/db"
)

// pipes is a network in memory, which does not stop the time of a bubble: a listener, and what dials to it.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newPipes() *pipes { return &pipes{make(chan net.Conn), make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// inOrder is a receiver that notes the first sight of each event, and when that was.
type inOrder struct {
	mu       sync.Mutex
	down     bool
	requests int // while down
	seen     map[string]bool
	last     map[string]int64 // sequence by waybill
	wrong    int
	slowest  time.Duration // from acceptance to the first sight
}

func (x *inOrder) take(id, waybill string, sequence int64, accepted time.Time) (ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.down {
		x.requests++
		return false
	}
	if x.seen[id] {
		return true
	}
	x.seen[id] = true
	if sequence <= x.last[waybill] {
		x.wrong++
	}
	x.last[waybill] = sequence
	x.slowest = max(x.slowest, time.Since(accepted))
	return true
}

// outageEvents is fewer than an outage brings where it has to be quick: the store in memory is slow.
var outageEvents = flag.Int("outage-events", 1000, "how many events TestAnOutageOfSixHoursCostsNothingButTime has")

// An endpoint is down for six hours of simulated time, with the defaults of the config, while events for it and for
// another endpoint are accepted: -args -outage-events 50000 takes some minutes.
func TestAnOutageOfSixHoursCostsNothingButTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const outage, batch = 6 * time.Hour, 50
		events := max(*outageEvents/batch, 1) * batch
		waybills := max(events/10, 1)
		began := time.Now()
		receivers := map[string]*inOrder{}
		for _, name := range []string{"down", "other"} {
			receivers[name] = &inOrder{seen: map[string]bool{}, last: map[string]int64{}, down: name == "down"}
		}
		network := newPipes()
		accepted := map[string]*event.Event{}
		var mu sync.Mutex
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			e := accepted[r.Header.Get("Webhook-Id")]
			mu.Unlock()
			if !receivers[r.Host].take(e.ID, e.WaybillCode, e.Sequence, e.AcceptedAt) {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		})}
		var parts sync.WaitGroup
		parts.Go(func() { _ = server.Serve(network) })

		s := openStores(t, db.Options{Timeout: time.Hour}) // embedded: the time that its work takes is none
		key, err := signature.ParseKey(signature.NewSecret())
		if err != nil {
			t.Fatal(err)
		}
		flow := queue.Pacing{Breaker: queue.Breaker{Failures: 10, Ratio: 0.5, Window: time.Minute, CoolOff: 5 * time.Second,
			MaxCoolOff: 15 * time.Minute}}
		s.Store.Use(store.Settings{Pacing: map[string]queue.Pacing{"t/down": flow, "t/other": flow}})
		var eps []*deliver.Endpoint
		for name := range receivers {
			eps = append(eps, &deliver.Endpoint{Name: "t/" + name, URL: "http://" + name + "/", Keys: []deliver.Key{{Key: key}},
				MaxBacklog: 1_000_000,
				Policy: deliver.Policy{MaxAge: 168 * time.Hour,
					Retry: []time.Duration{5 * time.Second, 5 * time.Minute, 30 * time.Minute,
						2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour}}})
		}
		pool, err := deliver.New(deliver.Options{Store: s,
			Settings: deliver.Settings{Endpoints: eps, Egress: deliver.Egress{Dial: network.dial}}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		parts.Go(func() { _ = pool.Run(ctx) }) // not that of the store: its clock is right, and nothing has to expire

		for n := 0; n < events; n += batch {
			var routed []queue.Routed
			reserved := map[string]int{}
			for i := n; i < n+batch; i++ {
				sum := sha256.Sum256(fmt.Append(nil, i))
				e := &event.Event{ID: "evt_" + hex.EncodeToString(sum[:]), Type: event.TypeWaybill,
					WaybillCode: fmt.Sprint(i % waybills), Data: []byte(`{}`)}
				var to []queue.Candidate
				for _, ep := range []string{"t/down", "t/other"} {
					c := queue.Candidate{Endpoint: ep, When: event.Always, Ordered: true, Slot: pool.Reserve(ep),
						Lease: pool.Lease(ep)}
					if c.Slot {
						reserved[ep]++
					}
					to = append(to, c)
				}
				mu.Lock()
				accepted[e.ID] = e
				mu.Unlock()
				routed = append(routed, queue.Routed{Event: e, To: to})
			}
			got, err := s.Accept(ctx, routed)
			if err != nil {
				t.Fatal(err)
			}
			var leased []*event.Delivery
			for _, a := range got {
				leased = append(leased, a.Leased...)
			}
			pool.Start(reserved, leased)
			pool.Feed("t/down")
			pool.Feed("t/other")
			time.Sleep(outage * batch / time.Duration(events))
		}
		dead, _, err := s.DeadLetters(ctx, []string{"t/down"}, "", 1)
		if err != nil || len(dead) > 0 {
			t.Errorf("dead letters: %v, %v", dead, err)
		}
		down, other := receivers["down"], receivers["other"]
		down.mu.Lock()
		down.down = false
		down.mu.Unlock()
		t.Logf("%s of simulated time, %d requests while down", time.Since(began), down.requests)
		back := time.Now()
		for range 24 * 60 {
			time.Sleep(time.Minute)
			down.mu.Lock()
			n := len(down.seen)
			down.mu.Unlock()
			if n == events {
				break
			}
		}
		t.Logf("all of it after another %s; the other one's slowest %s", time.Since(back), other.slowest)
		stop()
		_ = server.Close()
		parts.Wait()
		_ = s.Close()
		if down.requests >= 100 || down.requests < 10 {
			t.Errorf("%d requests reached it while it was down", down.requests)
		}
		for name, x := range receivers {
			if len(x.seen) != events || x.wrong > 0 {
				t.Errorf("%s: %d of %d events, %d out of order", name, len(x.seen), events, x.wrong)
			}
		}
		if other.slowest > time.Second {
			t.Errorf("the other endpoint noticed: %s", other.slowest)
		}
	})
}
