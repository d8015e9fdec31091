package route

import (
	"bytes"
	"fmt"
	"time"

	"github.com/expr-lang/expr/vm"

	"kuairelay/relay/event"
)

// subject is the event that conditions are evaluated for. It is prepared for them once, and only as far as they need
// it. It also counts their cost.
type subject struct {
	event    *event.Event
	prepared bool
	measured bool
	large    bool // too large for expressions that look into it
	budget   int  // what the expressions of one tenant may cost
	decoded  bool
	tracked  bool  // view has the tracks
	timed    bool  // with their times
	err      error // of decoding
	view     view
	env      env
	machine  vm.VM

	tenant      string // whose expressions are evaluated
	tenantSpent int
	spent       int
}

// env has the names that an expression can use; they are those of the config.
type env struct {
	Event *view `expr:"event"`
}

// view is an event as expressions see it.
type view struct {
	Type        string    `expr:"type"`
	WaybillCode string    `expr:"waybill_code"`
	CPCode      string    `expr:"cp_code"`
	Status      string    `expr:"status"`
	Tracks      []*track  `expr:"tracks"`
	Data        any       `expr:"data"`
	ReceivedAt  time.Time `expr:"received_at"`

	left int // what is left of the budget
}

// track is an event.Track with its time.
type track struct {
	Time    string     `expr:"time"`
	Context string     `expr:"context"`
	Status  string     `expr:"status"`
	At      *time.Time `expr:"at"` // nil: Time is not a time
}

// String prints a track as it came.
func (t track) String() string { return fmt.Sprintf("{%s %s %s}", t.Time, t.Context, t.Status) }

// allow returns how much the next expression, which is a tenant's, may cost. The expressions of one tenant are
// evaluated one after the other.
func (s *subject) allow(tenant string) int {
	if tenant != s.tenant {
		s.tenant = tenant
		s.tenantSpent = 0
	}
	s.measure()
	return max(min(s.budget-s.tenantSpent, max(tenantBudgets*s.budget-s.spent, whenShare)), 0)
}

// charge adds the cost of an expression.
func (s *subject) charge(cost int) {
	s.tenantSpent += cost
	s.spent += cost
}

// prepare prepares what a condition needs of the event.
func (s *subject) prepare(c *condition) error {
	ev := s.event
	if !s.prepared {
		s.prepared = true
		s.env.Event = &s.view
		s.view = view{
			Type:        ev.Type,
			WaybillCode: ev.WaybillCode,
			CPCode:      ev.CPCode,
			Status:      ev.Status,
			ReceivedAt:  ev.ReceivedAt.UTC(),
		}
	}

	// What a condition looks into is prepared once, for the first one that needs it.
	s.measure()
	if s.large && (c.usesData || c.usesTracks) {
		return &whenError{text: tooLarge, detail: tooLarge}
	}
	if c.usesTracks && !s.tracked || c.usesTimes && !s.timed {
		s.tracked = true
		s.timed = c.usesTimes
		s.view.Tracks = withTimes(ev.Tracks, c.usesTimes)
	}
	if c.usesData && !s.decoded {
		s.decoded = true
		s.view.Data, s.err = decode(ev.Data)
	}
	if c.usesData {
		return s.err
	}
	return nil
}

// measure says how large the event is, once. Its parts are counted without parsing it: by commas and brackets.
func (s *subject) measure() {
	if s.measured {
		return
	}
	s.measured = true

	data := s.event.Data
	parts := len(s.event.Tracks)
	if len(data) <= maxWhenData {
		parts = max(parts, bytes.Count(data, []byte(","))+bytes.Count(data, []byte("["))+bytes.Count(data, []byte("{")))
	}
	s.large = len(data) > maxWhenData || parts > maxWhenParts

	// A track has a time, a text and a status.
	parts = max(parts, 4*len(s.event.Tracks))
	s.budget = min(whenShare+forAPart*parts+forAByte*len(data), whenBudget)
}

var tooLarge = fmt.Sprintf("%v: it has more than %d KiB or %d parts", errTooCostly, maxWhenData>>10, maxWhenParts)

// forget releases the event. After much work the machine is made anew, because it keeps memory for each loop that it
// entered.
func (s *subject) forget() {
	machine := s.machine
	if s.spent > whenShare {
		machine = vm.VM{}
	}
	clear(machine.Stack[:cap(machine.Stack)])
	clear(machine.Variables)
	*s = subject{machine: machine}
}

// withTimes returns tracks as expressions see them, with their times if times is set.
func withTimes(tracks []event.Track, times bool) []*track {
	all := make([]track, len(tracks))
	out := make([]*track, len(tracks))
	for i, t := range tracks {
		all[i] = track{Time: t.Time, Context: t.Context, Status: t.Status}
		if times {
			all[i].At = timeOfTrack(t)
		}
		out[i] = &all[i]
	}
	return out
}

// timeOfTrack is nil if the track has no time.
func timeOfTrack(t event.Track) *time.Time {
	at, ok := t.At()
	if !ok {
		return nil
	}
	return &at
}
