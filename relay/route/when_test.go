package route

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"kuairelay/relay/event"
)

func whenEvent() *event.Event {
	return &event.Event{
		Type: event.TypeWaybill, WaybillCode: "777", CPCode: "zt", Status: "signed",
		Tracks: []event.Track{{Time: "2022-03-24 09:12:31", Context: "已签收", Status: "signed"}, {Status: "sending"}},
		Data: []byte(`{"no":123,"txt":"123","weight":2.5,"big":12345678901234567890123,"tiny":1e-3,"huge":1e999,` +
			`"yes":true,"list":[1,"2",3.5],"deep":{"nil":null,"n":4}}`),
		ReceivedAt: time.Date(2026, 3, 1, 7, 30, 0, 0, time.FixedZone("China", 8*3600)),
	}
}

func TestWhenSeesTheWholeEvent(t *testing.T) {
	t.Parallel()
	const failure = "failure"
	cases := map[string]any{
		`event.type == "express_sub_msg" and event.waybill_code == "777"`:                           true,
		`event.cp_code == "zt" && event.status in ["signed", "question"]`:                           true,
		`event.status not in ["signed"]`:                                                            false,
		`len(event.tracks) > 0`:                                                                     true,
		`any(event.tracks, .status == "sending")`:                                                   true,
		`all(event.tracks, {.context contains "签"})`:                                                false,
		`event.tracks[0].time startsWith "2022-03"`:                                                 true,
		`event.tracks[9].time == ""`:                                                                failure,
		`event.tracks[0].at == date("2022-03-24T09:12:31+08:00")`:                                   true,
		`event.tracks[0].at.Hour() == 9`:                                                            true,
		`event.tracks[0].at < event.received_at`:                                                    true,
		`event.tracks[0].at > event.received_at`:                                                    false,
		`event.received_at.After(event.tracks[0].at)`:                                               true,
		`event.received_at - event.tracks[0].at > duration("24h")`:                                  true,
		`event.tracks[1].at == nil`:                                                                 true,
		`event.tracks[1].at < event.received_at`:                                                    false,
		`event.tracks[1].at >= event.received_at`:                                                   false,
		`event.received_at > last(event.tracks)?.at`:                                                false,
		`event.tracks[1].at < event.tracks[0].at`:                                                   false,
		`event.tracks[1]["at"] != nil`:                                                              false,
		`event.tracks[1].at == event.tracks[0].at`:                                                  false,
		`event.tracks[1].at.Hour() == 0`:                                                            failure,
		`event.received_at.After(event.tracks[1].at)`:                                               failure,
		`event.received_at - event.tracks[1].at > duration("1h")`:                                   failure,
		`string(event.tracks[0]) == "{2022-03-24 09:12:31 已签收 signed}"`:                             true,
		`event.tracks[0] == event.tracks[0]`:                                                        true,
		`event.tracks[0] == event.tracks[1]`:                                                        false,
		`date("2022-03-24 09:12:31", "2006-01-02 15:04:05", "Asia/Shanghai") == event.tracks[0].at`: true,
		`first(event.tracks)?.status == "signed"`:                                                   true,
		`count(event.tracks, .status == "signed") == 1`:                                             true,
		`event.received_at == date("2026-02-28T23:30:00Z")`:                                         true,
		`event.received_at.Hour() == 23`:                                                            true,
		`event.received_at.In(timezone("Asia/Shanghai")).Hour() == 7`:                               true,
		`event.data.weight > 2`:                                                                     true,
		`event.data.weight > 2.5`:                                                                   false,
		`event.data.weight + event.data.no == 125.5`:                                                true,
		`event.data.tiny < 0.01`:                                                                    true,
		`event.data.no == 123`:                                                                      true,
		`event.data.no == "123"`:                                                                    true,
		`"123" == event.data.no`:                                                                    true,
		`event.data.txt == "123"`:                                                                   true,
		`event.data.no != "123"`:                                                                    false,
		`event.data.no in ["122", "123"]`:                                                           true,
		`event.data.txt in ["122", "123"]`:                                                          true,
		`event.data.no in [122, 123]`:                                                               true,
		`event.data.no in 100..200`:                                                                 true,
		`event.data.no in 1..9000000000000000000`:                                                   true,
		`event.data.no not in 124..200`:                                                             true,
		`event.data.weight in 2..3`:                                                                 false,
		`event.data.txt in 1..200`:                                                                  false,
		`event.data.nope in 1..1000000`:                                                             false,
		`event.data.no in 1..event.data.no`:                                                         true,
		`event.received_at.Hour() in 23..23`:                                                        true,
		`event.data.txt != event.data.no`:                                                           true,
		`event.data.list == [1, "2", 3.5]`:                                                          true,
		`event.data.list != event.data.list`:                                                        false,
		`event.data.deep == {"nil": nil, "n": 4}`:                                                   true,
		`event.data.txt < event.data.txt + "4"`:                                                     true,
		`event.data.txt in event.data`:                                                              false,
		`event.data.deep.n in event.data.list`:                                                      false,
		`event.data.list[1] in event.data.list`:                                                     true,
		`event.data.no + event.data.deep.n == 127`:                                                  true,
		`trim(event.data.txt, "13") == "2"`:                                                         true,
		`split(event.data.txt, "", 2)[1] == "23"`:                                                   true,
		`sum(event.data.list[2:]) + min(event.data.no, 5) == 8.5`:                                   true,
		`event.status matches "(?i)^SIGN"`:                                                          true,
		`event.data.no startsWith "12"`:                                                             true,
		`event.data.no endsWith "12"`:                                                               false,
		`event.data.no contains "2"`:                                                                true,
		`event.data.no matches "^[0-9]+$"`:                                                          true,
		`event.data.weight == "2.5"`:                                                                true,
		`event.data.big == "12345678901234567890123"`:                                               true,
		`event.data.big > 5`:                                                                        failure,
		`event.data.huge == "1e999"`:                                                                true,
		`event.data.txt > 5`:                                                                        failure,
		`float(event.data.txt) > 5`:                                                                 true,
		`string(event.data.no) + "4" == "1234"`:                                                     true,
		`event.data.yes == true`:                                                                    true,
		`event.data.list[2] == 3.5`:                                                                 true,
		`"no" in event.data and not ("nope" in event.data)`:                                         true,
		`event.data.nope == nil`:                                                                    true,
		`event.data.nope == "x"`:                                                                    false,
		`event.data.nope > 1`:                                                                       failure,
		`event.data.nope.more == 1`:                                                                 failure,
		`event.data.nope?.more == nil`:                                                              true,
		`event.data.deep.n == 4 and event.data.deep["nil"] == nil`:                                  true,
		`event["data"].no == 123`:                                                                   true,
		`let e = event; e.data.no == 123`:                                                           true,
		`$env.event.data.no == 123`:                                                                 true,
		`get(event.data, "no") == 123`:                                                              true,
		`let s = upper(event.status); s == "SIGNED" and lower(s) != s`:                              true,
		`split(event.status, "g")[1] == "ned"`:                                                      true,
		`event.status + "x" == "signedx"`:                                                           true,
		`event.status | hasPrefix("sig")`:                                                           true,
		"event.status ==\n\"signed\"":                                                               true,
	}
	for source, want := range cases {
		t.Run(source, func(t *testing.T) {
			t.Parallel()
			when, err := newCondition(source)
			if err != nil {
				t.Fatal(err)
			}
			ok, err := when.holds(&subject{event: whenEvent()}, "a")
			var got any = ok
			if err != nil {
				got = failure
			}
			if got != want {
				t.Errorf("got %v (%v), want %v", got, err, want)
			}
		})
	}
}

func TestCheckWhenSaysWhatIsWrongInOneLine(t *testing.T) {
	t.Parallel()
	cases := map[string]string{
		``:                                 "unexpected token EOF",
		`   `:                              "unexpected token EOF",
		`true and`:                         "1:8: unexpected token EOF",
		`colour == 1`:                      "1:1: unknown name colour",
		`event.colour == 1`:                "1:7: event has no field colour",
		"true and\n event.colour == 1":     "2:8: event has no field colour",
		`event.Status == "signed"`:         "1:7: event has no field Status",
		`event.turn > 0`:                   "1:7: event has no field turn",
		`event.tracks[0].colour == ""`:     "has no field colour",
		`event.status == 3`:                "mismatched types string and int",
		`upper(event.status) > 3`:          "mismatched types string and int",
		`event.status`:                     "expected bool, but got string",
		`event`:                            "expected bool, but got event",
		`len(event.tracks)`:                "expected bool, but got int",
		`event.data.yes`:                   "compare it, with == true for example",
		`event.tracks[0].time() == ""`:     "1:17:",
		`now() > event.received_at`:        "1:1: now is not available here",
		`map(event.tracks, .status) == []`: "1:1: map is not available here",
		`reduce(event.tracks, #acc + #acc, "x") == ""`: "1:1: reduce is not available here",
		`any(event.tracks, repeat(.status, 9) == "")`:  "repeat is not available here",
		`all(1..1000000, true)`: "1:6: a range can " +
			"stand after in only",
		`let r = 1..1000000; len(r) == 1`: "a range can stand after in only",
		`event.data.no in 1..9 and len(1..9) > 1`: "1:32: a range can " +
			"stand after in only",
		`event.status matches "("`: "missing closing )",
		`event.status matches event.type`: "1:14: the pattern of " +
			"matches must be a literal text",
		`event.status matches "a" + "b"`: "the pattern of matches " +
			"must be a literal text",
		`event.status matches "` + strings.Repeat(".{0,1000}", 9) +
			`"`: "1:14: the patterns of matches are too large",
		`timezone(event.status) == nil`: "1:1: the name of a " +
			"time zone must be a literal text",
		`date(event.status, "2006", event.status) == event.received_at`: "the name of a time " +
			"zone must be a literal text",
		`event.received_at.In(timezone("Asia/Nowhere")).Hour() == 1`: "there is no time " +
			"zone \"Asia/Nowhere\"",
		strings.Repeat("(0 < ", 40) + "1" + strings.Repeat(" < 3 ? 1 : 2)", 40) + " == 1": "the expression is too large",
		strings.Repeat("1 + ", 600) + "1 == 1":                                            "nodes",
		strings.Repeat(" ", 5000) + "true": "the expression has 5004 " +
			"bytes, at most 4096 are allowed",
		strings.Repeat("(", 2000) + "1" + strings.Repeat(")", 2000): "expected bool, but got int",
	}
	for source, want := range cases {
		err := CheckWhen(source)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.60q: got %v, want %q", source, err, want)
		}
	}
}

func TestAWhenThatFailsIsReportedWithoutQuotingTheEvent(t *testing.T) {
	t.Parallel()
	var heard []string
	rules := []Rule{
		{To: []string{"a/b"}, Pos: "a.yaml:1", When: `true and int(event.data.phone) > 0`},
		{To: []string{"a/b"}, Pos: "a.yaml:2", When: `date(event.data.phone) > event.received_at`},
		{To: []string{"a/b"}, Pos: "a.yaml:3", Match: Match{Status: []string{"signed"}}, When: `event.data.phone > 0`},
		{To: []string{"a/c"}, Pos: "a.yaml:4", When: `event.data.phone != nil`},
		{To: []string{"a/b"}, Pos: "a.yaml:5", When: `event.data["phone"].x == 0`},
	}
	table := compile(t, Options{Rules: rules, OnWhenError: func(rule *Rule, err error) {
		heard = append(heard, rule.Pos+" "+err.Error())
	}})
	got := table.Match(&event.Event{Data: []byte(`{"phone":"13912345678x"}`)}, nil)
	if len(got) != 1 || got[0].ID != "a/c" {
		t.Errorf("got %v, want a/c alone", got)
	}
	want := []string{
		"a.yaml:1 1:10: cannot be evaluated for this event",
		"a.yaml:2 1:1: cannot be evaluated for this event",
		"a.yaml:5 1:21: cannot be evaluated for this event",
	}
	if strings.Join(heard, "\n") != strings.Join(want, "\n") {
		t.Errorf("heard %q", heard)
	}
}

func TestTheNextEventIsSeenAfresh(t *testing.T) {
	t.Parallel()
	table := compile(t, Options{Rules: []Rule{{To: []string{"a/b"}, When: `event.data.no == 1 and event.status == "x"`}}})
	match := func(status, data string) int {
		return len(table.Match(&event.Event{Status: status, Data: []byte(data)}, nil))
	}
	for range 20 {
		if match("x", `{"no":1}`) != 1 || match("x", `{"no":2}`) != 0 || match("y", `{"no":1}`) != 0 || match("x", `{`) != 0 {
			t.Fatal("an event was taken for another")
		}
	}
}

// A tenant's expression must neither stop the relay nor fill its memory, whatever event comes.
func TestARunawayExpressionIsStopped(t *testing.T) {
	t.Parallel()
	tracks := bytes.Repeat([]byte(`{"status":"sending"},`), 2_000)
	large := &event.Event{
		Tracks: make([]event.Track, 2_000),
		Data:   fmt.Appendf(nil, `{"text":%q,"tracks":[%snull]}`, strings.Repeat("x", maxWhenData/2), tracks),
	}
	var doubling strings.Builder
	doubling.WriteString("let a0 = event.data.text; ")
	for i := range 60 {
		fmt.Fprintf(&doubling, "let a%d = a%d + a%d; ", i+1, i, i)
	}
	doubling.WriteString("len(a60) > 0")
	for name, source := range map[string]string{
		"a loop over everything, again": `all(event.tracks, all(event.data.tracks, true))`,
		"loops within loops":            `all(event.tracks, all(event.tracks, all(event.tracks, true)))`,
		"text doubled again":            doubling.String(),
		"text made in a loop":           `len(filter(event.tracks, upper(event.data.text) == "")) == 0`,
		"the event made text":           `any(event.tracks, string(event.data) == "")`,
		"text split in letters":         `all(event.tracks, len(split(event.data.text, "")) > 1)`,
		"a pattern in a loop":           `any(event.tracks, event.data.text matches "a*b")`,
		"a pattern that is large":       `event.data.text matches "(x?){100}y"`,
		"a search in a loop":            `any(event.tracks, .status in event.data.tracks)`,
		"lists made in a loop":          `all(event.tracks, all(event.tracks, [#, #, #, #] != nil))`,
		"filters of filters in loops": `all(event.tracks, len(filter(event.tracks, ` +
			`len(filter(event.tracks, true)) > 0)) > 0)`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			when, err := newCondition(source)
			if err != nil {
				t.Fatal(err)
			}
			ok, err := when.holds(&subject{event: large}, "a")
			if ok || err == nil || !strings.Contains(err.Error(), "too costly for this event") {
				t.Errorf("got %v, %v", ok, err)
			}
		})
	}
}

func TestWhatAnOrdinaryEventNeedsIsNotTooCostly(t *testing.T) {
	t.Parallel()
	track := `{"time":"2022-03-24 09:12:31","context":"【杭州市】快件已从杭州中转部发出，准备发往上海","status":"sending"},`
	ev := &event.Event{
		Tracks: make([]event.Track, 60),
		Data:   fmt.Appendf(nil, `{"tracks":[%snull]}`, strings.Repeat(track, 60)),
	}
	for _, source := range []string{
		`all(event.tracks, .context == "")`,
		`all(event.tracks, all(event.tracks, .status == ""))`,
		`string(event.data) contains "上海"`,
	} {
		when, err := newCondition(source)
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := when.holds(&subject{event: ev}, "a"); !ok || err != nil {
			t.Errorf("%s: %v, %v", source, ok, err)
		}
	}
}

// What one tenant's expressions may cost for an event is bounded for all of them together. What another tenant's plain
// expressions need is left, however many tenants there are that spend all they can.
func TestATenantsExpressionsDoNotTakeFromAnothers(t *testing.T) {
	t.Parallel()
	costly, plain := `all(event.tracks, all(event.tracks, .status != "x"))`, `any(event.tracks, .status == "sending")`
	var rules []Rule
	for i := range 20 {
		tenant := fmt.Sprintf("t%02d", i)
		for range 5 {
			rules = append(rules, Rule{Tenant: tenant, To: []string{tenant + "/costly"}, When: costly})
		}
		rules = append(rules, Rule{Tenant: tenant, To: []string{tenant + "/plain"}, When: plain})
	}
	rules = append(rules, Rule{Tenant: "z", To: []string{"z/plain"}, When: plain})
	failed := map[string]int{}
	table := compile(t, Options{Rules: rules, OnWhenError: func(rule *Rule, err error) {
		if !strings.Contains(err.Error(), "too costly for this event") {
			t.Error(err)
		}
		failed[rule.To[0]]++
	}})
	ev := &event.Event{Tracks: make([]event.Track, 60)}
	for i := range ev.Tracks {
		ev.Tracks[i].Status = "sending"
	}

	got := map[string]bool{}
	for _, c := range table.Match(ev, nil) {
		got[c.ID] = true
	}
	if !got["z/plain"] || failed["z/plain"] > 0 {
		t.Error("the last tenant did not get what its plain expression matches")
	}
	if failed["t00/costly"] != 4 || failed["t19/costly"] != 5 {
		t.Errorf("of five costly expressions %d failed at the first tenant, want 4; %d at the last, want 5",
			failed["t00/costly"], failed["t19/costly"])
	}
	for _, report := range table.Explain(ev) {
		if report.Matched != got[report.Endpoints[0]] && !strings.Contains(report.Endpoints[0], "costly") {
			t.Errorf("explain says %v of %s", report.Matched, report.Endpoints)
		}
	}
}

func TestAnEventThatIsTooLargeToBeLookedIntoIsStillRoutedByItsFields(t *testing.T) {
	t.Parallel()
	rules := []Rule{
		{To: []string{"a/fields"}, When: `event.status == "signed" and event.cp_code != "sto"`},
		{To: []string{"a/data"}, When: `event.data.x == nil`},
		{To: []string{"a/tracks"}, When: `len(event.tracks) >= 0`},
	}
	for name, data := range map[string]string{
		"bytes": `{"text":"` + strings.Repeat("x", maxWhenData) + `"}`,
		"parts": `[` + strings.Repeat("1,", maxWhenParts) + `1]`,
	} {
		var heard []string
		table := compile(t, Options{Rules: rules, OnWhenError: func(_ *Rule, err error) {
			heard = append(heard, err.Error())
		}})
		got := table.Match(&event.Event{Status: "signed", Data: []byte(data)}, nil)
		if len(got) != 1 || got[0].ID != "a/fields" || len(heard) != 2 ||
			!strings.HasPrefix(heard[0], "too costly for this event: it has more than") {
			t.Errorf("%s: got %v, heard %q", name, got, heard)
		}
	}
}

func TestThePagesOfRoutesNameEveryFunction(t *testing.T) {
	t.Parallel()
	for _, page := range []string{"../../docs/tenant/routes.md", "../../docs/zh/tenant/routes.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range builtins {
			if !bytes.Contains(text, []byte("`"+name+"`")) {
				t.Errorf("%s does not name %s", page, name)
			}
		}
	}
}

func TestWhatMakesTheLibraryPanicIsRefusedInOneLine(t *testing.T) {
	t.Parallel()
	for _, source := range panics {
		err := CheckWhen(source)
		if err == nil || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "goroutine") ||
			len(err.Error()) > 500 {
			t.Errorf("%.60q: %v", source, err)
		}
	}
}

// panics are expressions that expr v1.17.8 compiles with a panic, which it gives back as an error with its stack.
var panics = []string{
	`event.status matches "(" + ""`,
	`any(event.tracks, .status not matches "[" + "a")`,
}

// The larger an event is, the more its expressions may cost: what loops over an event fits, and what loops over numbers
// of its own does not.
func TestWhatExpressionsMayCostGrowsWithTheEvent(t *testing.T) {
	t.Parallel()
	of := func(tracks int) *event.Event {
		one := `{"time":"2026-11-29 10:00:00","context":"[北京] 已揽收","status":"collected"}`
		ev := &event.Event{
			Tracks: make([]event.Track, tracks),
			Data:   []byte(`{"tracks":[` + strings.TrimSuffix(strings.Repeat(one+",", tracks), ",") + `]}`),
		}
		return ev
	}
	const forty = `[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31,32,33,34,35,` +
		`36,37,38,39,40]`
	const own = `any(` + forty + `, any(` + forty + `, # > 99))`
	const within = `all(event.tracks, all(event.tracks, .status != "x"))`

	for _, c := range []struct {
		name, when string
		tracks     int
		fits       bool
	}{
		{name: "numbers of its own, a small event", when: own, tracks: 2},
		{name: "numbers of its own, a large event", when: own, tracks: 60, fits: true},
		{name: "a loop within a loop, a small event", when: within, tracks: 2, fits: true},
		{name: "a loop within a loop, 20 tracks", when: within, tracks: 20, fits: true},
		{name: "a loop within a loop, 60 tracks", when: within, tracks: 60, fits: true},
		{name: "a loop within a loop, 300 tracks", when: within, tracks: 300},
	} {
		t.Run(c.name, func(t *testing.T) {
			when, err := newCondition(c.when)
			if err != nil {
				t.Fatal(err)
			}
			s := &subject{event: of(c.tracks)}
			_, err = when.holds(s, "a")
			if (err == nil) != c.fits {
				t.Errorf("%v; it has spent %d", err, s.tenantSpent)
			}
		})
	}
}

// FuzzWhen compiles and evaluates whatever it is given: no panic, no error of several lines, no evaluation without end,
// and the same answer twice.
func FuzzWhen(f *testing.F) {
	for source := range testWhens {
		f.Add(source)
	}
	for _, source := range []string{
		`any(event.tracks, {.status in ["a"]}) and event.data.no startsWith "1"`, `let x = event.data; x?.a ?? 1 == 1`,
		`event.received_at.Format("2006") == "2026"`, `sum(event.data.list, int(#)) in 1..9`, `event.data[0:1] matches "a.*"`,
		`$env["event"].status + string(event.data) != upper("ß")`, `if true { 1 } else { 2 } == 1`,
		`first(event.tracks).time == ""`,
		`event.status matches "(a?){9}b" and trim(event.status, "sd") < "x"`, `0 < (0 < len(event.status) < 9 ? 1 : 2) < 3`,
		`event.tracks[0].at < event.received_at or event.data.no in 1..event.data.deep.n`,
		`(event.data.no ?: 1) in [[1], event.data.list]`,
		`date(event.tracks[0].time, "2006-01-02 15:04:05", "Asia/Shanghai").Year() == 2022`,
		`median(event.data.list, [1, 2]) > 1`,
		`filter(event.data.list, # > 1) | len() == min(1, 2)`, `event.status[1:-1] == b"x"`, `{"a": event}.a.data.no == 123`,
	} {
		f.Add(source)
	}
	f.Fuzz(func(t *testing.T, source string) {
		when, err := newCondition(source)
		if err != nil {
			if strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "goroutine ") {
				t.Fatalf("error of several lines, or with a stack: %v", err)
			}
			return
		}
		began := time.Now()
		s := &subject{event: whenEvent()}
		ok, err := when.holds(s, "a")
		if err == nil && s.tenantSpent > whenBudget {
			t.Fatalf("spent %d", s.tenantSpent)
		}
		again, _ := when.holds(&subject{event: whenEvent()}, "a")
		if ok != again || ok && err != nil {
			t.Fatalf("%v, then %v: %v", ok, again, err)
		}
		if took := time.Since(began); took > 30*time.Second {
			t.Fatalf("took %s", took)
		}
	})
}

// What two objects have in common is paid for, key by key, as long as there is something left to pay with.
func TestAComparisonOfObjectsIsPaidFor(t *testing.T) {
	t.Parallel()
	object := func() map[string]any {
		out := make(map[string]any)
		for i := range 100 {
			out[fmt.Sprintf("%03d", i)] = float64(i)
		}
		return out
	}
	const plenty = 1 << 30
	v := &view{left: plenty}
	if err := v.payPair(object(), object()); err != nil {
		t.Fatal(err)
	}
	cost := plenty - v.left
	if least := 100 * (perElement + 3); cost < least {
		t.Errorf("it costs %d, and its keys alone are %d", cost, least)
	}
	if err := (&view{left: cost}).payPair(object(), object()); err != nil {
		t.Errorf("with just enough: %v", err)
	}
	if err := (&view{left: cost - 1}).payPair(object(), object()); !errors.Is(err, errTooCostly) {
		t.Errorf("with too little: %v", err)
	}
}

// The tracks of an event are made ready once, and once more for the first condition that asks for their times.
func TestTracksAreMadeReadyOnceForAllConditions(t *testing.T) {
	t.Parallel()
	s := &subject{event: &event.Event{Tracks: []event.Track{{Time: "2022-03-24 09:12:31"}}}}
	made := func(c *condition) *track {
		t.Helper()
		if err := s.prepare(c); err != nil {
			t.Fatal(err)
		}
		if len(s.view.Tracks) == 0 {
			return nil
		}
		return s.view.Tracks[0]
	}
	if made(&condition{}) != nil {
		t.Error("tracks that nobody asks for are made ready")
	}
	plain := made(&condition{usesTracks: true})
	if plain == nil || made(&condition{usesTracks: true}) != plain {
		t.Error("tracks are made ready again for the next condition")
	}
	timed := made(&condition{usesTracks: true, usesTimes: true})
	if timed == nil || timed == plain || made(&condition{usesTracks: true, usesTimes: true}) != timed ||
		made(&condition{usesTracks: true}) != timed {
		t.Error("tracks with their times are made ready again")
	}
}

// Whoever looks at a long text pays for its length, whichever way it is looked at.
func TestALongTextIsPaidForByItsLength(t *testing.T) {
	t.Parallel()
	const length = 10_000
	ev := &event.Event{Data: fmt.Appendf(nil, `{"text":%q}`, strings.Repeat("a", length))}
	for source, least := range map[string]int{
		`event.data.text in ["b", "c"]`:         length * perCompared / 16,
		`event.data.text == event.data.text`:    length * perCompared / 16,
		`event.data[event.data.text] == "text"`: length * perCompared / 16,
		`event.data.text contains "b"`:          length * perCompared / 2,
		`event.data.text matches "^b"`:          length * perCompared,
		`upper(event.data.text) == "b"`:         length * perCompared,
	} {
		when, err := newCondition(source)
		if err != nil {
			t.Fatalf("%s: %v", source, err)
		}
		s := &subject{event: ev}
		if _, err := when.holds(s, "a"); err != nil || s.tenantSpent < least {
			t.Errorf("%s: spent %d of at least %d, %v", source, s.tenantSpent, least, err)
		}
	}
}
