package relay

import (
	"context"
	"testing"
	"time"

	"go.uber.org/zap"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
	"kuairelay/relay/stats"
	"kuairelay/relay/store"
	"kuairelay/relay/store/db"
	"kuairelay/test/redisserver"
)

// countingFor makes the statistics of a replica that writes to a Redis.
func countingFor(t *testing.T, redis *redisserver.Server) *statistics {
	t.Helper()
	st, err := openStores(db.Options{URL: redis.URL(), Timeout: 10 * time.Second}, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	s := newStatistics(st, zap.NewNop())
	s.counters.Use(true)
	return s
}

// written is the sum of a subject over the last hours, as Redis has it.
func (s *statistics) written(t *testing.T, subject string) stats.Row {
	t.Helper()
	now := s.store.Now()
	span := stats.SpanOf(now.Add(-3*time.Hour), now.Add(time.Minute), time.Minute)
	rows, err := s.store.Stats(t.Context(), span.Pages(subject))
	if err != nil {
		t.Fatal(err)
	}
	series := stats.NewSeries(span)
	for i, p := range span.Pages(subject) {
		series.Add(p, rows[i])
	}
	return series.Total.Counts
}

func TestStatisticsGatherWhileRedisIsDownAndCountOnce(t *testing.T) {
	t.Parallel()
	redis := redisserver.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	s := countingFor(t, redis)
	const endpoints = 2 * store.StatsMost
	count := func() {
		for i := range endpoints {
			s.counters.Add("shop/"+string(rune('a'+i)), stats.Sample{What: stats.Delivered})
		}
	}
	count()
	if err := s.flush(t.Context()); err != nil {
		t.Fatal(err)
	}

	// Redis goes away in the middle: what it was sent may be there.
	count()
	s.unsent = s.counters.Take()
	if err := s.send(t.Context(), s.unsent[:store.StatsMost]); err != nil {
		t.Fatal(err)
	}
	s.again = true // as if the answer had not come
	redis.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := s.flush(ctx); err == nil {
		t.Error("they were written to a Redis that is not there")
	}
	count()
	if err := redis.Restart(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // what was taken before, and what was counted since
		if err := s.store.WaitUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := s.flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.counters.Held(); n != 0 {
		t.Errorf("%d are still in memory", n)
	}

	for _, subject := range []string{"shop/a", "shop/" + string(rune('a'+endpoints-1))} {
		if got := s.written(t, subject)[stats.Delivered]; got != 3 {
			t.Errorf("%s: 3 were counted, and there are %d", subject, got)
		}
	}
	if got := s.written(t, stats.All)[stats.Delivered]; got != 3*endpoints {
		t.Errorf("all: %d, want %d", got, 3*endpoints)
	}
}

func TestWhatWasCountedLastIsWrittenWhenARelayStops(t *testing.T) {
	t.Parallel()
	s := countingFor(t, redisserver.Start(t))
	s.counters.Add("shop/a", stats.Sample{What: stats.Delivered})
	s.last(t.Context())
	if got := s.written(t, "shop/a")[stats.Delivered]; got != 1 {
		t.Errorf("%d are written", got)
	}
}

func TestOneReplicaNotesWhatIsOpen(t *testing.T) {
	t.Parallel()
	redis := redisserver.Start(t)
	s, other := countingFor(t, redis), countingFor(t, redis)
	routed := func(waybill, digit string) queue.Routed {
		id := "evt_"
		for range 64 {
			id += digit
		}
		e := &event.Event{ID: id, Type: event.TypeWaybill, WaybillCode: waybill, Data: []byte("{}")}
		return queue.Routed{Event: e, To: []queue.Candidate{
			{Endpoint: "shop/a", When: event.Always, Ordered: true, Lease: time.Minute},
			{Endpoint: "shop/b", When: event.Always, Ordered: true, Lease: time.Minute},
		}}
	}
	for digit, waybill := range map[string]string{"1": "1", "2": "1", "3": "2"} {
		if _, err := s.store.Accept(t.Context(), []queue.Routed{routed(waybill, digit)}); err != nil {
			t.Fatal(err)
		}
	}

	for _, replica := range []*statistics{s, other} {
		if err := replica.gauge(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for subject, want := range map[string][2]int64{"shop/a": {2, 1}, "shop/": {4, 2}, stats.All: {4, 2}} {
		got := s.written(t, subject)
		if got[stats.Open] != want[0] || got[stats.Waiting] != want[1] || got[stats.DeadLetters] != 0 {
			t.Errorf("%s: %v", subject, got)
		}
	}
	if n := other.counters.Held(); n != 0 {
		t.Errorf("the other replica has noted %d, too", n)
	}
}
