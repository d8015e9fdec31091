package api

import "strings"

// param is a parameter of a query.
type param struct {
	name string
	kind string // string, integer or boolean
	doc  string
}

var (
	limitParam  = param{name: "limit", kind: "integer", doc: "how many at most, 1 to 500; default 100"}
	cursorParam = param{name: "cursor", kind: "string", doc: "the next of an earlier page"}
	tenantParam = param{name: "tenant", kind: "string", doc: "of this tenant; for the operator"}

	maxAgeParam = param{name: "max_age", kind: "string", doc: "have kuaidihelp asked if nothing was heard of it for " +
		"longer, like 10m; where that may not be, or fails, the state is stale"}

	ownLimitParam = param{name: "limit", kind: "integer", doc: "how many at most, 1 to 1000; default 100"}
	failedParam   = param{name: "failed", kind: "boolean", doc: "only those that failed"}

	endpointListParams = []param{
		{name: "state", kind: "string", doc: "in this state only: a page may then hold fewer than limit"},
		{name: "name", kind: "string", doc: "with this text in its name, tenant/endpoint"},
		{name: "sort", kind: "string", doc: "trouble: those first that need somebody most; or name. The list is then " +
			"chosen and sorted by what was known a few seconds ago, its pages are full, and it has total and states"},
	}

	quarantineParams = []param{
		{name: "reason", kind: "string", doc: "not understood for this reason, as group names it"},
		{name: "contains", kind: "string", doc: "with this text in what came; each page looks at 500, and 5 MiB of them"},
		{name: "group", kind: "string", doc: "reason: count the latest 500, up to 5 MiB of them, by their reasons, " +
			"and say how many would be understood now"},
	}

	eventParams = []param{
		{name: "data", kind: "boolean",
			doc: "with the data of each; a page then has at most 100 events, and about 2 MiB of data"},
		{name: "newer", kind: "boolean", doc: "go on to newer events instead of older ones; then there always is a next"},
		{name: "callback", kind: "string",
			doc: "only events of the callback with this id; with newer the search begins when it arrived"},
	}

	briefParam = param{name: "brief", kind: "boolean",
		doc: "without what does not change, which is most of the work: data, and how the routes decide"}
	updatesParam = param{name: "updates", kind: "boolean",
		doc: "with its place among the updates of its waybill, and the ids of those before and after it"}

	deadLetterParams = []param{
		{name: "total", kind: "boolean", doc: "with how many the filter selects, how long they are kept, and how many " +
			"of the endpoints end within a day: of all, if it names only an endpoint, a tenant or times, " +
			"and otherwise of the latest 10,000"},
		{name: "group", kind: "string", doc: "reason or endpoint: no list, but how many there are of each, " +
			"of the latest 10,000"},
	}

	reasonParam = param{name: "reason", kind: "string", doc: "given up for this reason, word for word"}

	subscriptionParams = []param{
		{name: "waybill_code", kind: "string", doc: "of this waybill, under any brand: all on one page"},
		{name: "state", kind: "string",
			doc: "in this state only: pending, live, or failed. A page may then hold fewer than limit, even none"},
	}
	sinceParam = param{name: "since", kind: "string",
		doc: "at this time (RFC 3339, in any zone) or later, or a span before now like 90m or 2d"}
	untilParam = param{name: "until", kind: "string", doc: "before this time"}

	filterParams = []param{
		tenantParam,
		{name: "endpoint", kind: "string",
			doc: "routed to this endpoint, or to one of several (a,b): tenant/name, or for a tenant the name alone"},
		{name: "brand", kind: "string",
			doc: "of this brand, or an alias of it, or of one of several (zt,sto); cp_code is the same"},
		{name: "cp_code", kind: "string", doc: "the same as brand"},
		{name: "status", kind: "string", doc: "with this status, or one of several (signed,question); " +
			"or of this type, if the relay itself has made it (waybill.stalled)"},
		{name: "waybill_code", kind: "string", doc: "of this waybill"},
		{name: "state", kind: "string",
			doc: "with a delivery in this state, or in one of several: " + strings.Join(states(), ", ")},
		sinceParam,
		untilParam,
	}
)

// spanParams are the parameters of a series.
var spanParams = []param{
	{name: "since", kind: "string",
		doc: "from this time (RFC 3339) on, or a span before now like 90m or 2d; default 24 h before until. " +
			"Further back than console.history and an hour, a step is 1h or more; nothing is kept for longer than 15 d"},
	{name: "until", kind: "string", doc: "before this time; default now"},
	{name: "step", kind: "string", doc: "length of a point, such that there are at most 360: " + stepNames() +
		"; default: the shortest with at most 300 points"},
}
