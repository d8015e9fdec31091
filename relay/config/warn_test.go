package config

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

// A key that is added to Match has to be known to covers. Otherwise check says of a route that it adds nothing,
// although the other one leaves events out.
func TestARouteCoversNoOtherThatItLeavesEventsOutOf(t *testing.T) {
	t.Parallel()
	all := reflect.TypeFor[Match]()
	for i := range all.NumField() {
		name := all.Field(i).Name
		if name == "Written" {
			continue
		}
		limited, same, other := &Match{}, &Match{}, &Match{Type: []string{"t"}, CPCode: []string{"zt"}}
		for _, m := range []*Match{limited, same} {
			switch v := reflect.ValueOf(m).Elem().Field(i); v.Kind() {
			case reflect.String:
				v.SetString("x")
			case reflect.Bool:
				v.SetBool(true)
			case reflect.Slice:
				v.Set(reflect.ValueOf([]string{"x"}))
			default:
				t.Fatalf("Match.%s is a %s: what is one that leaves events out?", name, v.Kind())
			}
		}
		if (Route{Match: limited}).covers(Route{Match: other}) {
			t.Errorf("a route with Match.%s covers one without: covers does not know the key", name)
		}
		if !(Route{Match: limited}).covers(Route{Match: same}) {
			t.Errorf("a route with Match.%s does not cover another with the same", name)
		}
	}
}

func TestAnAPIKeyThatHasEndedOrEndsWithinAWeekIsWarnedOf(t *testing.T) {
	t.Parallel()
	in := func(d time.Duration) string { return time.Now().Add(d).Format(time.RFC3339) }
	text := "callback: {tokens: [long-enough]}\ntenants: [{name: a, api_keys: [good-key-without-end, " +
		"{key: good-key-for-long, until: " + in(8*24*time.Hour) + "}, " +
		"{key: good-key-for-days, name: ci, until: " + in(6*24*time.Hour) + "}, " +
		"{key: good-key-of-the-past, until: " + in(-time.Hour) + "}], endpoints: [{name: a, url: 'https://h.example', " +
		"secrets: [" + goodSecret + "]}], routes: [{to: a}]}]"
	var got []string
	for _, w := range mustLoad(t, text).Warnings {
		got = append(got, w.Msg)
	}
	equal(t, "warnings", got, []string{
		"API key 3 of tenant a (ci) ends within a week: give those who use it another",
		"API key 4 of tenant a has ended, and lets nobody in any more: take it out",
	})
}

func TestAPrivateNameThatNoNetworkIsAllowedForIsWarnedOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		host, egress, own string
		want              bool
	}{
		{host: "orders", want: true},
		{host: "orders:8443", want: true},
		{host: "orders.shop.svc", want: true},
		{host: "orders.shop.svc.cluster.local", want: true},
		{host: "ORDERS.Internal.", want: true},
		{host: "nas.lan", want: true},
		{host: "box.home.arpa", want: true},
		{host: "localhost", want: true},
		{host: "shop.localhost", want: true},
		{host: "shop.example", want: false},
		{host: "local.example", want: false},
		{host: "mylocal.example.com", want: false},
		{host: "10.0.0.1", want: false}, // an address is checked when it is dialled, and in the config
		{host: "[fd00::1]", want: false},

		{host: "orders", egress: "allow_cidrs: [10.0.0.0/8]", want: false},
		{host: "orders", own: "10.1.2.3", want: false},
		{host: "orders", egress: "allow_cidrs: [127.0.0.0/8]", own: "::1", want: true},
		{host: "orders", egress: "allow_cidrs: [127.0.0.0/8]", own: "fd00::/8", want: false},
		{host: "orders", egress: "proxy: http://proxy.example:3128", want: false},
		{host: "localhost", egress: "allow_cidrs: [10.0.0.0/8]", want: true},
		{host: "localhost", egress: "allow_cidrs: [10.0.0.0/8]", own: "127.0.0.1", want: false},
		{host: "localhost", own: "::1", want: false},
		{host: "localhost", own: "0.0.0.0/0", want: false},
	} {
		text := fmt.Sprintf(`callback: {tokens: [long-enough]}
egress: {%s}
tenants: [{name: a, endpoints: [{name: a, url: 'https://%s/x', secrets: [%s], allow_cidrs: [%q]}], routes: [{to: a}]}]
`, c.egress, c.host, goodSecret, c.own)
		text = strings.Replace(text, `, allow_cidrs: [""]`, "", 1)
		warned := false
		for _, w := range mustLoad(t, text).Warnings {
			warned = warned || strings.Contains(w.Msg, "endpoint a/a has a private name as its host")
		}
		if warned != c.want {
			t.Errorf("warned: %v, want %v\n%s", warned, c.want, text)
		}
	}
}

func TestAWatchThatNoRoutePassesIsWarnedOf(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"watch: {stalled: 48h, lost: true}, routes: [{to: a}]":                                             nil,
		"watch: {stalled: 48h, lost: true}, routes: [{to: a, match: {subscribed: true}}]":                  nil,
		"watch: {stalled: 48h}, routes: [{to: a, match: {type: 'waybill.*'}}]":                             nil,
		"watch: {stalled: 0, lost: false}, routes: [{to: a, match: {status: signed}}]":                     nil,
		"watch: {stalled: 48h}, routes: [{to: a, match: {status: signed}}, {to: a, match: {type: [x.y]}}]": {"stalled"},
		"watch: {not_collected: 1h, not_picked_up: 1h, lost: true}, routes: [{to: a, match: {changed: status}}, " +
			"{to: a, match: {type: '*.not_collected'}}]": {"not_picked_up", "lost"},
	} {
		var got []string
		for _, w := range mustLoad(t, "callback: {tokens: [long-enough]}\ntenants: [{name: a, api_keys: [long-enough-key], "+
			"endpoints: [{name: a, url: 'https://h.example', secrets: ["+goodSecret+"]}], "+text+"}]").Warnings {
			if key, ok := strings.CutPrefix(w.Msg, "watch."); ok {
				key, _, _ = strings.Cut(key, ":")
				got = append(got, key)
			}
		}
		equal(t, text, got, want)
	}
	with := mustLoad(t, "callback: {tokens: [long-enough]}\ntenants: [{name: a, watch: {stalled: 1h}, "+
		"endpoints: [{name: a, url: 'https://h.example', secrets: ["+goodSecret+"]}], routes: [{to: a}]}]").Warnings
	if len(with) != 1 || !strings.Contains(with[0].Msg, "has no api_keys to subscribe with") {
		t.Errorf("%v", with)
	}
}
