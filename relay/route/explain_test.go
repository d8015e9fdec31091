package route

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"kuairelay/relay/event"
)

func TestExplainNamesWhatDecidedForEveryRoute(t *testing.T) {
	t.Parallel()
	var many []string
	for i := range 13 {
		many = append(many, fmt.Sprintf("9%02d*", i))
	}
	cases := []struct {
		match   Match
		when    string
		matched bool
		why     string
	}{
		{Match{}, "", true, "matches every event"},
		{Match{Status: []string{"sending"}}, "", true, "matches"},
		{Match{}, "true", true, "matches"},
		{Match{Changed: "status"}, "", true, "matches, if the status changed"},
		{Match{Subscribed: true}, "", true, "matches, if the tenant has subscribed the waybill"},
		{Match{Changed: "status", Subscribed: true}, "", true, "matches, if the status changed and the " +
			"tenant has subscribed the waybill"},
		{Match{Status: []string{"signed", "question"}}, "", false, `status "sending" is none of signed, question`},
		{Match{Status: []string{"sign*"}}, "", false, `status "sending" is not sign*`},
		{Match{WaybillCode: many}, "", false, `waybill_code "7701" is none of 900*, 901*, 902*, 903*, 904*, 905*, 906*, ` +
			`907*, 908*, 909*, and 3 more`},
		{Match{Type: []string{"print"}, CPCode: []string{"zt"}}, "", false, `type "express_sub_msg" is not print`},
		{Match{CPCode: []string{"*"}, Status: []string{"signed"}}, "", false, `cp_code is absent`},
		{Match{Status: []string{"sending"}}, "len(event.tracks) > 0", false, "when: false"},
		{Match{}, "event.data.a.b > 0", false, "when failed: 1:14: cannot fetch b from <nil>"},
		{Match{}, "int(event.data.phone) > 0", false, "when failed: 1:1: invalid operation: int(139x)"},
	}
	rules := make([]Rule, len(cases))
	for i, c := range cases {
		rules[i] = Rule{Tenant: "shop", To: []string{"shop/a", "shop/b"}, Match: c.match, When: c.when,
			Pos: fmt.Sprintf("shop.yaml:%d", i)}
	}
	table := compile(t, Options{Rules: rules, OnWhenError: func(*Rule, error) {
		t.Error("a report was taken for a failure")
	}})
	ev := &event.Event{Type: event.TypeWaybill, WaybillCode: "7701", Status: "sending", Data: []byte(`{"phone":"139x"}`)}
	for i, got := range table.Explain(ev) {
		if got.Matched != cases[i].matched || got.Why != cases[i].why {
			t.Errorf("got %v %q, want %v %q", got.Matched, got.Why, cases[i].matched, cases[i].why)
		}
		if got.Tenant != "shop" || got.Pos != rules[i].Pos || !slices.Equal(got.Endpoints, rules[i].To) {
			t.Errorf("got %+v", got)
		}
	}
}

func TestExplainSaysThatAnAbsentStatusCannotHaveChanged(t *testing.T) {
	t.Parallel()
	table := compile(t, Options{Rules: []Rule{{To: []string{"a/b"}, Match: Match{Changed: "status"}}}})
	if got := table.Explain(&event.Event{})[0]; got.Matched || got.Why != "changed: status is absent" {
		t.Errorf("got %+v", got)
	}
}

func TestExplainSaysThatAnEventWithoutAWaybillCannotBeSubscribed(t *testing.T) {
	t.Parallel()
	table := compile(t, Options{Rules: []Rule{{To: []string{"a/b"}, Match: Match{Subscribed: true}}}})
	if got := table.Explain(&event.Event{})[0]; got.Matched || got.Why != "subscribed: waybill_code is absent" {
		t.Errorf("got %+v", got)
	}
}

func TestExplainSaysThatTheDataIsNotJSON(t *testing.T) {
	t.Parallel()
	table := compile(t, Options{Rules: []Rule{{To: []string{"a/b"}, When: "event.data == 1"}}})
	for _, data := range []string{"", "{", "1 2", "{} x"} {
		got := table.Explain(&event.Event{Data: []byte(data)})[0]
		if got.Matched || !strings.Contains(got.Why, "event.data is not JSON") {
			t.Errorf("%q: got %+v", data, got)
		}
	}
}
