package api

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// route is one path of the API: what it does, and what the OpenAPI document says of it.
type route struct {
	method string
	// path is below /v1 and /admin/v1, with parameters in braces. {endpoint} becomes {tenant}/{endpoint} for the operator.
	// A tenant gives the name alone, or tenant/name with the slash escaped.
	path string
	// tenant and operator say who may use it.
	tenant, operator bool
	// pagesOnly: pages ask it in the same process, and it is not there over HTTP.
	pagesOnly bool
	summary   string
	params    []param
	body      any // zero value of the body's type; nil: no body
	status    int // of a good answer; 0: 200
	// problems are the meanings of other answers, by status, if they are not those of all routes.
	problems map[int]string
	handler  handler
	// act is the route's name in the audit; empty: it has no entry there. A route that is no GET, and still has none, says
	// why in noAct.
	act, noAct string
}

// answer gives the answer to a call. When it returns, the audit has what the call did.
func (r route) answer(c *call) (any, error) {
	answer, err := r.handler.handle(c)
	if r.act != "" {
		c.acted()
		c.record(r.act, err)
	}
	return answer, err
}

// handler answers the calls of a route.
type handler struct {
	answer any // zero value of the answer's type; nil: no answer
	handle func(*call) (any, error)
}

// answering makes a handler from a function that gives an answer.
func answering[T any](f func(*call) (T, error)) handler {
	var zero T
	return handler{answer: zero, handle: func(c *call) (any, error) { return f(c) }}
}

// doing makes a handler from a function that gives no answer.
func doing(f func(*call) error) handler {
	return handler{handle: func(c *call) (any, error) { return nil, f(c) }}
}

// good is the status of a good answer.
func (r route) good() int { return cmp.Or(r.status, http.StatusOK) }

func (r route) tenantPath() string { return "/v1" + braces.Replace(r.path) }

func (r route) operatorPath() string {
	return "/admin/v1" + braces.Replace(strings.Replace(r.path, "{endpoint}", "{tenant}/{endpoint}", 1))
}

// braces turns {name} into echo's :name.
var braces = strings.NewReplacer("{", ":", "}", "")

// limited is the meaning of 429 for requests that count towards subscriptions.rate.
var limited = map[int]string{
	http.StatusTooManyRequests: "Too many requests a second; Retry-After says when to try again",
}

// refusedSubscriptions are the meanings of answers to a request to subscribe.
var refusedSubscriptions = map[int]string{
	http.StatusTooManyRequests: "Too many requests of the tenant a second, or more waybills than are left of its day's; " +
		"Retry-After says when to try again",
	http.StatusBadGateway:     "kuaidihelp refuses the relay's own account",
	http.StatusGatewayTimeout: "kuaidihelp does not answer, or not with its envelope",
}

// unexpected is what 409 means where a request may say how many it expects.
var unexpected = map[int]string{
	http.StatusConflict: "There are over a tenth more than expect says: nothing was done",
}

// paged are the parameters of a list that has pages: limit, cursor, and its own.
func paged(params ...param) []param { return slices.Concat([]param{limitParam, cursorParam}, params) }

// The methods of the routes.
const (
	get  = http.MethodGet
	post = http.MethodPost
	del  = http.MethodDelete
)

// routes are all paths of the API.
func routes() []route {
	return slices.Concat(
		stateRoutes(),
		eventRoutes(),
		endpointRoutes(),
		deadLetterRoutes(),
		replayRoutes(),
		subscriptionRoutes(),
		quarantineRoutes(),
		statsRoutes(),
		auditRoutes(),
		noticeRoutes(),
	)
}

// routeOf is a route by whose it is, and by its method and path.
type routeOf struct {
	operator bool
	name     string
}

// tableOfRoutes has all routes.
var tableOfRoutes = sync.OnceValue(func() map[routeOf]route {
	out := make(map[routeOf]route)
	for _, r := range routes() {
		name := r.method + " " + r.path
		if r.tenant {
			out[routeOf{name: name}] = r
		}
		if r.operator {
			out[routeOf{operator: true, name: name}] = r
		}
	}
	return out
})

// stateRoutes are about the relay itself.
func stateRoutes() []route {
	return []route{
		{
			method: get, path: "/status",
			summary: "The state of the relay and its problems; for a tenant, of its own endpoints",
			tenant:  true, operator: true,
			handler: answering(readStatus),
		},
		{
			method: get, path: "/system",
			summary:  "What runs: the replicas, Redis, kuaidihelp",
			operator: true,
			handler:  answering(readSystem),
		},
		{
			method: get, path: "/config",
			summary: "Which config is served, and what is wrong with the files; for a tenant with its own file",
			tenant:  true, operator: true,
			handler: answering(readConfig),
		},
		{
			method: get, path: "/config/effective",
			summary: "The config that is served as YAML, with defaults and without secrets; for a tenant its own part",
			tenant:  true, operator: true,
			handler: answering(readEffective),
		},
		{
			method: post, path: "/config/reload",
			summary:  "Read the config again, and switch to it; the same as POST /-/reload",
			operator: true,
			problems: map[int]string{
				http.StatusUnprocessableEntity: "The files have mistakes, which are in errors; the relay keeps the one from before",
				http.StatusConflict:            "This relay was not started with a config file",
			},
			handler: answering(reloadConfig), noAct: "the reload itself is noted, however it was asked for",
		},
	}
}

func eventRoutes() []route {
	return []route{
		{
			method: get, path: "/events", summary: "A page of events by time of acceptance, the latest first",
			tenant: true, operator: true,
			params: paged(slices.Concat(eventParams, filterParams)...), handler: answering(listEvents),
		},
		{
			method: get, path: "/events/{id}",
			summary: "One event with its data, deliveries and attempts, and how each route decides",
			tenant:  true, operator: true, params: []param{briefParam, updatesParam},
			handler: answering(readEvent),
		},
		{
			method: get, path: "/events/{id}/request",
			summary: "The request that an attempt of a delivery would send now, without secrets and signature",
			tenant:  true, operator: true,
			params: []param{{name: "endpoint", kind: "string",
				doc: "the endpoint of the delivery: tenant/name, or for a tenant the name alone"}},
			handler: answering(readRequest),
		},
		{
			method: post, path: "/events/{id}/resend",
			summary: "Send one event again to one endpoint that it was routed to, if it is not still to be delivered there",
			tenant:  true, operator: true,
			body: resendRequest{}, problems: map[int]string{
				http.StatusConflict: "It is still to be delivered, and detail says when; or it was never routed to the endpoint",
			},
			handler: answering(resendEvent), act: actResend,
		},
		{
			method: get, path: "/waybills/{waybill}",
			summary: "The events of a waybill with their deliveries and attempts, and its subscriptions",
			tenant:  true, operator: true, params: []param{briefParam, maxAgeParam},
			handler: answering(readWaybill),
		},
		{
			method: get, path: "/find",
			summary: "What a text is (a waybill, an id, a name), and what is going on with it; at most 100, one to a line",
			tenant:  true, operator: true,
			params:  []param{{name: "q", kind: "string", doc: "the text; spaces and full-width digits are mended"}},
			handler: answering(find),
		},
		{
			method: post, path: "/explain",
			summary: "What today's routes make of an event: who would get it, and why the others not. Nothing is sent",
			tenant:  true, operator: true,
			body: explainRequest{},
			problems: map[int]string{
				http.StatusRequestEntityTooLarge: "The event or callback is larger than 256 KiB",
			},
			handler: answering(explainEvents), noAct: "it changes nothing, and sends nothing",
		},
	}
}

func endpointRoutes() []route {
	return []route{
		{
			method: get, path: "/endpoints", summary: "A page of endpoints with their health",
			tenant: true, operator: true,
			params: paged(append([]param{tenantParam}, endpointListParams...)...), handler: answering(listEndpoints),
		},
		{
			method: get, path: "/endpoints/{endpoint}", summary: "The health of one endpoint, and its settings",
			tenant: true, operator: true,
			handler: answering(readEndpoint),
		},
		{
			method: get, path: "/endpoints/{endpoint}/attempts",
			summary: "A page of the latest attempts of one endpoint, the latest first",
			tenant:  true, operator: true,
			params: paged(failedParam), handler: answering(listAttempts),
		},
		{
			method: get, path: "/endpoints/{endpoint}/log",
			summary: "What happened to one endpoint, and who did what with it, the latest first",
			tenant:  true, operator: true,
			handler: answering(readEndpointLog),
		},

		// The actions of a person on an endpoint. Each answers with the result.
		{
			method: post, path: "/endpoints/{endpoint}/pause",
			summary: "Send nothing to an endpoint until it is resumed: its deliveries stay open",
			tenant:  true, operator: true,
			handler: answering(pauseEndpoint), act: actPause,
		},
		{
			method: post, path: "/endpoints/{endpoint}/resume",
			summary: "Go on sending to an endpoint that was paused, or that answered 410",
			tenant:  true, operator: true,
			handler: answering(resumeEndpoint), act: actResume,
		},
		{
			method: post, path: "/endpoints/{endpoint}/retry",
			summary: "Try deliveries that wait for their next attempt at once: of one event, of a waybill, or all",
			tenant:  true, operator: true,
			body: retryRequest{}, problems: map[int]string{
				http.StatusConflict: "The endpoint is paused or gone; or the event does not wait for an attempt",
			},
			handler: answering(retryDeliveries), act: actRetry,
		},
		{
			method: post, path: "/endpoints/{endpoint}/test",
			summary: "Send a signed test event at once, and show the answer: of type test, or a sample of a status",
			tenant:  true, operator: true,
			body:    sampleRequest{},
			handler: answering(testEndpoint), act: actTest,
		},
	}
}

func replayRoutes() []route {
	return []route{
		{
			method: get, path: "/replays", summary: "The replays of the last 30 days, 500 to a page",
			tenant: true, operator: true,
			params: []param{cursorParam}, handler: answering(listReplays),
		},
		{
			method: post, path: "/replays", summary: "Send events again at a given rate, or count them",
			tenant: true, operator: true,
			body: ReplayRequest{}, status: http.StatusCreated, problems: unexpected,
			handler: answering(createReplay), act: actReplay,
		},
		{
			method: get, path: "/replays/{id}", summary: "One replay, and its progress",
			tenant: true, operator: true,
			handler: answering(readReplay),
		},
		{
			method: del, path: "/replays/{id}", summary: "End a replay; deliveries that it has queued are made",
			tenant: true, operator: true,
			handler: answering(cancelReplay), act: actCancelReplay,
		},
	}
}

func subscriptionRoutes() []route {
	return []route{
		{
			method: get, path: "/subscriptions", summary: "A page of a tenant's subscriptions, or all of a waybill",
			operator: true,
			params:   paged(slices.Concat([]param{tenantParam}, subscriptionParams)...), handler: answering(listSubscriptions),
		},
		{
			method: get, path: "/subscriptions", summary: "A page of the tenant's own subscriptions",
			tenant: true,
			params: slices.Concat([]param{ownLimitParam, cursorParam}, subscriptionParams), problems: limited,
			handler: answering(listOwnSubscriptions),
		},
		{
			method: get, path: "/subscriptions/summary",
			summary: "How many subscriptions tenants have in each state, and what is used of daily quotas",
			tenant:  true, operator: true,
			params: paged(tenantParam), problems: limited,
			handler: answering(summarizeSubscriptions),
		},
		{
			method: get, path: "/subscriptions/{cp_code}/{waybill}", summary: "One subscription",
			tenant:   true,
			problems: limited, handler: answering(readOwnSubscription),
		},
		{
			method: del, path: "/subscriptions/{cp_code}/{waybill}",
			summary: "End a subscription: kuaidihelp still pushes, but the tenant gets nothing more",
			tenant:  true,
			status:  http.StatusNoContent, problems: limited, handler: doing(removeSubscription), act: actUnsubscribe,
		},
		{
			method: del, path: "/subscriptions/{cp_code}/{waybill}",
			summary:  "End the subscription of a tenant: kuaidihelp still pushes, but the tenant gets nothing more",
			operator: true,
			params:   []param{{name: "tenant", kind: "string", doc: "whose subscription; required"}},
			status:   http.StatusNoContent, handler: doing(removeSubscription), act: actUnsubscribe,
		},
		{
			method: post, path: "/subscriptions",
			summary:  "Subscribe waybills for a tenant, at most 1000; those that failed are asked for again",
			operator: true,
			body:     subscribeRequest{}, problems: refusedSubscriptions, handler: answering(subscribe), act: actSubscribe,
		},
		{
			// Over HTTP it is another part that serves tenants, in the form that their clients know.
			method: post, path: "/subscriptions", tenant: true, pagesOnly: true,
			body: subscribeRequest{}, handler: answering(subscribe), act: actSubscribe,
		},
	}
}

func quarantineRoutes() []route {
	return []route{
		{
			method: get, path: "/quarantine", summary: "A page of the quarantine, the latest first, or its groups",
			operator: true,
			params:   paged(quarantineParams...), handler: answering(listQuarantine),
		},
		{
			method: get, path: "/quarantine/{id}", summary: "One callback or item of the quarantine, as it came",
			operator: true,
			handler:  answering(readQuarantined), act: actReadQuarantine,
		},
		{
			method: post, path: "/quarantine/replay",
			summary:  "Parse callbacks of the quarantine again, as if they had just come",
			operator: true,
			body:     quarantineRequest{}, handler: answering(replayQuarantine), act: actReplayQuarantine,
		},
		{
			method: post, path: "/quarantine/dismiss",
			summary:  "Remove callbacks from quarantine for good",
			operator: true,
			body:     quarantineRequest{}, handler: answering(dismissQuarantine), act: actDismissQuarantine,
		},
	}
}

func auditRoutes() []route {
	what := param{name: "what", kind: "string", doc: "this act only: " + strings.Join(ActNames(), ", ")}
	return []route{
		{
			method: get, path: "/audit",
			summary: "A page of what people did through the API, the latest first; " +
				"for a tenant what it did, and what the operator did to its things",
			tenant: true, operator: true,
			params: paged(tenantParam, what, sinceParam, untilParam), handler: answering(listAudit),
		},
	}
}

func noticeRoutes() []route {
	return []route{
		{
			method: post, path: "/notices/test",
			summary: "Send a test message to the receivers of notices, or to one of them, and show what became of it",
			tenant:  true, operator: true,
			body:    noticeTestRequest{},
			handler: answering(testNotices), act: actTestNotices,
		},
	}
}

func statsRoutes() []route {
	const path = "/stats"
	return []route{
		{
			method: get, path: path,
			summary:  "Statistics over time, of an endpoint, a tenant, all endpoints (the default), or of callbacks",
			operator: true,
			params: slices.Concat([]param{
				{name: "endpoint", kind: "string", doc: "of this endpoint: tenant/name"}, tenantParam,
				{name: "of", kind: "string", doc: "callbacks: of what kuaidihelp sends"},
			}, spanParams),
			handler: answering(readStats),
		},
		{
			method: get, path: path,
			summary: "Statistics over time, of one of the tenant's endpoints, or of all of them (the default)",
			tenant:  true,
			params: slices.Concat([]param{
				{name: "endpoint", kind: "string", doc: "of this endpoint, by its name"},
			}, spanParams),
			handler: answering(readStats),
		},
	}
}
