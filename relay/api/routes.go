package api

import (
	"net/http"
	"strings"
)

// route is one path of the API: what it does, and what the OpenAPI document says of it.
type route struct {
	method string
	// path below /v1 and /admin/v1, with parameters in braces. {endpoint} is a name for a tenant (which may put its own name and an
	// escaped slash before it), and tenant/name for the operator.
	path string
	// tenant and operator say who has it.
	tenant, operator bool
	summary          string
	params           []param
	body             any // the zero value of what is sent; nil: nothing
	status           int // of a good answer
	answer           any // the zero value of what is answered
	handle           func(*call) error
}

// param is one of a query.
type param struct{ name, kind, doc string }

func (r route) tenantPath() string { return "/v1" + braces.Replace(r.path) }

func (r route) operatorPath() string {
	return "/admin/v1" + braces.Replace(strings.Replace(r.path, "{endpoint}", "{tenant}/{endpoint}", 1))
}

// braces turns {name} into echo's :name.
var braces = strings.NewReplacer("{", ":", "}", "")

var (
	limitParam  = param{"limit", "integer", "how many at most, 1 to 500; default 100"}
	cursorParam = param{"cursor", "string", "the next of an earlier page"}
	tenantParam = param{"tenant", "string", "of this tenant; for the operator"}

	filterParams = []param{
		tenantParam,
		{"endpoint", "string", "owed to this endpoint: tenant/name, or for a tenant the name alone"},
		{"brand", "string", "of this brand, or an alias of it; cp_code is the same"},
		{"cp_code", "string", "the same as brand"},
		{"status", "string", "with this status"},
		{"waybill_code", "string", "of this waybill"},
		{"state", "string", "with a delivery in this state: " + strings.Join(states(), ", ")},
		{"since", "string", "at this time (RFC 3339) or later, or a span before now like 90m or 2d"},
		{"until", "string", "before this time"},
	}
)

func paged(params ...param) []param { return append([]param{limitParam, cursorParam}, params...) }

// routes are all paths of the API.
func routes() []route {
	const get, post, del = http.MethodGet, http.MethodPost, http.MethodDelete
	ok := http.StatusOK
	return []route{
		{get, "/status", true, true, "How the whole does", nil, nil, ok, Status{}, readStatus},
		{get, "/events", true, true, "A page of events by the time of their acceptance, the latest first",
			paged(append([]param{{"data", "boolean", "with the data of each, at most 100 of them, and as many as have 2 MiB of it together"}, {"newer", "boolean", "go on to newer events rather than older ones; then there always is a next"}}, filterParams...)...), nil, ok, Events{}, listEvents},
		{get, "/events/{id}", true, true, "One event with its data, deliveries and attempts, and what the routes make of it", nil, nil, ok, Event{}, readEvent},
		{get, "/waybills/{waybill}", true, true, "All that is known of a waybill", nil, nil, ok, Waybill{}, readWaybill},
		{get, "/endpoints", true, true, "A page of endpoints with their health, by name",
			paged(tenantParam, param{"state", "string", "in this state only: a page may then hold fewer than limit"}), nil, ok, Endpoints{}, listEndpoints},
		{get, "/endpoints/{endpoint}", true, true, "The health of one endpoint", nil, nil, ok, EndpointHealth{}, readEndpoint},
		{post, "/endpoints/{endpoint}/pause", true, true, "Send nothing to an endpoint until it is resumed: its deliveries wait", nil, nil, ok, EndpointHealth{}, pauseEndpoint},
		{post, "/endpoints/{endpoint}/resume", true, true, "Go on sending to an endpoint that was paused, or that answered 410", nil, nil, ok, EndpointHealth{}, resumeEndpoint},
		{post, "/endpoints/{endpoint}/test", true, true, "Send a signed event of type test at once, and say what came back", nil, nil, ok, TestResult{}, testEndpoint},
		{get, "/dead-letters", true, true, "A page of dead letters, the latest first; since and until are times at which they were given up",
			paged(filterParams...), nil, ok, DeadLetters{}, listDeadLetters},
		{post, "/dead-letters/redrive", true, true, "Queue dead letters again, at most 500 at a time", nil, letterRequest{}, ok, LettersDone{}, redriveDeadLetters},
		{post, "/dead-letters/dismiss", true, true, "Be done with dead letters, at most 500 at a time", nil, letterRequest{}, ok, LettersDone{}, dismissDeadLetters},
		{get, "/replays", true, true, "The replays of the last 30 days, 500 to a page", []param{cursorParam}, nil, ok, Replays{}, listReplays},
		{post, "/replays", true, true, "Send events again, as fast as asked, or count them", nil, ReplayRequest{}, http.StatusCreated, Replay{}, createReplay},
		{get, "/replays/{id}", true, true, "One replay, and how far it is", nil, nil, ok, Replay{}, readReplay},
		{del, "/replays/{id}", true, true, "End a replay; what it has queued is delivered", nil, nil, ok, Replay{}, cancelReplay},
		{get, "/subscriptions", false, true, "A page of a tenant's subscriptions", paged(tenantParam), nil, ok, Subscriptions{}, listSubscriptions},
		{get, "/quarantine", false, true, "A page of what was not understood, the latest first", paged(), nil, ok, QuarantineList{}, listQuarantine},
		{get, "/quarantine/{id}", false, true, "What was not understood, as it came", nil, nil, ok, Quarantined{}, readQuarantined},
		{post, "/quarantine/replay", false, true, "Take in what was not understood as if it had just come", nil, quarantineRequest{}, ok, QuarantineResult{}, replayQuarantine},
	}
}
