package main

import (
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"
)

// clock is how a time of day is written.
const clock = "15:04:05.000"

// update is one update of one waybill: the n-th, counted from 1. The load pushes the next one only after this was
// acknowledged.
type update struct {
	waybill string
	n       int
}

// brand is that of a waybill, for its first letters say it: routes go by it.
func (u update) brand() string {
	for _, b := range brands {
		if len(u.waybill) > len(b) && u.waybill[:len(b)] == b {
			return b
		}
	}
	return ""
}

// brands are those of the load. An endpoint gets the events of one of them, or of all.
var brands = []string{"zt", "sto", "yd"}

// item is the JSON of an update as it is pushed, and has to arrive, byte for byte.
func (u update) item() string {
	return fmt.Sprintf(`{"waybill_code":"%s", "cp_code":"%s","status":"sending","n":%d,"data":[{"time":"2026-11-24 `+
		`08:00:00","context":"第%d次 <&>"}]}`,
		u.waybill, u.brand(), u.n, u.n)
}

// arrival is one request that came to an endpoint.
type arrival struct {
	update
	id       string // webhook-id
	sequence int64  // kuairelay-sequence
	reason   string // kuairelay-reason
	item     string // data, as it came
}

// checker knows every event that was pushed and acknowledged, and what each endpoint got. Its methods may be called
// from any goroutine.
type checker struct {
	mu     sync.Mutex
	pushed map[string]int // by waybill: the highest n that was ever sent
	acked  map[update]bool
	ids    map[update]string // the webhook-id that it first came under
	owners map[string]update // by webhook-id
	got    map[string]*inbox // by endpoint
	owed   func(endpoint, brand string) bool
	open   int // deliveries of acknowledged events that have not come
	// disorder says of the first updates out of order what came, and after which.
	disorder []string
	faults
}

// faults is what must not be, and what may be within bounds.
type faults struct {
	Lost       int // acknowledged, owed, and never came
	Repeated   int // requests for what had come before
	Disordered int // first sights after that of a newer update of the waybill, or with a sequence that does not rise
	Unsigned   int // requests whose signature is missing or wrong
	Misrouted  int // requests to an endpoint that is owed nothing of the kind, or for something that nobody pushed
	Altered    int // requests whose data is not what was pushed, or whose id is not the event's own
}

// inbox is what one endpoint got.
type inbox struct {
	times   map[update]int
	waybill map[string]newest
	first   int // how many different updates came
}

// newest is the newest update of a waybill that has come, by its place and by its sequence.
type newest struct {
	n        int
	sequence int64
}

func newChecker(owed func(endpoint, brand string) bool) *checker {
	return &checker{pushed: map[string]int{}, acked: map[update]bool{}, ids: map[update]string{},
		owners: map[string]update{},
		got:    map[string]*inbox{}, owed: owed}
}

// endpoint makes an endpoint known. Only those count that are.
func (c *checker) endpoint(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got[name] = &inbox{times: map[update]int{}, waybill: map[string]newest{}}
}

// pushing notes that updates are about to be sent: from now on they may arrive.
func (c *checker) pushing(us []update) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, u := range us {
		c.pushed[u.waybill] = max(c.pushed[u.waybill], u.n)
	}
}

// acknowledged notes that updates were answered success: from now on they must arrive.
func (c *checker) acknowledged(us []update) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, u := range us {
		if !c.acked[u] {
			c.acked[u] = true
			c.open += c.absent(u)
		}
	}
}

// unsigned notes a request that is not signed as it should be.
func (c *checker) unsigned() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Unsigned++
}

// arrived notes a signed request, and returns how often its update has come to the endpoint by now.
func (c *checker) arrived(endpoint string, a arrival) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	in := c.got[endpoint]
	if in == nil || a.n < 1 || a.n > c.pushed[a.waybill] || !c.owed(endpoint, a.brand()) {
		c.Misrouted++
		return 0
	}
	if c.ids[a.update] == "" {
		c.ids[a.update] = a.id
	}
	if _, known := c.owners[a.id]; !known {
		c.owners[a.id] = a.update
	}
	if a.id == "" || a.item != a.update.item() || c.ids[a.update] != a.id || c.owners[a.id] != a.update {
		c.Altered++
	}
	in.times[a.update]++
	if in.times[a.update] > 1 {
		c.Repeated++
		return in.times[a.update]
	}
	in.first++
	if c.acked[a.update] {
		c.open--
	}
	last := in.waybill[a.waybill]
	if a.n < last.n || a.sequence <= last.sequence {
		c.Disordered++
		if len(c.disorder) < 20 {
			c.disorder = append(c.disorder, fmt.Sprintf("%s %s got %s %d (sequence %d, %s) after %d (sequence %d)",
				time.Now().Format(clock), endpoint, a.waybill, a.n, a.sequence, a.reason, last.n, last.sequence))
		}
	}
	in.waybill[a.waybill] = newest{max(a.n, last.n), max(a.sequence, last.sequence)}
	return 1
}

// absent is at how many endpoints an update is owed that has not come. It needs c.mu.
func (c *checker) absent(u update) (n int) {
	for name, in := range c.got {
		if c.owed(name, u.brand()) && in.times[u] == 0 {
			n++
		}
	}
	return n
}

// missing is how many deliveries of acknowledged events have not come.
func (c *checker) missing() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open
}

// acknowledgedNow are all events that were acknowledged up to now.
func (c *checker) acknowledgedNow() map[update]bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.acked)
}

// missingOf is how many deliveries of these events have not come.
func (c *checker) missingOf(us map[update]bool) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for u := range us {
		n += c.absent(u)
	}
	return n
}

// seen is how often an update has come to an endpoint.
func (c *checker) seen(endpoint string, u update) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.got[endpoint].times[u]
}

// firsts is how many different updates have come to an endpoint, or to all of them together (""). It only grows.
func (c *checker) firsts(endpoint string) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, in := range c.got {
		if endpoint == "" || name == endpoint {
			n += in.first
		}
	}
	return n
}

// count is how many events were acknowledged.
func (c *checker) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.acked)
}

// verdict is everything found up to now. Whoever asks waits until nothing is missing, or no longer.
func (c *checker) verdict() faults {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.faults
	f.Lost = c.open
	return f
}

// judge returns nil if nothing is wrong: of repetitions, so many may be.
func (f faults) judge(repeated int) error {
	var errs []error
	for _, w := range []struct {
		what  string
		n, at int
		says  string
	}{
		{"lost", f.Lost, 0, "deliveries of acknowledged events never came"},
		{"repeated", f.Repeated, repeated, "requests came again"},
		{"out of order", f.Disordered, 0, "updates came after a newer one of their waybill"},
		{"unsigned", f.Unsigned, 0, "requests were not signed as they should be"},
		{"misrouted", f.Misrouted, 0, "requests were owed to nobody there"},
		{"altered", f.Altered, 0, "requests were not what was pushed, or had another id"},
	} {
		if w.n > w.at {
			errs = append(errs, fmt.Errorf("%s: %d %s (at most %d may be)", w.what, w.n, w.says, w.at))
		}
	}
	return errors.Join(errs...)
}
