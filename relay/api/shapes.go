package api

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
)

// The answers of the API. Times are RFC 3339 in UTC. The doc tags are what the OpenAPI document says of each field.

// Event is an event with its deliveries. A tenant sees only its own deliveries.
type Event struct {
	ID           string          `json:"id" doc:"evt_ and a SHA-256; each webhook of the event has it as webhook-id"`
	Type         string          `json:"type" doc:"type of the callback"`
	WaybillCode  string          `json:"waybill_code,omitempty" doc:"waybill; none in a callback of another type"`
	CPCode       string          `json:"cp_code,omitempty" doc:"brand"`
	Status       string          `json:"status,omitempty" doc:"status of the update"`
	State        string          `json:"state" doc:"open, delivered, dead (at least one dead letter), or unrouted"`
	Sequence     int64           `json:"sequence" doc:"rises with every update of the waybill"`
	ReceivedAt   time.Time       `json:"received_at,omitzero" doc:"when the callback arrived"`
	Callback     *Callback       `json:"callback,omitempty" doc:"the callback that it came in; none of an event of an older version"`
	AcceptedAt   time.Time       `json:"accepted_at" doc:"when it was durable"`
	Config       string          `json:"config,omitempty" doc:"the beginning of the fingerprint of the config whose routes it was matched by; for the operator"`
	ConfigSame   *bool           `json:"config_now_same,omitempty" doc:"whether that config is in use now"`
	Repeats      int             `json:"repeats" doc:"how often it came again, and was dropped as a duplicate"`
	LastRepeatAt time.Time       `json:"last_repeat_at,omitzero" doc:"when it came again last"`
	Repeated     []Repeat        `json:"repeated,omitempty" doc:"the last ten times that it came again, the oldest first, as far as they are known"`
	Deliveries   []Delivery      `json:"deliveries" doc:"one for each endpoint that it was routed to"`
	Data         json.RawMessage `json:"data,omitempty" doc:"the item as it came; in lists with data=true only"`
	WithoutData  bool            `json:"data_left_out,omitempty" doc:"there was no room for its data: /events/{id} has it"`
	Routes       []Route         `json:"routes,omitempty" doc:"how each of today's routes decides; not in lists; of a waybill, if that takes long, only for the latest events"`
	RoutesLeft   int             `json:"routes_left_out,omitempty" doc:"how many more routes do not match"`
	Updates      *Updates        `json:"updates,omitempty" doc:"its place among the updates of its waybill; with updates=true only"`
}

// Updates is the place of an event among the updates of its waybill that are kept, as far as the caller sees them.
type Updates struct {
	Number int    `json:"number" doc:"which of them it is, counted from 1, the oldest"`
	Of     int    `json:"of" doc:"how many there are, at most the latest 200"`
	Before string `json:"before,omitempty" doc:"id of the one before"`
	After  string `json:"after,omitempty" doc:"id of the one after"`
}

// Callback is a callback that brought an event.
type Callback struct {
	ID      string    `json:"id" doc:"cb_ and 14 digits and letters; the filter callback takes it"`
	At      time.Time `json:"at" doc:"when it arrived"`
	From    string    `json:"from,omitempty" doc:"the address that sent it; for the operator"`
	Form    string    `json:"form,omitempty" doc:"how it was written: json, urlencoded, or multipart"`
	Item    int       `json:"item,omitempty" doc:"which of its items the event was, counted from 1"`
	Items   int       `json:"items,omitempty" doc:"how many items it had"`
	Replica string    `json:"replica,omitempty" doc:"the host of the relay that took it; for the operator"`
}

// Repeat is one time that an event came again.
type Repeat struct {
	At       time.Time `json:"at" doc:"when its callback arrived"`
	Callback string    `json:"callback" doc:"id of the callback"`
}

// Delivery is an event owed to an endpoint.
type Delivery struct {
	Endpoint string      `json:"endpoint" doc:"tenant/endpoint"`
	State    event.State `json:"state" doc:"queued, sending, retrying, waiting, delivered, dead, or dismissed"`
	Attempts int         `json:"attempts" doc:"attempts since it was queued, redriven or replayed"`
	// AttemptsMax and GivenUpAt are of today's config.
	AttemptsMax int       `json:"attempts_max,omitempty" doc:"how many it gets at most; none: its endpoint is not in the config"`
	GivenUpAt   time.Time `json:"given_up_at,omitzero" doc:"when it is given up for its age, if it is still open then; it may become a dead letter before"`
	Reason      string    `json:"reason" doc:"new, reconcile, retry, redrive, replay, or catch-up"`
	DueAt       time.Time `json:"due_at,omitzero" doc:"when it is tried next; while it is being sent, when its lease ends; not in lists"`
	Behind      string    `json:"behind,omitempty" doc:"the event of the same waybill that it waits for; not in lists"`
	Parked      *Parked   `json:"parked,omitempty" doc:"why nothing is sent to the endpoint; not in lists"`
	Orphan      bool      `json:"orphan,omitempty" doc:"its endpoint is not in the config: after delivery.orphan_grace it becomes a dead letter; not in lists"`
	Why         string    `json:"why,omitempty" doc:"why it is dead"`
	Tries       []Attempt `json:"tries" doc:"its known attempts, the oldest first"`

	since time.Time // when its age began
}

// Attempt is one HTTP request to an endpoint.
type Attempt struct {
	At         time.Time         `json:"at" doc:"when it ended"`
	Status     int               `json:"status" doc:"HTTP status; 0: no answer came"`
	DurationMS int64             `json:"duration_ms" doc:"from its start to the end of the answer, or to the error"`
	Text       string            `json:"text,omitempty" doc:"the error, or, if it failed, the first KiB of the answer; kept for the latest attempts of an endpoint"`
	Number     int               `json:"number,omitempty" doc:"of its delivery, from 1; this and the next four are known of one that failed, for the latest of an endpoint"`
	Class      string            `json:"class,omitempty" doc:"if no answer came: timeout, dns, refused, reset, tls, network, protocol, or forbidden (by the relay: no request was sent)"`
	Reason     string            `json:"reason,omitempty" doc:"why it was sent: new, reconcile, retry, redrive, replay, or catch-up"`
	Replica    string            `json:"replica,omitempty" doc:"name of the relay that sent it; for the operator only"`
	Headers    map[string]string `json:"headers,omitempty" doc:"of the answer, as far as it has them: server, content-type, retry-after, x-request-id, www-authenticate, location without its query; together at most 256 bytes"`
}

// Route is the decision of a route about an event.
type Route struct {
	Tenant    string   `json:"tenant" doc:"name of its tenant"`
	At        string   `json:"at" doc:"file and line"`
	Endpoints []string `json:"endpoints" doc:"where it leads, tenant/endpoint"`
	Matched   bool     `json:"matched" doc:"whether the event matches"`
	Why       string   `json:"why" doc:"what decided"`
}

// Parked is why nothing is sent to an endpoint, and since when.
type Parked struct {
	State queue.Parked `json:"state" doc:"paused, gone (it answered 410), or open (its breaker is)"`
	Since time.Time    `json:"since" doc:"since when"`
	Until time.Time    `json:"until,omitzero" doc:"when its breaker lets the next attempt through"`
}

// Events is a page.
type Events struct {
	Events []Event `json:"events" doc:"by the time of their acceptance"`
	Next   string  `json:"next,omitempty" doc:"cursor of the next page; none: this is the end. A page may hold fewer events than limit, even none, and still have a next"`
	// Looked and LookedBackTo say how far a search for rare events has come.
	Looked       int       `json:"looked" doc:"how many events were read to find these"`
	Back         string    `json:"back,omitempty" doc:"cursor of a page in the other direction (newer turned round), which begins next to the first event of this one; none: no event was read"`
	LookedBackTo time.Time `json:"looked_back_to,omitzero" doc:"how far back the search has come: every event since then that the filter takes is on this page or an earlier one; not with newer"`
}

// EndpointHealth is the health of an endpoint.
type EndpointHealth struct {
	Endpoint       string            `json:"endpoint" doc:"tenant/endpoint"`
	URL            string            `json:"url" doc:"without its query"`
	Format         string            `json:"format" doc:"standard or kuaidihelp"`
	State          EndpointState     `json:"state" doc:"ok, failing (the latest two attempts or more failed; refusing a body, 400 or 422, is not failing), idle (none yet), or why it is parked: paused, gone (it answered 410), open (its breaker is)"`
	Since          time.Time         `json:"since,omitzero" doc:"when it was parked"`
	Until          time.Time         `json:"until,omitzero" doc:"when its breaker lets the next attempt through"`
	PausedBy       string            `json:"paused_by,omitempty" doc:"who has paused it: operator, or the tenant"`
	ProbeAt        time.Time         `json:"probe_at,omitzero" doc:"the same, if its breaker is open"`
	FailingSince   time.Time         `json:"failing_since,omitzero" doc:"when the first of the attempts ended that have failed in a row; the oldest that is still known"`
	InRow          int               `json:"failures_in_row,omitempty" doc:"how many of the latest attempts failed in a row, at most as many as sample; refused bodies do not count"`
	GivenUpFirstAt time.Time         `json:"given_up_first_at,omitzero" doc:"when the oldest open delivery is given up for its age; of more than two, another one may be before"`
	Twice          time.Time         `json:"answers_twice_since,omitzero" doc:"when it was seen to answer a request twice: since then each attempt has a connection of its own, until it is resumed"`
	Open           int64             `json:"open" doc:"deliveries queued, retrying or being sent"`
	Waiting        int64             `json:"waiting" doc:"deliveries behind an older update of their waybill"`
	Dead           int64             `json:"dead" doc:"dead letters"`
	OldestAt       time.Time         `json:"oldest_at,omitzero" doc:"when the oldest open delivery was accepted; with more than two open, it may be older"`
	Sample         int               `json:"sample" doc:"how many of the latest attempts the next three fields are computed from"`
	SuccessRate    float64           `json:"success_rate" doc:"from 0 to 1"`
	P50MS          int64             `json:"p50_ms" doc:"half of the attempts took at most this long"`
	P95MS          int64             `json:"p95_ms" doc:"95 % of the attempts took at most this long"`
	LastAt         time.Time         `json:"last_attempt_at,omitzero" doc:"when the latest attempt ended"`
	DeliveredAt    time.Time         `json:"last_delivered_at,omitzero" doc:"when the latest delivery was made"`
	LastError      *Attempt          `json:"last_error,omitempty" doc:"the latest attempt that failed, if the sample holds one"`
	Settings       *EndpointSettings `json:"settings,omitempty" doc:"of the config; not in lists"`
}

// DeadLetter is a delivery that was given up.
type DeadLetter struct {
	EventID     string    `json:"event_id" doc:"id of the event"`
	Endpoint    string    `json:"endpoint" doc:"tenant/endpoint"`
	DeadAt      time.Time `json:"dead_at" doc:"when it was given up"`
	Attempts    int       `json:"attempts" doc:"attempts before it was given up"`
	Reason      string    `json:"reason" doc:"why it was given up"`
	Type        string    `json:"type" doc:"type of the callback"`
	WaybillCode string    `json:"waybill_code,omitempty" doc:"waybill"`
	CPCode      string    `json:"cp_code,omitempty" doc:"brand"`
	Status      string    `json:"status,omitempty" doc:"status of the update"`
}

// DeadLetters is a page.
type DeadLetters struct {
	DeadLetters []DeadLetter      `json:"dead_letters" doc:"the latest first; none with group"`
	Next        string            `json:"next,omitempty" doc:"cursor of the next page; none: this is the end"`
	Total       *int              `json:"total,omitempty" doc:"with total or group: how many the filter selects"`
	Ending      int               `json:"ending,omitempty" doc:"with total: how many of the endpoints end within a day, because they are kept no longer"`
	Kept        string            `json:"kept,omitempty" doc:"with total: how long they are kept"`
	AtLeast     bool              `json:"at_least,omitempty" doc:"total and groups are of the latest 10,000 dead letters that were looked at: there are more"`
	Groups      []DeadLetterGroup `json:"groups,omitempty" doc:"with group: the largest first, at most 100"`
	GroupsLeft  int               `json:"groups_left_out,omitempty" doc:"how many more groups there are"`
}

// DeadLetterGroup sums up dead letters with the same reason, or of the same endpoint.
type DeadLetterGroup struct {
	Reason   string         `json:"reason,omitempty" doc:"why they were given up, with group=reason"`
	Endpoint string         `json:"endpoint,omitempty" doc:"tenant/endpoint, with group=endpoint"`
	Count    int            `json:"count" doc:"how many"`
	FirstAt  time.Time      `json:"first_at" doc:"when the first of them was given up"`
	LastAt   time.Time      `json:"last_at" doc:"when the latest of them was given up"`
	Example  deadLetterName `json:"example" doc:"the latest of them"`
}

// showEvent gives an event as the caller may see it.
func (c *call) showEvent(e *event.Record) Event {
	out := Event{
		ID:           e.ID,
		Type:         e.Type,
		WaybillCode:  e.WaybillCode,
		CPCode:       e.CPCode,
		Status:       e.Status,
		Sequence:     e.Sequence,
		ReceivedAt:   utc(e.ReceivedAt),
		Callback:     c.showCallback(&e.Event),
		AcceptedAt:   utc(e.AcceptedAt),
		Repeats:      e.Repeats,
		LastRepeatAt: utc(e.LastRepeat),
		Deliveries:   []Delivery{},
	}

	// Which config it was is for the operator.
	if e.Config != "" {
		same := e.Config == c.settings.Config
		out.ConfigSame = &same
		if c.tenant == "" {
			out.Config = e.Config
		}
	}

	for _, id := range e.RepeatedIn {
		if at, ok := event.CallbackTime(id); ok {
			out.Repeated = append(out.Repeated, Repeat{At: utc(at), Callback: id})
		}
	}
	for _, o := range e.Deliveries {
		if c.sees(o.Endpoint) {
			out.Deliveries = append(out.Deliveries, c.showDelivery(o))
		}
	}
	out.State = stateOf(out.Deliveries)
	return out
}

// showCallback gives the callback of an event; nil: it is not known. Who sent it, and where to, is for the operator.
func (c *call) showCallback(e *event.Event) *Callback {
	o := e.Origin
	if o == nil {
		return nil
	}
	out := &Callback{ID: o.ID, At: utc(e.ReceivedAt), Form: o.Form, Item: e.Item, Items: o.Items}
	if c.tenant == "" {
		out.From = o.From
		out.Replica = o.Replica
	}
	return out
}

// stateOf sums up the states of an event's deliveries: it gives the worst.
func stateOf(ds []Delivery) string {
	if len(ds) == 0 {
		return StateUnrouted
	}
	has := func(want func(event.State) bool) bool {
		return slices.ContainsFunc(ds, func(d Delivery) bool { return want(d.State) })
	}

	switch {
	case has(func(s event.State) bool { return s == event.StateDead }):
		return string(event.StateDead)
	case has(event.State.Open):
		return stateOpen
	case has(func(s event.State) bool { return s == event.StateDelivered }):
		return string(event.StateDelivered)
	}
	return string(event.StateDismissed)
}

func (c *call) showDelivery(o event.DeliveryRecord) Delivery {
	d := Delivery{
		Endpoint: o.Endpoint,
		State:    o.State,
		Attempts: o.Attempts,
		Reason:   string(o.Reason),
		DueAt:    utc(o.Due),
		Behind:   o.Behind,
		Why:      o.Why,
		Tries:    []Attempt{},
		since:    o.Since,
	}
	if e := c.settings.endpoints[o.Endpoint]; e != nil {
		d.AttemptsMax = e.Attempts
	}
	d.GivenUpAt = c.givenUpAt(o.Endpoint, "", o.Since)
	for _, t := range o.Records {
		d.Tries = append(d.Tries, c.showAttempt(t))
	}
	return d
}

// givenUpAt is when an open delivery is given up for its age, which began at since (zero: it is not open). parked is
// why nothing is sent to its endpoint: for a person to resume it, deliveries wait no longer than the retention. Zero:
// it is not given up for its age.
func (c *call) givenUpAt(endpoint string, parked queue.Parked, since time.Time) time.Time {
	e := c.settings.endpoints[endpoint]
	if e == nil || since.IsZero() {
		return time.Time{}
	}
	age := e.MaxAge
	waits := parked == queue.ParkedPaused || parked == queue.ParkedGone
	if r := c.settings.Retention; waits && r > 0 && (age == 0 || r < age) {
		age = r
	}
	if age == 0 {
		return time.Time{}
	}
	return utc(since.Add(age))
}

// showAttempt gives an attempt as the caller may see it: a tenant is not told which relay made it.
func (c *call) showAttempt(t event.AttemptRecord) Attempt {
	out := Attempt{
		At:         utc(t.At),
		Status:     t.Status,
		DurationMS: t.Duration.Milliseconds(),
		Text:       t.Text,
		Number:     t.N,
		Class:      t.Class,
		Reason:     string(t.Reason),
	}
	if c.tenant == "" {
		out.Replica = t.Replica
	}
	for _, field := range t.Headers {
		if name, value, found := strings.Cut(field, ": "); found {
			if out.Headers == nil {
				out.Headers = make(map[string]string, len(t.Headers))
			}
			out.Headers[name] = value
		}
	}
	return out
}

// utc is a time in UTC; zero stays zero.
func utc(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC()
}

// withoutQuery is a URL without the parts that may be secret.
func withoutQuery(raw string) string {
	u, err := url.Parse(raw)
	if err != nil { // raw is as written in the config, and with a variable it may be no URL
		raw, _, _ = strings.Cut(raw, "?")
		return raw
	}
	u.User = nil
	u.RawQuery = ""
	u.Fragment = ""
	return strings.TrimSuffix(u.String(), "?")
}
