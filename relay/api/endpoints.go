package api

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
)

// sample is the number of latest attempts that an endpoint's rates are computed from.
const sample = 100

// EndpointState is the state of an endpoint. If it is parked, that is the reason (queue.Parked).
type EndpointState string

// The states of an endpoint that is not parked.
const (
	EndpointOK      EndpointState = "ok"
	EndpointFailing EndpointState = "failing" // its latest two attempts or more failed
	EndpointIdle    EndpointState = "idle"    // no attempt was made yet
	EndpointRemoved EndpointState = "removed" // it is in no config, and still holds something
)

// EndpointStates are the names of all states of an endpoint.
func EndpointStates() []string {
	return []string{
		string(EndpointOK), string(EndpointFailing), string(EndpointIdle),
		string(queue.ParkedPaused), string(queue.ParkedGone), string(queue.ParkedOpen), string(EndpointRemoved),
	}
}

// filterOf reads only some parameters of a filter. It does not check state, which is not that of a delivery here.
func (r *reader) filterOf(names ...string) filter {
	f := filter{}
	for _, name := range names {
		switch name {
		case "tenant":
			f.Tenant = r.param(name)
		case "endpoint":
			f.Endpoint = r.param(name)
		}
	}
	if r.err == nil {
		f.removedToo = true
		r.err = f.check(r.c)
	}
	if slices.Contains(names, "state") {
		f.State = r.param("state")
	}
	return f
}

// showEndpoint gives the health of an endpoint as the caller sees it.
func (c *call) showEndpoint(h queue.EndpointHealth) EndpointHealth {
	e := c.settings.endpoints[h.Endpoint]
	state := stateOfEndpoint(h)
	if e == nil {
		state, e = EndpointRemoved, &Endpoint{}
	}
	out := EndpointHealth{
		Endpoint:    h.Endpoint,
		URL:         withoutQuery(e.URL),
		Format:      e.Format,
		State:       state,
		Since:       utc(h.ParkedSince),
		Until:       utc(h.ParkedUntil),
		PausedBy:    h.PausedBy,
		Twice:       utc(h.AnswersTwice),
		Open:        h.Open,
		Waiting:     h.Waiting,
		Dead:        h.Dead,
		OldestAt:    utc(h.Oldest),
		DeliveredAt: utc(h.Delivered),
		Sample:      len(h.Latest),
	}
	out.GivenUpFirstAt = c.givenUpAt(h.Endpoint, h.Parked, h.OldestSince)
	if h.Parked == queue.ParkedOpen {
		out.ProbeAt = out.Until
	}
	if h.FailedInRow >= failingFrom {
		out.InRow = h.FailedInRow
		out.FailingSince = utc(h.FailingSince)
	}
	if len(h.Latest) == 0 {
		return out
	}

	// The rates and the last error come from the sample. Its latest attempt is first.
	out.LastAt = utc(h.Latest[0].At)
	var took []time.Duration
	good := 0
	for _, attempt := range h.Latest {
		took = append(took, attempt.Duration)
		switch {
		case attempt.Good():
			good++
		case out.LastError == nil:
			last := c.showAttempt(attempt)
			out.LastError = &last
		}
	}

	n := len(took)
	slices.Sort(took)
	out.SuccessRate = float64(good) / float64(n)
	out.P50MS = took[n/2].Milliseconds()
	out.P95MS = took[min(n-1, n*95/100)].Milliseconds()
	return out
}

// failingFrom is how many attempts have to fail in a row before an endpoint is failing: one may be an accident.
const failingFrom = 2

// stateOfEndpoint gives the state of an endpoint.
func stateOfEndpoint(h queue.EndpointHealth) EndpointState {
	switch {
	case h.Parked != "":
		return EndpointState(h.Parked)
	case len(h.Latest) == 0:
		return EndpointIdle
	case h.FailedInRow >= failingFrom:
		return EndpointFailing
	}
	return EndpointOK
}

// endpoint gives the endpoint that a path names.
func (c *call) endpoint() (*Endpoint, error) {
	full, err := c.fullName(c.endpointParam(), c.tenant)
	if err != nil {
		return nil, echo.NewHTTPError(http.StatusNotFound, err.Error())
	}
	return c.settings.endpoints[full], nil
}

// endpointToRead gives the full name of the endpoint that a path names, for what only reads: for the operator, that may
// be one that was removed.
func (c *call) endpointToRead() (string, error) {
	full, err := c.fullNameToRead(c.endpointParam(), c.tenant)
	if err != nil {
		return "", echo.NewHTTPError(http.StatusNotFound, err.Error())
	}
	return full, nil
}

// endpointParam is the name of an endpoint as it stands in a path. A tenant may write tenant/name, with the slash
// escaped.
func (c *call) endpointParam() string {
	name := c.Param("endpoint")
	if plain, err := url.PathUnescape(name); err == nil {
		name = plain
	}
	if c.tenant == "" {
		name = c.Param("tenant") + "/" + name
	}
	return name
}

// fullName gives the full name, tenant/name, of an endpoint. If tenant is given, name may lack it. The error says that
// there is no such endpoint, or that it is not the caller's. Names of another tenant all get the second, so that the
// caller does not learn which of them exist.
func (c *call) fullName(name, tenant string) (string, error) {
	full := name
	if !strings.Contains(name, "/") && tenant != "" {
		full = tenant + "/" + name
	}
	switch {
	case !c.sees(full):
		return "", fmt.Errorf("%s is not yours: a tenant's key is for its own endpoints", full)
	case c.settings.endpoints[full] == nil && c.isRemoved(full):
		return "", fmt.Errorf("%s %s", full, becomesOfRemoved)
	case c.settings.endpoints[full] == nil || (tenant != "" && !strings.HasPrefix(full, tenant+"/")):
		return "", fmt.Errorf("there is no endpoint %q", name)
	}
	return full, nil
}

// readEndpoint gives the health of the endpoint that a path names.
func readEndpoint(c *call) (EndpointHealth, error) {
	name, err := c.endpointToRead()
	if err != nil {
		return EndpointHealth{}, err
	}
	return c.answerEndpoint(name)
}

// answerEndpoint gives the health of one endpoint, with its settings.
func (c *call) answerEndpoint(name string) (EndpointHealth, error) {
	health, err := c.endpoints.Health(c.ctx(), []string{name}, sample)
	if err != nil {
		return EndpointHealth{}, c.failed("look at an endpoint", err)
	}
	out := c.showEndpoint(health[0])
	if c.settings.EndpointSettings != nil {
		out.Settings = c.settings.EndpointSettings(name)
	}
	return out, nil
}

// pauseEndpoint stops sending to an endpoint until it is resumed.
func pauseEndpoint(c *call) (EndpointHealth, error) {
	e, err := c.endpoint()
	if err != nil {
		return EndpointHealth{}, err
	}
	if err := c.endpoints.Park(c.ctx(), e.ID, c.actor()); err != nil {
		return EndpointHealth{}, c.failed("pause an endpoint", err)
	}
	c.health.changed(e.ID, c.now())
	return c.answerEndpoint(e.ID)
}

// resumeEndpoint sends to a parked endpoint again.
func resumeEndpoint(c *call) (EndpointHealth, error) {
	e, err := c.endpoint()
	if err != nil {
		return EndpointHealth{}, err
	}
	if err := c.endpoints.Resume(c.ctx(), e.ID, c.actor()); err != nil {
		return EndpointHealth{}, c.failed("resume an endpoint", err)
	}
	c.health.changed(e.ID, c.now())
	c.o.OnDue(e.ID)
	return c.answerEndpoint(e.ID)
}

// TestResult is the result of a test event.
type TestResult struct {
	EventID    string `json:"event_id" doc:"webhook-id of the test event"`
	Endpoint   string `json:"endpoint" doc:"tenant/endpoint"`
	Delivered  bool   `json:"delivered" doc:"whether the answer was 2xx"`
	Status     int    `json:"status" doc:"HTTP status; 0: no answer came"`
	DurationMS int64  `json:"duration_ms" doc:"how long the attempt took"`
	Error      string `json:"error,omitempty" doc:"why no answer came"`
	Answer     string `json:"answer,omitempty" doc:"the first KiB of the answer"`
	// Request is left out if the endpoint has left the config meanwhile.
	Request *DeliveryRequest `json:"request,omitempty" doc:"what was sent; its changed_since says nothing"`
}

// testEndpoint sends one signed test event at once, and gives the answer. The event is not stored or retried.
func testEndpoint(c *call) (TestResult, error) {
	e, err := c.endpoint()
	if err != nil {
		return TestResult{}, err
	}
	var request sampleRequest
	if err := c.body(&request); err != nil {
		return TestResult{}, err
	}
	if err := request.check(); err != nil {
		return TestResult{}, err
	}
	if c.settings.Test == nil {
		return TestResult{}, errors.New("this relay cannot send test events")
	}

	test, err := request.event(e.ID, c.now())
	if err != nil {
		return TestResult{}, err
	}
	attempt, err := c.settings.Test(c.ctx(), e.ID, test)
	if errors.Is(err, event.ErrTooMany) {
		c.Response().Header().Set(echo.HeaderRetryAfter, "1")
		return TestResult{}, echo.NewHTTPError(http.StatusTooManyRequests, "too many test events are being sent")
	}
	if err != nil {
		return TestResult{}, echo.NewHTTPError(http.StatusNotFound, fmt.Sprintf("there is no endpoint %q", e.ID))
	}

	answered := attempt.Err == ""
	c.deeds.result = "no answer"
	if answered {
		c.deeds.result = fmt.Sprintf("answered %d", attempt.Status)
	}
	out := TestResult{
		EventID:    test.ID,
		Endpoint:   e.ID,
		Delivered:  answered && attempt.Status >= 200 && attempt.Status < 300,
		Status:     attempt.Status,
		DurationMS: attempt.Duration.Milliseconds(),
		Error:      attempt.Err,
	}
	if answered {
		out.Answer = strings.ToValidUTF8(string(attempt.Answer), string(utf8.RuneError))
	}
	sent, err := c.requestOf(&event.Delivery{Event: test, Endpoint: e.ID, Reason: event.ReasonNew})
	if err == nil {
		out.Request = &sent
	}
	return out, nil
}
