package api

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"kuairelay/relay/event"
)

// notes keeps acts, the latest last, unless it fails.
type notes struct {
	acts []event.Act
	err  error
}

func (n *notes) Note(_ context.Context, a event.Act) error {
	if n.err == nil {
		n.acts = append(n.acts, a)
	}
	return n.err
}

func (n *notes) Acts(_ context.Context, q event.ActQuery) (page []event.Act, next string, err error) {
	for _, a := range slices.Backward(n.acts) {
		if q.Match(&a) && !a.At.Before(q.Since) {
			page = append(page, a)
		}
	}
	return page, q.Cursor + "+", n.err
}

func TestEveryRouteThatIsNoReadIsAnActOrSaysWhyNot(t *testing.T) {
	t.Parallel()
	names := map[string]string{} // of acts, with their routes
	for _, r := range routes() {
		switch {
		case r.act != "" && r.noAct != "":
			t.Errorf("%s %s is an act, and says why not", r.method, r.path)
		case r.act == "" && r.method != get && r.noAct == "":
			t.Errorf("%s %s changes something: name its act, or say in noAct why the audit needs no entry", r.method, r.path)
		case r.act != "" && !slices.Contains(ActNames(), r.act):
			t.Errorf("%s %s is the act %s, which ActNames lacks", r.method, r.path, r.act)
		case r.act != "" && names[r.act] != "" && names[r.act] != r.method+" "+r.path:
			t.Errorf("%s %s has the name of another act: %s", r.method, r.path, r.act)
		}
		names[r.act] = r.method + " " + r.path
	}
	for _, name := range ActNames() {
		if names[name] == "" && name != ActReload && name != ActLogin {
			t.Errorf("no route is the act %s", name)
		}
	}
}

// acting lets everybody in, as the tenant shop with the key ci or as the operator, and keeps their acts.
func acting() (*bench, *notes) {
	b := newBench(Options{
		Tenant:   func(echo.Context) (string, string, error) { return "shop", "ci", nil },
		Operator: func(echo.Context) (string, error) { return "", nil },
	})
	n := &notes{}
	b.audit = n
	return b, n
}

func TestAnActIsInTheAuditWithWhoDidItAndWhatCameOfIt(t *testing.T) {
	t.Parallel()
	shop := event.Actor{Name: "shop", Key: "ci", From: "192.0.2.1"}
	operator := event.Actor{Name: event.Operator, From: "192.0.2.1"}
	down := echo.NewHTTPError(503, "cannot pause an endpoint: redis at 10.0.0.1 is down")
	for name, x := range map[string]struct {
		do     func(*call) error
		params map[string]string
		shop   []event.Act // as the tenant
		others []event.Act // as the operator
	}{
		"what the path names": {
			do:     func(*call) error { return nil },
			params: map[string]string{"tenant": "shop", "endpoint": "orders"},
			shop:   []event.Act{{By: shop, Tenant: "shop", Subject: "shop/orders", Count: 1, Result: "done"}},
			others: []event.Act{{By: operator, Tenant: "shop", Subject: "shop/orders", Count: 1, Result: "done"}},
		},
		"what the handler says": {
			do: func(c *call) error {
				c.deeds.result = "answered 200"
				c.didTo("shop/orders", 3)
				return nil
			},
			shop:   []event.Act{{By: shop, Tenant: "shop", Subject: "shop/orders", Count: 3, Result: "answered 200"}},
			others: []event.Act{{By: operator, Tenant: "shop", Subject: "shop/orders", Count: 3, Result: "answered 200"}},
		},
		"things of several tenants": {
			do: func(c *call) error {
				c.didTo("shop/orders", 3)
				c.didTo("other/mail", 1)
				c.didTo("shop/a", 2)
				return nil
			},
			shop: []event.Act{{By: shop, Tenant: "shop", Count: 6, Result: "done"}},
			others: []event.Act{
				{By: operator, Tenant: "other", Subject: "other/mail", Count: 1, Result: "done"},
				{By: operator, Tenant: "shop", Count: 5, Result: "done"},
			},
		},
		"a failure, which tells nothing of Redis": {
			do:     func(*call) error { return down },
			params: map[string]string{"id": "rpl_1"},
			shop:   []event.Act{{By: shop, Tenant: "shop", Subject: "rpl_1", Count: 1, Result: "failed: 503"}},
			others: []event.Act{{By: operator, Subject: "rpl_1", Count: 1, Result: "failed: 503"}},
		},
		"a part of what was asked for": {
			do: func(c *call) error {
				c.did("shop", "shop/a", 1)
				return errNotQuarantined
			},
			shop:   []event.Act{{By: shop, Tenant: "shop", Subject: "shop/a", Count: 1, Result: "failed: 404"}},
			others: []event.Act{{By: operator, Tenant: "shop", Subject: "shop/a", Count: 1, Result: "failed: 404"}},
		},
		"what was refused": {do: func(*call) error { return errNoReplay }},
		"what changed nothing": {
			do: func(c *call) error {
				c.did("shop", "rpl_1", 1)
				c.didNothing()
				return nil
			},
		},
	} {
		b, n := acting()
		r := route{act: "try", handler: doing(x.do)}
		for _, as := range []struct {
			handle echo.HandlerFunc
			want   []event.Act
		}{{b.asTenant(r), x.shop}, {b.asOperator(r), x.others}} {
			n.acts = nil
			c, _ := b.call("", "/", "")
			c.SetParamNames(slices.Collect(maps.Keys(x.params))...)
			for i, param := range c.ParamNames() {
				c.ParamValues()[i] = x.params[param]
			}
			_ = as.handle(c.Context) // its answer is that of the handler
			for i := range as.want {
				as.want[i].What = "try"
			}
			if !reflect.DeepEqual(n.acts, as.want) {
				t.Errorf("%s: the audit has\n%+v, want\n%+v", name, n.acts, as.want)
			}
		}
	}
}

func TestAnActOfAPageIsInTheAuditToo(t *testing.T) {
	t.Parallel()
	b, n := acting()
	b.replays = &replayList{}
	page, _ := b.call("", "/", "")
	for _, q := range []Question{
		{Tenant: "shop", Key: "ci", Route: "POST /replays", Body: map[string]any{"endpoint": "orders"}},
		{Route: "POST /replays", Body: map[string]any{"endpoint": "other/mail"}},
		{Route: "POST /replays", Body: map[string]any{"endpoint": "other/mail,shop/a"}},
		{Route: "POST /replays", Body: map[string]any{"dry_run": true}},
	} {
		if _, err := b.Ask(page.Context, q); err != nil {
			t.Fatal(err)
		}
	}
	want := []event.Act{
		{By: event.Actor{Name: "shop", Key: "ci", From: "192.0.2.1"}, What: "replay", Tenant: "shop"},
		{By: event.Actor{Name: event.Operator, From: "192.0.2.1"}, What: "replay", Tenant: "other"},
		{By: event.Actor{Name: event.Operator, From: "192.0.2.1"}, What: "replay"},
	}
	for i := range n.acts {
		n.acts[i].Count, n.acts[i].Result = 0, ""
	}
	if !reflect.DeepEqual(n.acts, want) {
		t.Errorf("the audit has %+v, want %+v", n.acts, want)
	}
}

func TestAReadIsNoAct(t *testing.T) {
	t.Parallel()
	b, n := acting()
	c, _ := b.call("", "/", "")
	if err := b.asTenant(route{handler: doing(func(*call) error { return nil })})(c.Context); err != nil || n.acts != nil {
		t.Errorf("%v, the audit has %+v", err, n.acts)
	}
}

func TestARequestOnThingsOfManyTenantsMakesFewEntries(t *testing.T) {
	t.Parallel()
	b, n := acting()
	c, _ := b.call("", "/", "")
	const tenants = 500
	err := b.asOperator(route{act: "try", handler: doing(func(c *call) error {
		for i := range tenants {
			c.didTo(fmt.Sprintf("t%03d/a", i), 2)
		}
		return nil
	})})(c.Context)
	sum := 0
	for _, a := range n.acts {
		sum += a.Count
	}
	if err != nil || len(n.acts) != notesAtOnce || sum != 2*tenants {
		t.Errorf("%d entries of %d changes (%v)", len(n.acts), sum, err)
	}
	if last := n.acts[len(n.acts)-1]; last.Tenant != "" || last.Subject != "" {
		t.Errorf("that of all others is %+v", last)
	}
}

func TestAnActThatRedisDoesNotTakeIsInTheLogAndTheAnswerIsTheSame(t *testing.T) {
	t.Parallel()
	b, n := acting()
	n.err = errors.New("redis is down")
	c, answer := b.call("", "/", "")
	err := b.asTenant(route{act: "try", status: 204, handler: doing(func(c *call) error {
		c.didTo("shop/orders", 2)
		return nil
	})})(c.Context)
	if err != nil || answer.Code != 204 {
		t.Errorf("%v, %d", err, answer.Code)
	}
	lost := b.logs.FilterMessage("API action is not in the audit").All()
	want := map[string]any{"done": "try", "subject": "shop/orders", "count": int64(2), "by": "shop", "key": "ci",
		"from": "192.0.2.1", "result": "done", "error": "redis is down"}
	if len(lost) != 1 || !reflect.DeepEqual(lost[0].ContextMap(), want) {
		t.Errorf("the log has %+v, want %v", lost, want)
	}
}

func TestTextsOfAnActAreBounded(t *testing.T) {
	t.Parallel()
	b, n := acting()
	long := strings.Repeat("运", 1000)
	b.Note(t.Context(), event.Act{What: ActReload, Subject: long, Result: long, By: event.Actor{From: long}})
	got := n.acts[0]
	for _, text := range []string{got.Subject, got.Result, got.By.From} {
		if len(text) > noteText || !strings.HasPrefix(long, text) || text == "" {
			t.Errorf("%d bytes: %q", len(text), text)
		}
	}
}

func TestATenantSeesItsActsAndTheOperatorsOnItsThingsWithoutTheAddress(t *testing.T) {
	t.Parallel()
	b, n := acting()
	at := func(hours int) time.Time { return noon.Add(-time.Duration(hours) * time.Hour) }
	operator := event.Actor{Name: event.Operator, From: "10.0.0.2"}
	n.acts = []event.Act{
		{At: at(5), By: event.Actor{Name: "shop", Key: "ci", From: "10.0.0.1"}, What: "pause", Tenant: "shop",
			Subject: "shop/a"},
		{At: at(4), By: operator, What: "resume", Tenant: "shop", Subject: "shop/a"},
		{At: at(3), By: operator, What: "pause", Tenant: "other", Subject: "other/mail"},
		{At: at(2), By: event.Actor{Name: "other", From: "10.0.0.3"}, What: "test", Tenant: "other", Subject: "other/mail"},
		{At: at(1), By: operator, What: "reload"},
	}
	for _, x := range []struct {
		tenant, query string
		want          []string
	}{
		{tenant: "shop", want: []string{"resume operator ", "pause shop 10.0.0.1"}},
		{tenant: "other", want: []string{"test other 10.0.0.3", "pause operator "}},
		{query: "", want: []string{"reload operator 10.0.0.2", "test other 10.0.0.3", "pause operator 10.0.0.2",
			"resume operator 10.0.0.2", "pause shop 10.0.0.1"}},
		{query: "tenant=shop", want: []string{"resume operator 10.0.0.2", "pause shop 10.0.0.1"}},
		{query: "what=pause", want: []string{"pause operator 10.0.0.2", "pause shop 10.0.0.1"}},
		{query: "since=3h&until=90m", want: []string{"test other 10.0.0.3", "pause operator 10.0.0.2"}},
		{tenant: "shop", query: "tenant=shop&what=test"},
	} {
		got, err := ask(b, listAudit, x.tenant, "/?"+x.query, "")
		var rows []string
		for _, a := range got.Acts {
			rows = append(rows, a.What+" "+a.By.Name+" "+a.By.From)
		}
		if err != nil || !slices.Equal(rows, x.want) || got.Next != "+" {
			t.Errorf("%q %s: %q (%v), want %q", x.tenant, x.query, rows, err, x.want)
		}
	}
	for query, detail := range map[string]string{
		"what=sneeze":  "what: must be one of pause, ",
		"tenant=other": "tenant: a tenant sees only its own data",
		"since=monday": "since: must be a time",
		"cp_code=zt":   "cp_code: there is no such parameter here",
		"limit=501":    "limit: must be a whole number",
	} {
		_, err := ask(b, listAudit, "shop", "/?"+query, "")
		refused(t, query, err, 400, detail)
	}
}
