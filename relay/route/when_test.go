package route

import (
	"bytes"
	"fmt"
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
		`event.type == "express_sub_msg" and event.waybill_code == "777"`: true,
		`event.cp_code == "zt" && event.status in ["signed", "question"]`: true,
		`event.status not in ["signed"]`:                                  false,
		`len(event.tracks) > 0`:                                           true,
		`any(event.tracks, .status == "sending")`:                         true,
		`all(event.tracks, {.context contains "签"})`:                      false,
		`event.tracks[0].time startsWith "2022-03"`:                       true,
		`event.tracks[9].time == ""`:                                      failure,
		`first(event.tracks)?.status == "signed"`:                         true,
		`count(event.tracks, .status == "signed") == 1`:                   true,
		`event.received_at == date("2026-02-28T23:30:00Z")`:               true,
		`event.received_at.Hour() == 23`:                                  true,
		`event.received_at.In(timezone("Asia/Shanghai")).Hour() == 7`:     true,
		`event.data.weight > 2`:                                           true,
		`event.data.weight > 2.5`:                                         false,
		`event.data.weight + event.data.no == 125.5`:                      true,
		`event.data.tiny < 0.01`:                                          true,
		`event.data.no == 123`:                                            true,
		`event.data.no == "123"`:                                          true,
		`"123" == event.data.no`:                                          true,
		`event.data.txt == "123"`:                                         true,
		`event.data.no != "123"`:                                          false,
		`event.data.no in ["122", "123"]`:                                 true,
		`event.data.txt in ["122", "123"]`:                                true,
		`event.data.no in [122, 123]`:                                     true,
		`event.data.no in 100..200`:                                       true,
		`event.data.no startsWith "12"`:                                   true,
		`event.data.no endsWith "12"`:                                     false,
		`event.data.no contains "2"`:                                      true,
		`event.data.no matches "^[0-9]+$"`:                                true,
		`event.data.weight == "2.5"`:                                      true,
		`event.data.big == "12345678901234567890123"`:                     true,
		`event.data.big > 5`:                                              failure,
		`event.data.huge == "1e999"`:                                      true,
		`event.data.txt > 5`:                                              failure,
		`float(event.data.txt) > 5`:                                       true,
		`string(event.data.no) + "4" == "1234"`:                           true,
		`event.data.yes == true`:                                          true,
		`event.data.list[2] == 3.5`:                                       true,
		`"no" in event.data and not ("nope" in event.data)`:               true,
		`event.data.nope == nil`:                                          true,
		`event.data.nope == "x"`:                                          false,
		`event.data.nope > 1`:                                             failure,
		`event.data.nope.more == 1`:                                       failure,
		`event.data.nope?.more == nil`:                                    true,
		`event.data.deep.n == 4 and event.data.deep["nil"] == nil`:        true,
		`event["data"].no == 123`:                                         true,
		`let e = event; e.data.no == 123`:                                 true,
		`$env.event.data.no == 123`:                                       true,
		`get(event.data, "no") == 123`:                                    true,
		`let s = upper(event.status); s == "SIGNED" and lower(s) != s`:    true,
		`split(event.status, "g")[1] == "ned"`:                            true,
		`event.status + "x" == "signedx"`:                                 true,
		`event.status | hasPrefix("sig")`:                                 true,
		"event.status ==\n\"signed\"":                                     true,
	}
	for source, want := range cases {
		t.Run(source, func(t *testing.T) {
			t.Parallel()
			when, err := newCondition(source)
			if err != nil {
				t.Fatal(err)
			}
			ok, err := when.holds(&subject{event: whenEvent()})
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
		`reduce(event.tracks, #acc + #acc, "x") == ""`:              "1:1: reduce is not available here",
		`any(event.tracks, repeat(.status, 9) == "")`:               "repeat is not available here",
		`all(1..1000000, true)`:                                     "1:6: a range can stand after in only",
		`let r = 1..1000000; len(r) == 1`:                           "a range can stand after in only",
		`event.data.no in 1..9 and len(1..9) > 1`:                   "1:32: a range can stand after in only",
		`event.status matches "("`:                                  "missing closing )",
		strings.Repeat("1 + ", 600) + "1 == 1":                      "nodes",
		strings.Repeat(" ", 5000) + "true":                          "the expression has 5004 bytes, at most 4096 are allowed",
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
	tracks := bytes.Repeat([]byte(`{"status":"sending"},`), 8_000)
	large := &event.Event{
		Tracks: make([]event.Track, 8_000),
		Data:   fmt.Appendf(nil, `{"text":%q,"tracks":[%snull]}`, strings.Repeat("x", budget+1), tracks),
	}
	var doubling strings.Builder
	doubling.WriteString("let a0 = event.data.text; ")
	for i := range 60 {
		fmt.Fprintf(&doubling, "let a%d = a%d + a%d; ", i+1, i, i)
	}
	doubling.WriteString("len(a60) > 0")
	for name, source := range map[string]string{
		"a loop over everything":      `all(event.data.tracks, true)`,
		"loops within loops":          `all(event.tracks, all(event.tracks, all(event.tracks, true)))`,
		"text doubled again":          doubling.String(),
		"text made in a loop":         `len(filter(event.tracks, upper(event.data.text) == "")) == 0`,
		"the event made text":         `string(event.data) == ""`,
		"text split in letters":       `len(split(event.data.text, "")) == 1`,
		"a search in a loop":          `any(event.tracks, .status in event.data.tracks)`,
		"a range without end":         `event.data.nope in 1..9000000000000000000`,
		"a range of a million":        `event.data.nope in 1..1000000`,
		"a range in a loop":           `any(event.tracks, 100 in 200..1200)`,
		"lists made in a loop":        `all(event.tracks, [1,2,3,4,5,6,7,8,9,10] != [])`,
		"filters of filters in loops": `all(event.tracks, len(filter(event.tracks, len(filter(event.tracks, true)) > 0)) > 0)`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			when, err := newCondition(source)
			if err != nil {
				t.Fatal(err)
			}
			ok, err := when.holds(&subject{event: large})
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
		Tracks: make([]event.Track, 150),
		Data:   fmt.Appendf(nil, `{"tracks":[%snull]}`, strings.Repeat(track, 150)),
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
		if ok, err := when.holds(&subject{event: ev}); !ok || err != nil {
			t.Errorf("%s: %v, %v", source, ok, err)
		}
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
		`$env["event"].status + string(event.data) != upper("ß")`, `if true { 1 } else { 2 } == 1`, `first(event.tracks).time == ""`,
		`filter(event.data.list, # > 1) | len() == min(1, 2)`, `event.status[1:-1] == b"x"`, `{"a": event}.a.data.no == 123`,
	} {
		f.Add(source)
	}
	f.Fuzz(func(t *testing.T, source string) {
		when, err := newCondition(source)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Fatalf("error of several lines: %v", err)
			}
			return
		}
		began := time.Now()
		ok, err := when.holds(&subject{event: whenEvent()})
		again, _ := when.holds(&subject{event: whenEvent()})
		if ok != again || ok && err != nil {
			t.Fatalf("%v, then %v: %v", ok, again, err)
		}
		if took := time.Since(began); took > 30*time.Second {
			t.Fatalf("took %s", took)
		}
	})
}
