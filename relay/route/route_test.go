package route

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"kuairelay/relay/event"
)

func TestRoutesMatchAsConfigured(t *testing.T) {
	t.Parallel()
	ev := event.Event{
		Type: event.TypeWaybill, WaybillCode: "777005949070187", CPCode: "yt", Status: "allograph",
		Tracks: []event.Track{{Status: "allograph"}}, Data: []byte(`{"weight":3}`),
	}
	absent := event.Event{Type: "print", Data: []byte(`{}`)}
	list := func(texts ...string) []string { return texts }
	cases := map[string]struct {
		rule                Rule
		want, wantForAbsent event.Conditions
	}{
		"no match at all":            {Rule{}, event.Always, event.Always},
		"a type":                     {Rule{Match: Match{Type: list(event.TypeWaybill)}}, event.Always, 0},
		"another type":               {Rule{Match: Match{Type: list("print")}}, 0, event.Always},
		"any type":                   {Rule{Match: Match{Type: list("*")}}, event.Always, event.Always},
		"a brand":                    {Rule{Match: Match{CPCode: list("zt", "yt")}}, event.Always, 0},
		"a brand by an alias":        {Rule{Match: Match{CPCode: list("ytsd")}}, event.Always, 0},
		"an alias with a glob":       {Rule{Match: Match{CPCode: list("ytsd*")}}, 0, 0},
		"a brand glob":               {Rule{Match: Match{CPCode: list("y*")}}, event.Always, 0},
		"any brand":                  {Rule{Match: Match{CPCode: list("*")}}, event.Always, 0},
		"a status":                   {Rule{Match: Match{Status: list("signed", "allograph")}}, event.Always, 0},
		"a status spelt the old way": {Rule{Match: Match{Status: list("allorgraph")}}, event.Always, 0},
		"another status":             {Rule{Match: Match{Status: list("signed")}}, 0, 0},
		"a waybill":                  {Rule{Match: Match{WaybillCode: list("777005949070187")}}, event.Always, 0},
		"part of a waybill":          {Rule{Match: Match{WaybillCode: list("777")}}, 0, 0},
		"a waybill prefix":           {Rule{Match: Match{WaybillCode: list("78*", "77*")}}, event.Always, 0},
		"a waybill suffix":           {Rule{Match: Match{WaybillCode: list("*187")}}, event.Always, 0},
		"a prefix and a suffix":      {Rule{Match: Match{WaybillCode: list("77*187")}}, event.Always, 0},
		"another suffix":             {Rule{Match: Match{WaybillCode: list("77*188")}}, 0, 0},
		"a prefix that is all of it": {Rule{Match: Match{WaybillCode: list("777005949070187*")}}, event.Always, 0},
		"any waybill":                {Rule{Match: Match{WaybillCode: list("*")}}, event.Always, 0},
		"all keys": {
			Rule{Match: Match{
				Type: list(event.TypeWaybill), CPCode: list("yt"), Status: list("allograph"), WaybillCode: list("7*"),
			}}, event.Always, 0,
		},
		"all keys but one": {
			Rule{Match: Match{
				Type: list(event.TypeWaybill), CPCode: list("yt"), Status: list("signed"), WaybillCode: list("7*"),
			}}, 0, 0,
		},
		"changed":    {Rule{Match: Match{Changed: "status"}}, event.IfChanged, 0},
		"subscribed": {Rule{Match: Match{Subscribed: true}}, event.IfSubscribed, 0},
		"changed and subscribed": {Rule{Match: Match{Changed: "status", Subscribed: true}}, event.IfChangedAndSubscribed,
			0},
		"changed to something else": {Rule{Match: Match{Status: list("signed"), Changed: "status"}}, 0, 0},
		"when":                      {Rule{When: `event.data.weight > 2`}, event.Always, 0},
		"when false":                {Rule{When: `event.data.weight > 3`}, 0, 0},
		"when, match not holding":   {Rule{Match: Match{Status: list("signed")}, When: `true`}, 0, 0},
		"when and changed": {Rule{Match: Match{Changed: "status"}, When: `len(event.tracks) == 1`}, event.IfChanged,
			0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.rule.To = list("shop/orders")
			table := compile(t, Options{Rules: []Rule{c.rule}, Canonical: brands, CanonicalStatus: statuses})
			for ev, want := range map[*event.Event]event.Conditions{&ev: c.want, &absent: c.wantForAbsent} {
				var expected []Candidate
				if want != 0 {
					expected = []Candidate{{ID: "shop/orders", When: want}}
				}
				if got := table.Match(ev, nil); !slices.Equal(got, expected) {
					t.Errorf("%s: got %v, want %v", ev.Type, got, expected)
				}
			}
		})
	}
}

func TestAnEndpointIsACandidateOnceUnderAnyOfItsConditions(t *testing.T) {
	t.Parallel()
	signed := Match{Status: []string{"signed"}}
	table := compile(t, Options{Rules: []Rule{
		{To: []string{"b/two"}, Match: Match{Changed: "status"}},
		{To: []string{"never/mentioned"}, Match: Match{Type: []string{"print"}}},
		{To: []string{"a/one", "b/two", "b/two"}, Match: signed},
		{To: []string{"c/three"}, Match: Match{Changed: "status"}},
		{To: []string{"c/three"}, Match: Match{Changed: "status", CPCode: []string{"zt"}}},
	}})
	want := []Candidate{
		{ID: "b/two", When: event.Always | event.IfChanged},
		{ID: "a/one", When: event.Always},
		{ID: "c/three", When: event.IfChanged},
	}
	before := []Candidate{{ID: "kept"}}
	for range 3 {
		got := table.Match(&event.Event{CPCode: "zt", Status: "signed"}, before)
		if !slices.Equal(got, append(before, want...)) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
}

func TestTheListsOfAConfigStayAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	brands, statuses := []string{"ZTO", "y*"}, []string{"SIGNED"}
	compile(t, Options{Canonical: strings.ToLower, CanonicalStatus: strings.ToLower,
		Rules: []Rule{{To: []string{"a/one"}, Match: Match{CPCode: brands, Status: statuses}}}})
	if brands[0] != "ZTO" || statuses[0] != "SIGNED" {
		t.Errorf("the config's lists are %v and %v now", brands, statuses)
	}
}

func TestAnEmptyTableMatchesNothing(t *testing.T) {
	t.Parallel()
	table := compile(t, Options{})
	if got := table.Match(&event.Event{WaybillCode: "1"}, nil); len(got) != 0 {
		t.Errorf("got %v", got)
	}
	if got := table.Explain(&event.Event{}); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

func TestNewNamesEveryMistakeWithItsPlace(t *testing.T) {
	t.Parallel()
	_, err := New(Options{Rules: []Rule{
		{Pos: "a.yaml:1", To: []string{"a/x"}, When: "event.colour == 1"},
		{Pos: "a.yaml:2", To: []string{"a/x"}, When: "event.status"},
		{Pos: "a.yaml:3", To: []string{"a/x"}, Match: Match{Changed: "colour", CPCode: []string{"zt", ""}}},
		{Pos: "a.yaml:4", To: []string{"a/x"}},
		{Pos: "a.yaml:5"},
	}})
	want := []string{
		`a.yaml:1: when: 1:7: event has no field colour`,
		`a.yaml:2: when: expected bool, but got string`,
		`a.yaml:3: match: cp_code has an empty pattern, which matches nothing`,
		`a.yaml:3: match: changed is "colour", must be status`,
		`a.yaml:5: to names no endpoint`,
	}
	if err == nil || err.Error() != strings.Join(want, "\n") {
		t.Errorf("got %v", err)
	}
}

func TestTheIndexAnswersAsAScanWouldOnRandomTables(t *testing.T) {
	t.Parallel()
	matched := 0
	for seed := range uint64(80) {
		matched += compareWithScan(t, seed, seed*7919)
	}
	if matched < 3_000 {
		t.Errorf("only %d matches: the tables are too easy", matched)
	}
}

// FuzzMatch compares the index with a scan on tables that the fuzzer picks.
func FuzzMatch(f *testing.F) {
	f.Add(uint64(1), uint64(2))
	f.Fuzz(func(t *testing.T, seed, more uint64) { compareWithScan(t, seed, more) })
}

// compareWithScan makes a table, and compares index, report and scan for some events. It returns how many routes
// matched.
func compareWithScan(t *testing.T, seed, more uint64) (matched int) {
	random := rand.New(rand.NewPCG(seed, more))
	rules := randomRules(random, random.IntN(60))
	options := Options{Rules: rules, Canonical: brands, CanonicalStatus: statuses}
	table := compile(t, options)
	for range 30 {
		ev := randomEvent(random)
		order, owed := naive(rules, options, ev)
		var want []Candidate
		for _, name := range order {
			want = append(want, Candidate{ID: name, When: owed[name]})
		}
		if got := table.Match(ev, nil); !slices.Equal(got, want) {
			t.Fatalf("seed %d %d, event %+v: got %v, want %v", seed, more, ev, got, want)
		}
		for i, report := range table.Explain(ev) {
			if report.Matched != naiveMatch(rules[i], options, ev) {
				t.Fatalf("seed %d %d, event %+v: report %+v", seed, more, ev, report)
			}
			if report.Matched {
				matched++
			}
		}
	}
	return matched
}

func TestLongListsAreFoundLikeShortOnes(t *testing.T) {
	t.Parallel()
	var codes, prefixes, many []string
	for i := range 5000 {
		codes = append(codes, fmt.Sprintf("1%06d", i))
		prefixes = append(prefixes, fmt.Sprintf("2%06d*", i))
		many = append(many, fmt.Sprintf("s%d", i))
	}
	table := compile(t, Options{Rules: []Rule{
		{To: []string{"a/codes"}, Match: Match{WaybillCode: codes, Status: many, CPCode: many}},
		{To: []string{"a/prefixes"}, Match: Match{WaybillCode: prefixes, Status: many, CPCode: many}},
		{To: []string{"a/status"}, Match: Match{Status: many, CPCode: many, Type: many}},
	}})
	for code, want := range map[string]string{
		"1004999": "a/codes", "10049990": "", "2000000": "a/prefixes", "20049991": "a/prefixes", "2005000": "",
		"": "a/status",
	} {
		ev := &event.Event{WaybillCode: code, Status: "s4999", CPCode: "s0"}
		if want == "a/status" {
			ev.Type = "s77"
		}
		var got string
		for _, c := range table.Match(ev, nil) {
			got += c.ID
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", code, got, want)
		}
	}
}

func TestMatchIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 1))
	rules := randomRules(random, 200)
	table := compile(t, Options{Rules: rules, Canonical: brands, CanonicalStatus: statuses,
		OnWhenError: func(*Rule, error) {}})
	var events []*event.Event
	var want [][]Candidate
	for range 50 {
		events = append(events, randomEvent(random))
		want = append(want, table.Match(events[len(events)-1], nil))
	}
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			var buffer []Candidate
			for i, ev := range events {
				if buffer = table.Match(ev, buffer[:0]); !slices.Equal(buffer, want[i]) {
					t.Errorf("event %d: got %v, want %v", i, buffer, want[i])
				}
			}
		})
	}
	wait.Wait()
}

func compile(t testing.TB, options Options) *Table {
	t.Helper()
	table, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	return table
}
