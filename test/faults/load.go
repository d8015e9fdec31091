package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// loadOptions say who pushes what, and where to.
type loadOptions struct {
	pushers  int // at one time
	waybills int // of each pusher; no two share one
	// rate is how many callbacks a second all pushers make together, at most. They fall behind while answers take long.
	rate float64
	// catchUp says that they then go faster until they have made up for it.
	catchUp bool
	// where gives the URL of the relay to ask for each try.
	where func(pusher int) string
	// single says that a callback never holds more than one update.
	single bool
	// prefix makes the waybills of one load differ from those of another.
	prefix string
}

// load plays the provider: each pusher pushes the updates of its waybills, one after the other, each until it is
// answered success. One callback in four holds an update of every waybill of the pusher.
type load struct {
	o     loadOptions
	check *checker
	stop  context.CancelFunc
	group sync.WaitGroup

	mu      sync.Mutex
	answers answers
}

// answers are those of one phase of a load.
type answers struct {
	Success, Failure int
	None             int             // refused, cut off, or longer than the two seconds that the provider waits
	Spans            []time.Duration // of those that were answered at all
}

// client waits for an answer no longer than the provider does: the callback may be accepted all the same.
var client = &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 512}}

// startLoad starts the pushers. They end with ctx at the latest.
func startLoad(ctx context.Context, seed uint64, check *checker, o loadOptions) *load {
	l := &load{o: o, check: check}
	ctx, l.stop = context.WithCancel(ctx)
	for p := range o.pushers {
		r := rand.New(rand.NewPCG(seed, uint64(p)))
		l.group.Go(func() { l.run(ctx, p, r) })
	}
	return l
}

func (l *load) run(ctx context.Context, p int, r *rand.Rand) {
	pause := time.Duration(float64(l.o.pushers) / l.o.rate * float64(time.Second))
	next := time.Now().Add(rand.N(pause))
	wait := func() bool {
		err := sleep(ctx, time.Until(next))
		if late := time.Since(next); late > 0 && !l.o.catchUp {
			next = next.Add(late)
		}
		next = next.Add(pause)
		return err == nil
	}
	for n := 1; ; n++ {
		var us []update
		for w := range l.o.waybills {
			us = append(us, update{fmt.Sprintf("%s%s%d-%d", brands[w%len(brands)], l.o.prefix, p, w), n})
		}
		if !l.o.single && r.IntN(4) == 0 {
			if !wait() || !l.push(ctx, p, us) {
				return
			}
			continue
		}
		for _, u := range us {
			if !wait() || !l.push(ctx, p, []update{u}) {
				return
			}
		}
	}
}

// push repeats one callback until it is answered success, or the load ends.
func (l *load) push(ctx context.Context, p int, us []update) bool {
	l.check.pushing(us)
	for ctx.Err() == nil {
		began := time.Now()
		status, answer := post(ctx, l.o.where(p), callback(us))
		took := time.Since(began)
		if ctx.Err() != nil {
			return false
		}
		good := status == http.StatusOK && answer == "success"
		if good {
			l.check.acknowledged(us)
		}
		l.note(status, good, took)
		if good {
			return true
		}
		_ = sleep(ctx, time.Duration(10+rand.IntN(20))*time.Millisecond)
	}
	return false
}

func (l *load) note(status int, good bool, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case good:
		l.answers.Success++
	case status == 0:
		l.answers.None++
		return
	default:
		l.answers.Failure++
	}
	l.answers.Spans = append(l.answers.Spans, took)
}

// phase begins a new phase, and returns the answers of the one before.
func (l *load) phase() answers {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.answers
	l.answers = answers{}
	slices.Sort(a.Spans)
	return a
}

// end stops the pushers.
func (l *load) end() {
	l.stop()
	l.group.Wait()
}

// all is how many tries were made in a phase.
func (a answers) all() int { return a.Success + a.Failure + a.None }

// quantile of the time until an answer.
func (a answers) quantile(q float64) time.Duration {
	if len(a.Spans) == 0 {
		return 0
	}
	return a.Spans[min(int(q*float64(len(a.Spans))), len(a.Spans)-1)]
}

// callback is the body of a push of these updates.
func callback(us []update) string {
	var items []string
	for _, u := range us {
		items = append(items, u.item())
	}
	return `{"type":"express_sub_msg","data":[` + strings.Join(items, ",") + `]}`
}

// post pushes one body; the status is 0 if there was no answer.
func post(ctx context.Context, url, body string) (status int, answer string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return 0, err.Error()
	}
	req.Header.Set("Content-Type", "application/json")
	return do(req)
}

func do(req *http.Request) (status int, answer string) {
	resp, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(text)
}

// get reads a page; the status is 0 if there was no answer.
func get(ctx context.Context, url string) (status int, answer string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err.Error()
	}
	return do(req)
}

// sleep returns after d, or with an error when ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// add puts the answers of another phase to these.
func (a *answers) add(b answers) {
	a.Success, a.Failure, a.None = a.Success+b.Success, a.Failure+b.Failure, a.None+b.None
	a.Spans = append(a.Spans, b.Spans...)
	slices.Sort(a.Spans)
}
