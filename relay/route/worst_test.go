package route

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"kuairelay/relay/event"
)

// worstEvent is about as large as an event may be that expressions look into, and has of everything much.
func worstEvent() *event.Event {
	const texts, parts = maxWhenData * 2 / 5, maxWhenParts / 6
	var object bytes.Buffer
	for i := range parts {
		fmt.Fprintf(&object, `"k%d":%d,`, i, i%10)
	}
	ev := &event.Event{
		Type: event.TypeWaybill, WaybillCode: "1", CPCode: "zt", Status: "signed", ReceivedAt: time.Unix(1700000000, 0),
		Tracks: make([]event.Track, maxWhenParts/4),
		Data: fmt.Appendf(nil, `{"text":%q,"chinese":%q,"list":[%s1],"object":{%s"k":1},"deep":%s,"words":[%s"w"]}`,
			strings.Repeat("a", texts), strings.Repeat("签收", texts/6), strings.Repeat("1,", parts), &object,
			strings.Repeat("[1,", parts)+"1"+strings.Repeat("]", parts), strings.Repeat(`"w",`, parts)),
	}
	for i := range ev.Tracks {
		ev.Tracks[i] = event.Track{Time: "2022-03-24 09:12:31", Context: "快件已到达杭州转运中心", Status: "sending"}
	}
	return ev
}

// worstWhens are expressions that were made to be slow, of every operation and builtin.
func worstWhens() map[string]string {
	again := func(n int, part string) string { return strings.Repeat(part+" or ", n) + "false" }
	in := func(n int, of string) string {
		return "len(" + strings.Repeat(of+"(", n) + "event.data.chinese" + strings.Repeat(")", n) + ") < 0"
	}
	twice := func(n int, open, end string) string { return strings.Repeat(open, n) + "1" + strings.Repeat(end, n) }
	return map[string]string{
		"matches: repetitions of repetitions": `event.data.text matches "` + strings.Repeat(`.{0,1000}`, 440) + `b"`,
		"matches: optional letters":           `event.data.text matches "^(` + strings.Repeat(`a?`, 400) + `){2}b$"`,
		"matches: 100 x":                      `event.data.text matches "(a?){100}b"`,
		"matches: any then any":               `event.data.text matches "(.*)(.*)(.*)(.*)(.*)[^a]"`,
		"matches: folded classes":             `event.data.chinese matches "(?i)` + strings.Repeat(`\\pL`, 800) + `"`,
		"matches: large classes":              `event.data.chinese matches "` + strings.Repeat(`\\pL?`, 800) + `b"`,
		"matches: alternatives":               `event.data.text matches "` + strings.Repeat("a*b|", 100) + `c"`,
		"matches: in a loop":                  `all(event.tracks, not (.context matches "(.*)(.*)x"))`,
		"matches: the pattern from the event": `event.data.text matches event.data.text`,
		"matches: a made pattern":             `event.data.text matches "a" + "*"`,
		"matches: all as text":                `string(event.data) matches "x.*y.*z"`,
		"matches: nested repetitions":         `event.data.text matches "((((a{9}){9}){9}){9})b"`,
		"comparisons that share a part":       twice(40, "(0 < ", " < 3 ? 1 : 2)") + " == 1",
		"elvis operators that share a part":   twice(80, "(", " ?: 1)") + " == 1",
		"comparisons in a row":                `0 < ` + strings.Repeat("len(event.data.list) < ", 80) + "9",
		"parentheses":                         strings.Repeat("(", 2000) + "true" + strings.Repeat(")", 2000),
		"signs":                               strings.Repeat("- ", 450) + "1 == 1",
		"sums of literals":                    strings.Repeat("1+", 240) + "1 == 1",
		"texts of literals":                   `len(` + strings.Repeat(`"0123456789"+`, 200) + `"") == 1`,
		"filters of filters": `len(` + strings.Repeat("filter(", 60) + "event.tracks" +
			strings.Repeat(", true)", 60) + `) < 0`,
		"loops within loops":        `all(event.tracks, all(event.tracks, all(event.tracks, true)))`,
		"a loop with much in it":    `all(event.tracks, ` + strings.Repeat(`.status == "" or `, 80) + `true)`,
		"a loop over an empty list": `all(event.data.list, none([], true))`,
		"a loop that makes lists":   `all(event.data.list, [#,#,#,#,#,#,#,#] != nil)`,
		"a loop that makes objects": `all(event.data.list, {"a":#,"b":#,"c":#} != nil)`,
		"a loop that calculates":    `all(event.data.list, # ** 2.5 + # / 3 - # % 7 >= 0 or true)`,
		"contains":                  again(50, `event.data.text contains "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"`),
		"contains: in a loop":       `any(event.tracks, event.data.text contains "aaaaaaaab")`,
		"contains: itself":          again(50, `event.data.text contains event.data.text + "b"`),
		"startsWith":                again(50, `event.data.text startsWith event.data.text + "b"`),
		"endsWith: in a loop":       `all(event.data.list, event.data.text endsWith event.data.text)`,
		"indexOf":                   again(50, `indexOf(event.data.text, "aaaaaaaaaaaaaaaaab") > 0`),
		"lastIndexOf":               again(50, `lastIndexOf(event.data.text, "baaaaaaaaaaaaaaaaa") > 0`),
		"hasPrefix: in a loop":      `all(event.data.list, hasPrefix(event.data.text, event.data.text))`,
		"trimPrefix: in a loop":     `all(event.data.list, trimPrefix(event.data.text, event.data.text) == "")`,
		"trim: a large cutset":      `trim(event.data.chinese, event.data.text + "签收") == "x"`,
		"trim: again and again":     in(80, "trim"),
		"upper":                     in(80, "upper"),
		"lower":                     in(80, "lower"),
		"upper: in a loop":          `all(event.tracks, upper(event.data.chinese) != "")`,
		"split in letters":          again(20, `len(split(event.data.text, "")) < 0`),
		"split at every letter":     again(20, `len(split(event.data.text, "a")) < 0`),
		"split: nothing found":      `any(event.tracks, len(split(event.data.text, "ab")) > 1)`,
		"+ of texts": `let a = event.data.text; let b = a+a; let c = b+b; let d = c+c; let e = d+d; ` +
			`let f = e+e; let g = f+f; len(g+g+g+g) < 0`,
		"+ in a loop":                `any(event.tracks, len(event.data.text + "x") < 0)`,
		"string of an object":        `string(event.data.object) == ""`,
		"string of everything":       `string(event) == "" or string(event.data) == "" or string(event.tracks) == ""`,
		"string: of what is deep":    `string(event.data.deep) == ""`,
		"string: in a loop":          `any(event.tracks, string(#) == "")`,
		"min and max":                again(50, `min(event.data.list) > max(event.data.list, event.data.list)`),
		"mean: in a loop":            `any(event.tracks, mean(event.data.list) > 5)`,
		"median":                     again(50, `median(event.data.list, event.data.list) > 5`),
		"median: of what is deep":    again(20, `median(event.data.deep) > 5`),
		"max: of what is deep":       again(20, `max(event.data.deep) > 5`),
		"sum":                        again(50, `sum(event.data.list) < 0`),
		"sum: in a loop":             `any(event.tracks, sum(event.data.list) < 0)`,
		"count: without a predicate": `any(event.tracks, count(filter(event.data.list, true)) > 5)`,
		"equal lists":                again(50, `event.data.list != event.data.list`),
		"equal objects":              again(50, `event.data.object != event.data.object`),
		"equal: in a loop":           `all(event.tracks, event.data.words == event.data.words)`,
		"equal: what is deep":        again(50, `event.data.deep != event.data.deep`),
		"equal tracks":               `all(event.tracks, event.tracks == event.tracks)`,
		"equal texts":                `all(event.data.list, event.data.text == event.data.text)`,
		"order of texts":             `all(event.data.list, event.data.text <= event.data.text)`,
		"order of times":             `all(event.tracks, .at < event.received_at and .at <= .at)`,
		"in a list":                  again(50, `"x" in event.data.words`),
		"in a list: in a loop":       `any(event.tracks, .status in event.data.words)`,
		"in a list: lists": `event.data.list in [event.data.list[1:], event.data.list[0:5], ` +
			`event.data.words] or event.data.words in event.data.deep`,
		"in within in": strings.Repeat("true in [", 60) + "event.data.text in event.data.words" +
			strings.Repeat("]", 60),
		"in an object":       `any(event.data.list, event.data.text in event.data.object)`,
		"in a range":         `any(event.data.list, # in 2..9000000000000000000)`,
		"a key that is long": `any(event.data.list, event.data.object[event.data.text] != nil)`,
		"get: in a loop": `any(event.tracks, get(#, "status") == "x" or ` +
			`get(event.received_at, "Hour") == nil)`,
		"slices: in a loop": `any(event.data.list, len(event.data.list[1:5]) > 5 or ` +
			`len(take(event.data.list, 9)) > 9)`,
		"first and last: in a loop": `any(event.data.list, first(event.data.list) == 2 or last(event.data.list) == 3)`,
		"find": `any(event.tracks, find(event.tracks, .status == "x") != nil or ` +
			`findLastIndex(event.tracks, .status == "x") > 0)`,
		"one and count": `any(event.tracks, one(event.tracks, .status == "x") or ` +
			`count(event.tracks, .status == "x") > 0)`,
		"date: the layout from the event": `any(event.tracks, event.received_at.Format(event.data.text) == "x")`,
		"date: in a loop":                 `all(event.tracks, date(.time).Year() > 1)`,
		"date: a long layout":             `date(event.data.text, event.data.text).Year() > 1`,
		"date: no date":                   `date(event.data.text).Year() > 1`,
		"date: zones from the event":      `any(event.tracks, date(.time, "2006-01-02 15:04:05", .status).Year() > 1)`,
		"timezone: in a loop":             `any(event.tracks, event.received_at.In(timezone("Asia/Shanghai")).Hour() > 24)`,
		"timezone: from the event":        `any(event.tracks, event.received_at.In(timezone(.status)).Hour() > 24)`,
		"Format: in a loop": `any(event.tracks, event.received_at.Format("2006-01-02 ` +
			`15:04:05 Monday MST") == "x")`,
		"duration":                `duration(event.data.text).Hours() > 1`,
		"duration: in a loop":     `any(event.tracks, duration("1h2m3s4ms5us6ns").Hours() > 2)`,
		"int: of a long text":     `int(event.data.text) > 1`,
		"float: in a loop":        `any(event.tracks, float("1.2345678901234567890e-300") > 1)`,
		"round: in a loop":        `any(event.data.list, round(ceil(floor(abs(float(#))))) > 9)`,
		"type: in a loop":         `any(event.data.list, type(#) == "text")`,
		"let: in a loop":          `any(event.data.list, {let a = #; let b = a; let c = b; c > 9})`,
		"conditionals: in a loop": `any(event.data.list, # > 9 ? true : (# < 0 ? true : (# ?? 1) > 9))`,
		"methods: in a loop": `any(event.tracks, event.received_at.AddDate(1, 2, ` +
			`3).Truncate(duration("1h")).ISOWeek() == 99)`,
		"the whole environment": `any(event.tracks, $env.event.data.list == nil)`,
	}
}

// TestTheWorstWhensAreRefusedOrStopped holds every expression to what a tenant may spend: it is refused when it is
// compiled, or ends within its budget. BenchmarkTheWorstWhens shows the time.
func TestTheWorstWhensAreRefusedOrStopped(t *testing.T) {
	t.Parallel()
	ev := worstEvent()
	if s := (&subject{event: ev}); s.measured || s.allow("a") != whenBudget || s.large {
		t.Fatalf("the event has %d bytes, and %d for its expressions", len(ev.Data), s.allow("a"))
	}
	for name, source := range worstWhens() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			when, err := newCondition(source)
			if err != nil {
				if strings.Contains(err.Error(), "\n") || len(err.Error()) > 1000 {
					t.Errorf("refused with %q", err)
				}
				return
			}
			s := &subject{event: ev}
			_, err = when.holds(s, "a")
			if s.tenantSpent > whenBudget+whenBudget/2 && err == nil {
				t.Errorf("spent %d", s.tenantSpent)
			}
			if err != nil && !strings.Contains(err.Error(), "too costly") &&
				!strings.Contains(err.Error(), "cannot be evaluated") {
				t.Error(err)
			}
		})
	}
}

func BenchmarkTheWorstWhens(b *testing.B) {
	ev := worstEvent()
	for name, source := range worstWhens() {
		b.Run(name, func(b *testing.B) {
			began := time.Now()
			when, err := newCondition(source)
			compiled := time.Since(began)
			if err != nil {
				b.Logf("refused: %.100s", err)
				b.ReportMetric(float64(compiled.Microseconds())/1000, "ms/compile")
				for b.Loop() {
				}
				return
			}
			outcome, spent := "", 0
			var took []time.Duration
			for b.Loop() {
				s := &subject{event: ev}
				_ = s.prepare(when)
				began := time.Now()
				ok, err := when.holds(s, "a")
				took = append(took, time.Since(began))
				outcome, spent = fmt.Sprint(ok, " ", err), s.tenantSpent
			}
			slices.Sort(took)
			// Others may use the machine: the least is what it takes alone.
			b.ReportMetric(float64(took[0].Microseconds())/1000, "ms/event")
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms/median")
			b.ReportMetric(float64(compiled.Microseconds())/1000, "ms/compile")
			b.ReportMetric(float64(spent), "units")
			b.Logf("%.100s", outcome)
		})
	}
}

// BenchmarkPreparingTheLargestEvent shows what it costs to make an event ready for all expressions that look into it.
func BenchmarkPreparingTheLargestEvent(b *testing.B) {
	ev := worstEvent()
	when, err := newCondition(`event.data.x == 1 and event.tracks[0].at == nil`)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s := &subject{event: ev}
		if err := s.prepare(when); err != nil {
			b.Fatal(err)
		}
	}
}
