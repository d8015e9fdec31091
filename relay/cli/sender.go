package cli

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"kuairelay/relay/kuaidihelp/fake"
)

const (
	// failureAck is the failure of an answer 200 whose text is not what it should be.
	failureAck = "200 with another answer than --ack"
	// maxTracks is how many tracks a parcel gets before another takes its place, where no journey ends it.
	maxTracks = 12
	// maxRecent is how many of the latest callbacks of a lane may be repeated.
	maxRecent = 32
)

// callback is a callback to push.
type callback struct {
	contentType string
	body        []byte
	items       int
	repeat      bool // it was pushed before
}

// sender pushes callbacks in lanes. A lane has one request at a time, and a parcel stays in its lane, so that its
// updates arrive in order.
type sender struct {
	o      sendOptions
	to     *url.URL
	client *http.Client
	random *rand.Rand
	next   func(lane int) callback
	lanes  int
}

func newSender(o sendOptions, to *url.URL) *sender {
	if o.seed == 0 {
		o.seed = 1 + rand.Uint64N(1<<32)
	}

	s := &sender{
		o:      o,
		to:     to,
		client: httpClient(o.concurrency, 30*time.Second),
		random: rand.New(rand.NewPCG(o.seed, 1)),
		lanes:  min(o.concurrency, o.waybills),
	}

	// The parcels are dealt out to the lanes; each is made up when its turn comes.
	lanes := make([]lane, s.lanes)
	parcels := fake.NewParcels(o.seed, o.brands)
	made := 0
	for i := range o.waybills {
		l := &lanes[i%s.lanes]
		l.underWay = append(l.underWay, nil)
	}

	s.next = func(i int) callback {
		l := &lanes[i]
		if len(l.sent) > 0 && s.random.Float64() < o.duplicates {
			c := l.sent[s.random.IntN(len(l.sent))]
			c.repeat = true
			return c
		}

		c := l.make(s, parcels, made)
		made++

		// The last callbacks of a lane are kept, in a ring, to be repeated.
		if len(l.sent) < maxRecent {
			l.sent = append(l.sent, c)
		} else {
			l.sent[made%maxRecent] = c
		}
		return c
	}
	return s
}

// repeat makes the sender push c each time, in place of made-up callbacks.
func (s *sender) repeat(c callback) {
	s.o.seed = 0
	s.lanes = s.o.concurrency
	first := true
	s.next = func(int) callback {
		c.repeat = !first
		first = false
		return c
	}
}

// lane holds the parcels of one worker.
type lane struct {
	underWay []*fake.Parcel
	sent     []callback // the last ones
	turn     int
}

// make makes up the n-th callback.
func (l *lane) make(s *sender, parcels *fake.Parcels, n int) callback {
	encoding := s.o.encoding
	if encoding == allEncodings {
		var fit []string
		for _, e := range fake.Encodings() {
			if e != fake.Object || s.o.items == 1 {
				fit = append(fit, e)
			}
		}
		encoding = fit[n%len(fit)]
	}

	items := make([]fake.Item, s.o.items)
	for i := range items {
		items[i] = l.update(s, parcels)
	}

	contentType, body, err := fake.Encode(encoding, items)
	if err != nil {
		panic(err) // check refused every wrong encoding
	}
	return callback{contentType: contentType, body: body, items: len(items)}
}

// update makes up what happens next to one of the lane's parcels.
func (l *lane) update(s *sender, parcels *fake.Parcels) fake.Item {
	i := s.random.IntN(len(l.underWay))
	if l.underWay[i] == nil {
		l.underWay[i] = parcels.New()
	}

	p := l.underWay[i]
	var item fake.Item
	if len(s.o.statuses) > 0 {
		item = p.Update(s.o.statuses[l.turn%len(s.o.statuses)])
		l.turn++
	} else {
		item = p.Next()
	}

	if p.Signed() || len(item.Tracks) >= maxTracks {
		l.underWay[i] = nil
	}
	return item
}

// run pushes all callbacks, or as many as it can before ctx is cancelled, and returns what came of them.
func (s *sender) run(ctx context.Context, progress *screen) *sent {
	sum := &sent{To: redact(s.to), Failures: map[string]int{}, Seed: s.o.seed}
	started := time.Now()

	var mu sync.Mutex // guards sum

	// A worker for each lane pushes what the lane is given, one after the other.
	var workers sync.WaitGroup
	queues := make([]chan callback, s.lanes)
	for i := range queues {
		queues[i] = make(chan callback, 1)
		workers.Go(func() {
			for c := range queues[i] {
				began := time.Now()
				failure := s.push(ctx, c)
				if ctx.Err() != nil && failure != "" {
					continue // cut short by us
				}

				mu.Lock()
				sum.add(c, failure, time.Since(began))
				mu.Unlock()
			}
		})
	}

	stop := s.showProgress(progress, func() (int, int) {
		mu.Lock()
		defer mu.Unlock()
		return sum.Sent, sum.Failed
	})

	// The lanes take turns. A lane that is slow holds the others up, so that the rate and the order are kept.
	for i := range s.o.count {
		if !s.wait(ctx, started, i) {
			break
		}

		lane := i % s.lanes
		select {
		case queues[lane] <- s.next(lane):
		case <-ctx.Done():
		}
	}

	for _, q := range queues {
		close(q)
	}
	workers.Wait()
	stop()

	sum.finish(time.Since(started))
	sum.Unfinished = s.o.count - sum.Sent
	return sum
}

// wait waits until the n-th callback is due. It returns false if ctx was cancelled.
func (s *sender) wait(ctx context.Context, started time.Time, n int) bool {
	if s.o.rate > 0 {
		due := started.Add(time.Duration(float64(n) / s.o.rate * float64(time.Second)))
		if pause := time.Until(due); pause > 0 {
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
		}
	}
	return ctx.Err() == nil
}

// push pushes one callback, and returns what is wrong with the answer; empty: nothing.
func (s *sender) push(ctx context.Context, c callback) string {
	status, answer, err := fake.Push(ctx, s.client, s.to.String(), c.contentType, c.body)
	switch {
	case err != nil:
		return why(err)
	case status != http.StatusOK:
		return strings.TrimSpace(fmt.Sprintf("%d %s", status, http.StatusText(status)))
	case answer != s.o.ack:
		return failureAck
	}
	return ""
}

// showProgress keeps a line up to date on a terminal, until stop is called.
func (s *sender) showProgress(on *screen, now func() (done, failed int)) (stop func()) {
	if !on.terminal {
		return func() {}
	}

	quit := make(chan struct{})
	var shown sync.WaitGroup
	shown.Go(func() {
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				done, failed := now()
				fmt.Fprintf(on.w, "\r%d of %d sent, %d failed ", done, s.o.count, failed)
			case <-quit:
				fmt.Fprint(on.w, "\r\x1b[K")
				return
			}
		}
	})

	return func() { close(quit); shown.Wait() }
}
