package store_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
	"kuairelay/relay/store"
	"kuairelay/relay/store/db"
	"kuairelay/test/redisserver"
)

// The benchmarks ask a real Redis, with an append-only file as in production: one question at a time, which shows what
// a round trip costs, and 32 at a time, which share round trips. Each event has a body of 1 KB and a waybill of its
// own.

func BenchmarkAccept(b *testing.B) {
	benchmarkShapes(b, func(b *testing.B, s *store.Store, fanOut, atOnce int) {
		routed := benchRouted(b.N, fanOut)
		atOnceDo(b, atOnce, b.N, func(ctx context.Context, i int) error {
			_, err := s.Accept(ctx, routed[i:i+1])
			return err
		})
	})
}

func BenchmarkSettle(b *testing.B) {
	benchmarkShapes(b, func(b *testing.B, s *store.Store, fanOut, atOnce int) {
		var leased []*event.Delivery
		routed := benchRouted((b.N+fanOut-1)/fanOut, fanOut)
		for len(routed) > 0 {
			n := min(64, len(routed))
			accepted, err := s.Accept(b.Context(), routed[:n])
			if err != nil {
				b.Fatal(err)
			}
			for _, a := range accepted {
				leased = append(leased, a.Leased...)
			}
			routed = routed[n:]
		}
		if len(leased) < b.N {
			b.Fatalf("%d of %d deliveries leased", len(leased), b.N)
		}
		atOnceDo(b, atOnce, b.N, func(ctx context.Context, i int) error {
			settled, err := s.Settle(ctx, queue.Outcome{Delivery: leased[i], Kind: queue.Delivered, Next: time.Minute,
				Attempt: &event.Attempt{Status: 200, Duration: time.Millisecond}})
			if err == nil && settled[0].Late {
				err = fmt.Errorf("delivery %d is settled as late", i)
			}
			return err
		})
	})
}

// BenchmarkSettleLine settles updates of one waybill, 16 in a call, which answers with the next 16; the figures are for
// one update.
func BenchmarkSettleLine(b *testing.B) {
	const run = 16
	s := benchStore(b)
	routed := benchRouted(b.N+run, 1)
	for i, e := range routed {
		e.Event.WaybillCode, e.To[0].Slot = routed[0].Event.WaybillCode, i == 0
	}
	var line []*event.Delivery
	for at := 0; at < len(routed); at += 64 {
		accepted, err := s.Accept(b.Context(), routed[at:min(at+64, len(routed))])
		if err != nil {
			b.Fatal(err)
		}
		if at == 0 {
			line = accepted[0].Leased
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += len(line) {
		outcomes := make([]queue.Outcome, len(line))
		for i, d := range line {
			outcomes[i] = queue.Outcome{Delivery: d, Kind: queue.Delivered,
				Attempt: &event.Attempt{Status: 200, Duration: time.Millisecond}}
		}
		last := &outcomes[len(line)-1]
		last.Next, last.Wanted = time.Minute, run-1
		settled, err := s.Settle(b.Context(), outcomes...)
		if err != nil {
			b.Fatal(err)
		}
		end := settled[len(line)-1]
		if line = append([]*event.Delivery{end.Next}, end.Line...); end.Next == nil {
			break
		}
	}
}

// benchmarkShapes runs a benchmark for one and for ten endpoints, with 1 and 32 questions at once, each on an empty
// Redis.
func benchmarkShapes(b *testing.B, run func(b *testing.B, s *store.Store, fanOut, atOnce int)) {
	for _, fanOut := range []int{1, 10} {
		for _, atOnce := range []int{1, 32} {
			b.Run(fmt.Sprintf("endpoints=%d/at-once=%d", fanOut, atOnce), func(b *testing.B) {
				s := benchStore(b)
				if _, err := s.Accept(b.Context(), benchRouted(1, fanOut)); err != nil { // Redis learns the script
					b.Fatal(err)
				}
				run(b, s, fanOut, atOnce)
			})
		}
	}
}

// benchStore is a store on an empty Redis of its own.
func benchStore(b *testing.B) *store.Store {
	b.Helper()
	redis := redisserver.Start(b, "--appendonly", "yes", "--appendfsync", "everysec")
	d, err := db.New(db.Options{URL: redis.URL(), Timeout: 30 * time.Second})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = d.Close() })
	return store.New(d, store.Options{})
}

// atOnceDo times n calls of do, so many of them at a time.
func atOnceDo(b *testing.B, atOnce, n int, do func(ctx context.Context, i int) error) {
	b.Helper()
	var next atomic.Int64
	var workers sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for range atOnce {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if err := do(b.Context(), i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	workers.Wait()
	b.StopTimer()
}

var benchRun atomic.Int64

// benchEntries are new events, for each of whose deliveries there is room.
func benchRouted(n, fanOut int) []queue.Routed {
	run, padding := benchRun.Add(1), strings.Repeat("包裹", 160)
	routed := make([]queue.Routed, n)
	for i := range routed {
		waybill := fmt.Sprintf("77%05d%08d", run, i)
		sum := sha256.Sum256([]byte(waybill))
		e := &event.Event{
			ID: "evt_" + hex.EncodeToString(sum[:]), Type: event.TypeWaybill, WaybillCode: waybill, CPCode: "zt",
			Status:     "sending",
			Data:       fmt.Appendf(nil, `{"waybill_code":%q,"context":%q}`, waybill, padding),
			ReceivedAt: time.UnixMilli(1_700_000_000_000),
		}
		routed[i].Event = e
		for j := range fanOut {
			routed[i].To = append(routed[i].To, queue.Candidate{
				Endpoint: fmt.Sprintf("bench/e%d", j), When: event.Always, Ordered: true, Slot: true, Lease: time.Minute,
			})
		}
	}
	return routed
}
