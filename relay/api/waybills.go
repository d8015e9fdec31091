package api

import (
	"net/http"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"kuairelay/relay/event"
	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/ledger"
)

// Waybill is everything that is known of a waybill.
type Waybill struct {
	WaybillCode string  `json:"waybill_code" doc:"the waybill that was asked for"`
	Verdict     Verdict `json:"verdict" doc:"what is going on with it"`
	// State is that of the brand that was heard of last.
	State  *ledger.ParcelState `json:"state,omitempty" doc:"how it stands, if it is subscribed; of several brands, under that which was heard of last; a tenant sees that of what it has subscribed"`
	Events []Event             `json:"events" doc:"the oldest first, at most the latest 200; of these, the latest with their data, as many as have 4 MiB of it together"`
	// Subscriptions are those of the waybill, under any brand. A tenant sees its own.
	Subscriptions []Subscription  `json:"subscriptions,omitempty" doc:"of the waybill; a tenant sees its own; at most some hundred"`
	Spooled       []Spooled       `json:"spooled,omitempty" doc:"callbacks that wait for Redis in the spool and have an update of it, or may have one, at most 20; for the operator only"`
	SpoolOf       string          `json:"spool_of,omitempty" doc:"the replica whose spool was asked: the one that answers, and no other; for the operator only"`
	Quarantined   []Quarantined   `json:"quarantined,omitempty" doc:"callbacks that hold its code and were not understood, at most 20, of the latest 500 that are not long; looked for only if it has no event; for the operator only"`
	LastKnown     *WaybillHistory `json:"last_known,omitempty" doc:"what is remembered of its updates for longer than these are kept; a tenant sees that of brands that it has subscribed it as"`
	Partial       bool            `json:"partial,omitempty" doc:"Redis does not answer: what only it knows is missing"`
}

// tagged gives what its ETag is made from. When a subscription expires is worked out at each look, to the millisecond.
func (w Waybill) tagged() any {
	w.Subscriptions = slices.Clone(w.Subscriptions)
	for i := range w.Subscriptions {
		w.Subscriptions[i].Expires = w.Subscriptions[i].Expires.Round(time.Minute)
	}
	return w
}

// Spooled is a callback that waits for Redis.
type Spooled struct {
	ReceivedAt time.Time `json:"received_at" doc:"when it came"`
	File       string    `json:"file" doc:"below spool.dir of its replica"`
}

// WaybillHistory is what is remembered of a waybill.
type WaybillHistory struct {
	AcceptedAt time.Time     `json:"accepted_at,omitzero" doc:"when its latest update was accepted; a tenant is told of the one with the newest track"`
	Statuses   []BrandStatus `json:"statuses" doc:"the last status under each of the known brands; an update without a brand has none"`
}

// BrandStatus is the last status of a waybill under a brand.
type BrandStatus struct {
	CPCode    string    `json:"cp_code" doc:"brand"`
	Status    string    `json:"status" doc:"status"`
	TrackedAt time.Time `json:"tracked_at,omitzero" doc:"time of the newest track, if it has one"`
}

// mostElsewhere is how many callbacks of the spool, and of quarantine, are shown of a waybill.
const mostElsewhere = 20

// shortestNamed is the shortest code that is looked for in quarantine: a shorter one is in every callback.
const shortestNamed = 5

// findings are what is known of a waybill, as far as the caller may know it.
type findings struct {
	code   string
	stored []*event.Record // that the caller may see
	shown  []Event         // the same
	hidden []*event.Record // updates of waybills that the caller has subscribed, which are owed to others alone
	// subscriptions are those that the caller may see. Nil: they cannot be read, because of unread.
	subscriptions []ledger.Subscription
	unread        error
	spooled       []Spooled
	quarantined   []Quarantined
	last          *WaybillHistory
	state         *ledger.ParcelState
}

// known says whether there is anything to tell.
func (f *findings) known() bool {
	return len(f.shown)+len(f.subscriptions)+len(f.spooled)+len(f.quarantined) > 0 || f.last != nil
}

// readWaybill gives everything of a waybill.
func readWaybill(c *call) (Waybill, error) {
	code := c.Param("waybill")
	r := c.reader()
	brief := r.flag("brief")
	maxAge := one(r, "max_age", ledger.AnyAge, ledger.ReadMaxAge)
	if err := r.end(); err != nil {
		return Waybill{}, err
	}
	f, err := c.gather(code, brief)
	if err != nil {
		return c.waybillOfSpool(code, err)
	}
	state, err := c.stateOf(f, maxAge)
	if err != nil {
		return Waybill{}, c.failed("read how a waybill stands", err)
	}
	if maxAge != ledger.AnyAge && state != nil && !f.reach(state.Sequence) {
		if f, err = c.gather(code, brief); err != nil { // kuaidihelp has answered with news
			return c.waybillOfSpool(code, err)
		}
	}
	f.state = state
	c.addQuarantined(f)
	if !f.known() {
		if f.unread != nil { // it may be subscribed
			return Waybill{}, c.failed("look at a waybill", f.unread)
		}
		v := c.verdict(f)
		return Waybill{}, echo.NewHTTPError(http.StatusNotFound, v.Text)
	}

	shown := make([]*Event, len(f.shown))
	for i := range f.shown {
		shown[i] = &f.shown[i]
	}
	if brief {
		err = c.addParked(shown)
	} else {
		err = c.complete(f.stored, shown, f.subscriptions)
	}
	if err != nil {
		return Waybill{}, err
	}
	return c.showWaybill(f), nil
}

// gather looks for a waybill; brief: for its latest events alone, without their data.
func (c *call) gather(code string, brief bool) (*findings, error) {
	var found []*event.Record
	var err error
	if brief {
		found, err = c.events.LatestOfWaybill(c.ctx(), code, c.tenant, mostUpdates)
	} else {
		found, err = c.events.Waybill(c.ctx(), code, c.tenant)
	}
	if err != nil {
		return nil, err
	}
	return c.findingsOf(code, found), nil
}

// reach says whether the events found go as far as a sequence.
func (f *findings) reach(sequence int64) bool {
	return slices.ContainsFunc(slices.Concat(f.stored, f.hidden), func(e *event.Record) bool {
		return e.Sequence >= sequence
	})
}

// showWaybill gives findings as the API shows them.
func (c *call) showWaybill(f *findings) Waybill {
	out := Waybill{
		WaybillCode: f.code,
		Verdict:     c.verdict(f),
		State:       f.state,
		Events:      f.shown,
		LastKnown:   f.last,
	}
	for _, s := range f.subscriptions {
		out.Subscriptions = append(out.Subscriptions, showSubscription(s))
	}
	if c.tenant == "" {
		out.Spooled = f.spooled
		out.SpoolOf = c.o.Replica
		out.Quarantined = f.quarantined
	}
	return out
}

// stateOf says how a waybill stands, under the brand that was heard of last of those that the caller sees; nil: nobody
// has subscribed it.
func (c *call) stateOf(f *findings, maxAge time.Duration) (*ledger.ParcelState, error) {
	var waybills []event.Waybill
	for _, s := range f.subscriptions {
		if !slices.Contains(waybills, s.Waybill) {
			waybills = append(waybills, s.Waybill)
		}
	}
	if len(waybills) == 0 {
		return nil, nil
	}
	states, err := c.o.State(c.ctx(), c.tenant, waybills, maxAge)
	if err != nil || len(states) == 0 {
		return nil, err
	}
	latest := slices.MaxFunc(states, func(a, b ledger.ParcelState) int { return a.HeardAt.Compare(b.HeardAt) })
	return &latest, nil
}

// waybillOfSpool answers what this replica knows of a waybill while Redis fails: whether an update of it waits.
func (c *call) waybillOfSpool(code string, err error) (Waybill, error) {
	failed := c.failed("look at a waybill", err)
	f := &findings{code: code, shown: []Event{}}
	if c.tenant != "" {
		return Waybill{}, failed
	}
	f.spooled = c.o.Spooled(code, mostElsewhere)
	if len(f.spooled) == 0 {
		return Waybill{}, failed
	}
	out := c.showWaybill(f)
	out.Partial = true
	out.Verdict.Text = waitsInSpool + "; nothing else is known: " + c.cause(err)
	return out, nil
}

// findingsOf gathers what is known of a waybill. found are its events, of all tenants.
func (c *call) findingsOf(code string, found []*event.Record) *findings {
	f := &findings{code: code, shown: []Event{}}
	f.subscriptions, f.unread = c.readSubscriptions(code, found)

	// A tenant sees an event only if it is owed to it.
	for _, e := range found {
		x := c.showEvent(e)
		if c.tenant == "" || len(x.Deliveries) > 0 {
			f.stored = append(f.stored, e)
			f.shown = append(f.shown, x)
		} else {
			f.hidden = append(f.hidden, e)
		}
	}

	// Who has not subscribed the waybill learns nothing else of it.
	if c.tenant != "" && len(f.subscriptions) == 0 {
		f.hidden = nil
		return f
	}
	f.spooled = c.o.Spooled(code, mostElsewhere)
	f.last = c.remembered(f)
	return f
}

// remembered gives what is known of a waybill for longer than its events are kept; nil: nothing.
func (c *call) remembered(f *findings) *WaybillHistory {
	brands := brandsOf(f.stored)
	if c.tenant != "" {
		brands = nil
		for _, s := range f.subscriptions {
			brands = append(brands, s.CPCode)
		}
	}
	r, ok, err := c.events.Remembered(c.ctx(), f.code, brands)
	if err != nil || !ok || c.tenant != "" && len(r.Statuses) == 0 {
		return nil
	}
	out := &WaybillHistory{AcceptedAt: utc(r.AcceptedAt), Statuses: []BrandStatus{}}
	if c.tenant != "" {
		out.AcceptedAt = time.Time{} // it may be that of another brand
	}
	for _, s := range r.Statuses {
		if s.AcceptedAt.After(out.AcceptedAt) {
			out.AcceptedAt = utc(s.AcceptedAt)
		}
		out.Statuses = append(out.Statuses, BrandStatus{CPCode: s.CPCode, Status: s.Status, TrackedAt: utc(s.TrackedAt)})
	}
	return out
}

// addQuarantined looks in quarantine for waybills that have no event, for the operator.
func (c *call) addQuarantined(all ...*findings) {
	if c.tenant != "" {
		return
	}
	var codes []string
	for _, f := range all {
		if len(f.shown) == 0 && len(f.code) >= shortestNamed {
			codes = append(codes, f.code)
		}
	}
	if len(codes) == 0 {
		return
	}
	found, err := c.quarantine.FindQuarantined(c.ctx(), codes, mostElsewhere)
	if err != nil {
		return // what is known without it is told
	}
	for _, f := range all {
		for _, q := range found[f.code] {
			f.quarantined = append(f.quarantined, showQuarantined(q, false))
		}
	}
}

// brandsOf are the known brands, and those of some events.
func brandsOf(found []*event.Record) []string {
	const most = 20
	brands := append(kuaidihelp.Brands(), "")
	for _, e := range found {
		if !slices.Contains(brands, e.CPCode) && len(brands) < most {
			brands = append(brands, e.CPCode)
		}
	}
	return brands
}

// subscriptionsOf gives the subscriptions of a waybill that the caller may see. Nil: they cannot be read.
func (c *call) subscriptionsOf(code string, found []*event.Record) []ledger.Subscription {
	subscriptions, err := c.readSubscriptions(code, found)
	if err != nil {
		return nil
	}
	return subscriptions
}

// readSubscriptions reads the subscriptions of a waybill that the caller may see. It looks under the known brands and
// the brands of the events found.
func (c *call) readSubscriptions(code string, found []*event.Record) ([]ledger.Subscription, error) {
	if code == "" {
		return nil, nil
	}
	brands := slices.DeleteFunc(brandsOf(found), func(brand string) bool { return brand == "" })
	return c.subscriptions.WaybillSubscriptions(c.ctx(), code, brands, c.tenant)
}
