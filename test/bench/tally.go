package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
)

// verifyEvery is the share of deliveries whose signature is checked: one in so many.
const verifyEvery = 64

// tally is what has arrived at one endpoint.
type tally struct {
	mu        sync.Mutex
	ids       []uint64 // by serial number: the beginning of the webhook-id; 0: not arrived
	latencies []int64  // ns, from the push of the callback
	arrived
}

// arrived sums up a tally.
type arrived struct {
	Distinct   int   `json:"distinct"`   // events that came, by their serial numbers
	IDs        int   `json:"ids"`        // how many different webhook-ids they had
	Repeated   int   `json:"repeated"`   // requests for an event that had come before
	Disordered int   `json:"disordered"` // events that came after one with a higher serial number
	Unsigned   int   `json:"unsigned"`   // requests without a webhook-id
	Verified   int   `json:"verified"`   // signatures that were checked
	Wrong      int   `json:"wrong"`      // of these, those that do not hold
	Unknown    int   `json:"unknown"`    // requests that are no delivery of ours
	First      int64 `json:"first"`      // unix ns
	Last       int64 `json:"last"`

	highest int
}

// add notes an arrival. id is empty where the sender has none.
func (t *tally) add(serial int, id string, sent, now int64) {
	mark, err := uint64(serial)+1, error(nil)
	t.mu.Lock()
	defer t.mu.Unlock()
	if id == "" {
		t.Unsigned++
	} else if mark, err = idMark(id); err != nil {
		t.Unknown++
		return
	}
	if serial >= len(t.ids) {
		t.ids = append(t.ids, make([]uint64, serial+1-len(t.ids)+100_000)...)
	}
	if t.ids[serial] != 0 {
		t.Repeated++
		return
	}
	t.ids[serial] = mark
	t.latencies = append(t.latencies, now-sent)
	if t.Distinct++; t.Distinct == 1 {
		t.First = now
	}
	t.Last = now
	if serial < t.highest {
		t.Disordered++
	}
	t.highest = max(t.highest, serial)
}

// idMark is the first 64 bits of the hash that an event's id is made of: enough to tell some millions apart.
func idMark(id string) (uint64, error) {
	if len(id) < 20 {
		return 0, errors.New("too short")
	}
	mark, err := strconv.ParseUint(id[4:20], 16, 64)
	return max(mark, 1), err
}

// sum returns what has arrived, and how long it took, in no order.
func (t *tally) sum() (arrived, []int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	ids := slices.DeleteFunc(slices.Clone(t.ids), func(id uint64) bool { return id == 0 })
	slices.Sort(ids)
	t.IDs = len(slices.Compact(ids))
	return t.arrived, slices.Clone(t.latencies)
}

// complete returns nil if exactly this many events have come, each once, signed, under an id of its own.
func (a arrived) complete(events int, signed bool) error {
	switch {
	case a.Distinct != events:
		return fmt.Errorf("%d of %d events arrived", a.Distinct, events)
	case a.Unknown > 0:
		return fmt.Errorf("%d requests that are no deliveries", a.Unknown)
	case a.Repeated > 0:
		return fmt.Errorf("%d of %d events arrived more than once", a.Repeated, events)
	case signed && a.IDs != events:
		return fmt.Errorf("%d different webhook-ids for %d events", a.IDs, events)
	case signed && a.Unsigned > 0:
		return fmt.Errorf("%d of %d requests had no webhook-id", a.Unsigned, events)
	case a.Wrong > 0:
		return fmt.Errorf("%d of %d signatures do not hold", a.Wrong, a.Verified)
	case signed && a.Verified == 0 && events >= verifyEvery:
		return errors.New("no signature was checked")
	}
	return nil
}

// quantiles of a span, in seconds.
type quantiles struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// quantilesOf sorts the spans, which are in nanoseconds.
func quantilesOf(spans []int64) quantiles {
	if len(spans) == 0 {
		return quantiles{}
	}
	slices.Sort(spans)
	at := func(share float64) float64 {
		return float64(spans[min(int(share*float64(len(spans))), len(spans)-1)]) / 1e9
	}
	return quantiles{P50: at(0.5), P95: at(0.95), P99: at(0.99), Max: at(1)}
}
