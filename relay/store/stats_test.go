package store

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"kuairelay/relay/stats"
	"kuairelay/relay/store/db"
	"kuairelay/test/redisserver"
)

// busyMinute is a minute of an endpoint that gets about so many deliveries a second, of which some fail, and that has a
// backlog.
func busyMinute(subject string, minute int64, perSecond float64, random *rand.Rand) stats.Cell {
	c := stats.Cell{Subject: subject, Minute: minute}
	some := func(share float64) int64 { return int64(60*perSecond*share*(0.5+random.Float64()) + random.Float64()) }
	for m, share := range map[stats.Measure]float64{
		stats.Delivered: 1, stats.Timeout: 0.01, stats.Connect: 0.01, stats.ServerError: 0.05, stats.Refused: 0.002,
		stats.Dead: 0.001, stats.Open: 0.1, stats.Waiting: 0.02, stats.Oldest: 0.2, stats.DeadLetters: 1,
	} {
		c.Counts[m] = some(share)
	}
	for place, share := range []float64{0, 0, 0.001, 0.02, 0.2, 0.4, 0.2, 0.1, 0.05, 0.01, 0.005, 0.002, 0.001, 0.0005,
		0.01} {
		c.Took[place] = some(share)
		c.Waited[place+1] = some(share)
	}
	return c
}

// statsCall is the number of the latest call in this file.
var statsCall atomic.Int64

// fillDay writes 25 hours of a busy endpoint, until a minute, and the hours of the 14 days before.
func fillDay(t testing.TB, s *Store, subject string, until int64, perSecond float64) {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	var minutes []int64
	for hour := int64(15*24 - 1); hour >= 25; hour-- {
		minutes = append(minutes, until-60*hour)
	}
	for minute := int64(25 * 60); minute > 0; minute-- {
		minutes = append(minutes, until-minute)
	}

	for len(minutes) > 0 {
		n := min(StatsMost, len(minutes))
		var cells []stats.Cell
		for _, minute := range minutes[:n] {
			c := busyMinute(subject, minute, perSecond, random)
			if len(minutes) > 25*60 { // it stands for its hour
				for place := range c.Took {
					c.Took[place] *= 60
					c.Waited[place] *= 60
				}
				for m := stats.Delivered; m <= stats.Dead; m++ {
					c.Counts[m] *= 60
				}
			}
			cells = append(cells, c)
		}
		if err := s.AddStats(t.Context(), statsCall.Add(1), cells); err != nil {
			t.Fatal(err)
		}
		minutes = minutes[n:]
	}
}

// memoryOf is what the statistics of a subject take that are kept until a minute.
func memoryOf(t testing.TB, s *Store, subject string, until int64) (sum int64) {
	t.Helper()
	end := time.Unix(until*60, 0)
	for _, r := range []struct {
		span, step time.Duration
	}{{25 * time.Hour, time.Minute}, {stats.HoursKept, time.Hour}} {
		for _, p := range stats.SpanOf(end.Add(-r.span), end, r.step).Pages(subject) {
			key := s.statsKey(p)
			n, err := s.db.Client.MemoryUsage(t.Context(), key).Result()
			if err != nil {
				t.Fatal(err)
			}
			if encoding := s.db.Client.ObjectEncoding(t.Context(), key).Val(); encoding == "hashtable" {
				t.Errorf("%s is kept as a hash table", key)
			}
			t.Logf("%s: %d rows, %d bytes", key, s.db.Client.HLen(t.Context(), key).Val(), n)
			sum += n
		}
	}
	return sum
}

func TestStatisticsOfABusyEndpointTakeAtMost190KB(t *testing.T) {
	t.Parallel()
	s := newStore(t, redisserver.Start(t).URL())
	const until = 29_000_160 + 17
	for _, perSecond := range []float64{1, 100} {
		subject := fmt.Sprint("shop/orders-", perSecond)
		fillDay(t, s, subject, until, perSecond)
		sum := memoryOf(t, s, subject, until)
		t.Logf("with %g deliveries a second: %d bytes", perSecond, sum)
		if sum > 190_000 {
			t.Errorf("with %g deliveries a second they take %d bytes", perSecond, sum)
		}
	}
}

// BenchmarkStats adds what 32 busy endpoints have counted in 10 s to the statistics of a whole day. The figures are for
// one endpoint; redis-µs is the CPU time of Redis for it.
func BenchmarkStats(b *testing.B) {
	server := redisserver.Start(b)
	s := openStore(b, db.Options{URL: server.URL()}, Options{})
	const until = 29_000_160 + 17
	var cells []stats.Cell
	random := rand.New(rand.NewPCG(3, 4))
	for i := range StatsMost {
		subject := fmt.Sprint("shop/orders-", i)
		fillDay(b, s, subject, until, 1)
		cell := busyMinute(subject, until, 1.0/6, random)
		for m := stats.Open; m <= stats.DeadLetters; m++ { // they are noted once a minute
			cell.Counts[m] = 0
		}
		cells = append(cells, cell)
	}
	before := cpuTime(b, server)

	b.ResetTimer()
	for i := 0; i < b.N; i += StatsMost {
		if err := s.AddStats(b.Context(), statsCall.Add(1), cells); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	calls := (b.N + StatsMost - 1) / StatsMost * StatsMost
	b.ReportMetric((cpuTime(b, server)-before)/float64(calls), "redis-µs")
}

// cpuTime is how long a Redis has worked so far, in µs.
func cpuTime(t testing.TB, server *redisserver.Server) (sum float64) {
	t.Helper()
	info, err := server.Do("INFO", "cpu")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`used_cpu_(?:user|sys):([0-9.]+)`).FindAllStringSubmatch(info, -1) {
		seconds, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += 1e6 * seconds
	}
	return sum
}
