package cli

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

// update names one update of a parcel.
type update struct{ waybill, status string }

// scoreboard notes what the tenants of the demo have got.
type scoreboard struct {
	out *screen

	mu       sync.Mutex
	began    time.Time
	pushed   map[update]time.Time
	got      map[*demoTenant]map[update]bool // answered 200
	last     map[*demoTenant]map[string]int64
	refuse   update // is answered 500 once, by the first tenant that is asked
	refused  int
	retried  int
	wrong    []string // what should not be
	latency  []time.Duration
	webhooks int
	muted    map[string]bool // waybills whose updates are neither printed nor noted
}

func newScoreboard(out *screen) *scoreboard {
	return &scoreboard{
		out:    out,
		began:  time.Now(),
		pushed: map[update]time.Time{},
		got:    map[*demoTenant]map[update]bool{},
		last:   map[*demoTenant]map[string]int64{},
		muted:  map[string]bool{},
	}
}

// answer decides the HTTP status of a webhook: one delivery is refused, once.
func (b *scoreboard) answer(_ *demoTenant, got webhook) int {
	b.mu.Lock()
	defer b.mu.Unlock()

	u := update{got.Waybill, got.Status}
	if u == b.refuse && b.refused == 0 {
		b.refused++
		return http.StatusInternalServerError
	}
	return http.StatusOK
}

// show prints a webhook, and notes it.
func (b *scoreboard) show(t *demoTenant, got webhook) {
	b.mu.Lock()
	defer b.mu.Unlock()

	if b.muted[got.Waybill] {
		return
	}
	b.note(t, got)

	after := fmt.Sprintf("%.3f", got.Time.Sub(b.began).Seconds())
	cells := []cell{label(after, 7), column(t.name, 6), verifiedCell(got.Verified), answerCell(got.Answer)}
	cells = append(cells, webhookCells(got)...)
	if !got.Verified {
		cells = append(cells, marked(got.Error, bad))
	}
	b.out.row(cells...)
}

// mute has the updates of a waybill neither printed nor noted.
func (b *scoreboard) mute(waybill string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.muted[waybill] = true
}

// note checks a webhook against what its tenant is owed. The caller holds mu.
func (b *scoreboard) note(t *demoTenant, got webhook) {
	b.webhooks++
	if !got.Verified {
		b.wrong = append(b.wrong, fmt.Sprintf("%s got a webhook that does not verify: %s", t.name, got.Error))
		return
	}

	if got.Answer != http.StatusOK {
		return
	}

	u := update{got.Waybill, got.Status}
	if b.got[t] == nil {
		b.got[t] = map[update]bool{}
		b.last[t] = map[string]int64{}
	}

	// Nothing may come that is not owed, late or twice. Sequences of a waybill rise, so one that does not is late
	// or came before.
	if !t.owed[u] {
		b.wrong = append(b.wrong, fmt.Sprintf("%s got %s of %s, which it is not owed", t.name, u.status, u.waybill))
	}
	if got.Sequence <= b.last[t][u.waybill] {
		b.wrong = append(b.wrong, fmt.Sprintf("%s got %s of %s late, or twice", t.name, u.status, u.waybill))
	}

	b.last[t][u.waybill] = got.Sequence
	b.got[t][u] = true

	if at, ok := b.pushed[u]; ok {
		b.latency = append(b.latency, got.Time.Sub(at))
	}
	if got.Seen > 1 {
		b.retried++
	}
}

// missing lists the updates that tenants are owed and have not got.
func (b *scoreboard) missing(tenants []*demoTenant) []string {
	b.mu.Lock()
	defer b.mu.Unlock()

	var out []string
	for _, t := range tenants {
		for u := range t.owed {
			if !b.got[t][u] {
				out = append(out, fmt.Sprintf("%s has not got %s of %s", t.name, u.status, u.waybill))
			}
		}
	}

	slices.Sort(out)
	return out
}

// whatIsWrong lists what a tenant got that it should not have got.
func (b *scoreboard) whatIsWrong() []string {
	b.mu.Lock()
	defer b.mu.Unlock()

	return slices.Clone(b.wrong)
}
