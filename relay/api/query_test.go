package api

import (
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"kuairelay/relay/event"
)

// readAll reads every parameter that there is.
func readAll(c *call) (query, error) {
	r := c.reader()
	q := query{limit: r.limit(), newer: r.flag("newer"), filter: r.filter()}
	return q, r.end()
}

type query struct {
	limit  int
	newer  bool
	filter filter
}

func TestAQueryIsRead(t *testing.T) {
	t.Parallel()
	b := newBench(Options{})
	for _, x := range []struct {
		tenant, query string
		want          query
	}{
		{tenant: "", query: "", want: query{limit: defaultLimit}},
		{tenant: "shop", query: "", want: query{limit: defaultLimit, filter: filter{Tenant: "shop"}}},
		{tenant: "shop", query: "endpoint=orders",
			want: query{limit: 100, filter: filter{Tenant: "shop", Endpoint: "shop/orders"}}},
		{tenant: "", query: "endpoint=other/mail&tenant=other",
			want: query{limit: 100, filter: filter{Tenant: "other", Endpoint: "other/mail"}}},
		{tenant: "", query: "limit=+500+&newer=true", want: query{limit: 500, newer: true}},
		{tenant: "", query: "brand=yt&state=open", want: query{limit: 100, filter: filter{Brand: "ytsd", State: "open"}}},
		{tenant: "", query: "brand=sto&cp_code=zt", want: query{limit: 100, filter: filter{Brand: "zt"}}},
		{tenant: "", query: "since=2d&until=90m",
			want: query{limit: 100, filter: filter{Since: noon.Add(-48 * time.Hour), Until: noon.Add(-90 * time.Minute)}}},
		{tenant: "", query: "since=2026-11-24T08:00:00Z",
			want: query{limit: 100, filter: filter{Since: noon.Add(-4 * time.Hour)}}},
		{tenant: "", query: "since=2026-11-24T16:00:00%2B08:00&until=2026-11-24T16:30:00+08:00", // once not escaped
			want: query{limit: 100, filter: filter{Since: noon.Add(-4 * time.Hour), Until: noon.Add(-210 * time.Minute)}}},
		{tenant: "", query: "status=signed,%20Question&state=dead,open,dead&brand=yt,zt",
			want: query{limit: 100, filter: filter{Status: "signed,question", State: "dead,open", Brand: "ytsd,zt"}}},
		{tenant: "shop", query: "endpoint=orders,shop/a",
			want: query{limit: 100, filter: filter{Tenant: "shop", Endpoint: "shop/orders,shop/a"}}},
	} {
		got, err := ask(b, readAll, x.tenant, "/?"+x.query, "")
		x.want.filter.removedToo = true // it only reads
		if err != nil || !reflect.DeepEqual(got, x.want) {
			t.Errorf("%q %s: %+v (%v), want %+v", x.tenant, x.query, got, err, x.want)
		}
	}
}

func TestAQueryThatIsWrongIsRefusedByTheNameOfItsParameter(t *testing.T) {
	t.Parallel()
	b := newBench(Options{})
	for _, x := range []struct{ tenant, query, detail string }{
		{query: "limit=0", detail: "limit: must be a whole number from 1 to 500"},
		{query: "limit=501", detail: "limit: must be"},
		{query: "limit=x", detail: "limit: must be"},
		{query: "newer=2", detail: "newer: must be true or false"},
		{query: "since=yesterday", detail: "since: must be a time like"},
		{query: "since=-2d", detail: "since: must be a time like"},
		{query: "since=1h&until=2h", detail: "since: must be before until"},
		{query: "state=opened", detail: "state: must be one of open, unrouted, "},
		{query: "state=dead,opened", detail: "state: must be one of open, unrouted, "},
		{query: "state=dead,unrouted&tenant=shop", detail: "state: unrouted events belong to no tenant"},
		{query: "status=,", detail: "status: names nothing"},
		{query: "status=" + strings.Repeat("a,", maxValues+1), detail: "status: names more than 50 values"},
		{tenant: "shop", query: "endpoint=orders,other/mail", detail: "endpoint: other/mail is not yours"},
		{query: "state=unrouted&tenant=shop", detail: "state: unrouted events belong to no tenant"},
		{query: "tenant=nobody", detail: `tenant: there is no tenant "nobody"`},
		{tenant: "shop", query: "tenant=other", detail: "tenant: a tenant sees only its own data"},
		{tenant: "shop", query: "endpoint=other/mail", detail: "endpoint: other/mail is not yours"},
		{query: "endpoint=shop/orders&tenant=other", detail: `endpoint: there is no endpoint "shop/orders"`},
		{query: "since=x&limit=0", detail: "limit: "}, // the first that is read
		{query: url.Values{"waybil_code": {"1"}}.Encode(), detail: "waybil_code: there is no such parameter here"},
	} {
		_, err := ask(b, readAll, x.tenant, "/?"+x.query, "")
		refused(t, x.tenant+" "+x.query, err, 400, x.detail)
	}
}

func TestABodyThatIsWrongIsRefusedByWhatIsWrongWithIt(t *testing.T) {
	t.Parallel()
	b := newBench(Options{})
	for body, detail := range map[string]string{
		`{`:                             "it is not valid JSON",
		`[]`:                            "must be an object",
		`{"al":true}`:                   `there is no key "al"`,
		`{"all":1}`:                     "all must be true or false",
		`{"filter":{"since":"monday"}}`: "since and until must be times like",
		`{}`:                            "give either dead_letters or all",
		`{"all":true,"dead_letters":[{"event_id":"e","endpoint":"x"}]}`: "give either dead_letters or all",
		`{"all":true,"filter":{"state":"queued"}}`:                      "state: the state of a dead letter is dead",
	} {
		_, err := ask(b, redriveDeadLetters, "shop", "/", body)
		refused(t, body, err, 400, detail)
	}
}

func TestAFilterTakesAnyOfTheValuesThatItNames(t *testing.T) {
	t.Parallel()
	e := &event.Record{Event: event.Event{CPCode: "zt", Status: "signed"}}
	e.Deliveries = []event.DeliveryRecord{
		{Endpoint: "shop/orders", State: event.StateDead}, {Endpoint: "other/mail", State: event.StateRetrying},
	}
	nobodys := &event.Record{Event: event.Event{CPCode: "zt", Status: "signed"}}
	for _, x := range []struct {
		filter      filter
		its, nobody bool
	}{
		{filter: filter{Status: "question,signed"}, its: true, nobody: true},
		{filter: filter{Status: "question,sign"}},
		{filter: filter{Brand: "sto,zt", Status: "signed"}, its: true, nobody: true},
		{filter: filter{State: "delivered,dead"}, its: true},
		{filter: filter{State: "delivered,open"}, its: true},
		{filter: filter{State: "delivered,unrouted"}, nobody: true},
		{filter: filter{State: "open", Endpoint: "shop/orders,shop/a"}},
		{filter: filter{State: "open,dead", Endpoint: "shop/a,shop/orders"}, its: true},
	} {
		takes := x.filter.match()
		if takes(e) != x.its || takes(nobodys) != x.nobody {
			t.Errorf("%+v: %v and %v, want %v and %v", x.filter, takes(e), takes(nobodys), x.its, x.nobody)
		}
	}
}
