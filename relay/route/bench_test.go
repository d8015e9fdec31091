package route

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"testing"

	"kuairelay/relay/event"
)

var (
	realBrands   = []string{"sto", "zt", "yt", "jt", "yd", "dbkd"}
	realStatuses = []string{"collected", "sending", "delivering", "allograph", "signed", "question"}
)

// tables are shapes of large tables, each with a maker of events of which a few routes match.
var tables = []struct {
	name  string
	rule  func(i int) Rule
	event func(random *rand.Rand) *event.Event
	n     int
}{
	{"10k tenants of 10 mixed routes", mixedRule, mixedEvent, 100_000},
	{"brand, status and distinct prefix", func(i int) Rule {
		return Rule{Match: Match{
			CPCode: []string{realBrands[i%6]}, Status: []string{realStatuses[i/6%6]}, WaybillCode: []string{code(i) + "*"},
		}}
	}, func(random *rand.Rand) *event.Event {
		i := random.IntN(100_000)
		return &event.Event{CPCode: realBrands[i%6], Status: realStatuses[i/6%6], WaybillCode: code(i) + "123456"}
	}, 100_000},
	{"one brand and status, distinct prefix", func(i int) Rule {
		return Rule{Match: Match{CPCode: []string{"zt"}, Status: []string{"signed"}, WaybillCode: []string{code(i) + "*"}}}
	}, func(random *rand.Rand) *event.Event {
		return &event.Event{CPCode: "zt", Status: "signed", WaybillCode: code(random.IntN(30_000)) + "123456"}
	}, 30_000},
	{"distinct waybills", func(i int) Rule {
		return Rule{Match: Match{WaybillCode: []string{code(i) + "123456"}}}
	}, func(random *rand.Rand) *event.Event {
		return &event.Event{CPCode: "zt", Status: "signed", WaybillCode: code(random.IntN(100_000)) + "123456"}
	}, 100_000},
	{"distinct types, one prefix", func(i int) Rule {
		return Rule{Match: Match{Type: []string{"type" + strconv.Itoa(i)}, WaybillCode: []string{"7*"}}}
	}, func(random *rand.Rand) *event.Event {
		return &event.Event{Type: "type" + strconv.Itoa(random.IntN(100_000)), WaybillCode: "777005949070187"}
	}, 100_000},
	{"brand and status only, many of both", func(i int) Rule {
		return Rule{Match: Match{CPCode: []string{fmt.Sprint("b", i%200)}, Status: []string{fmt.Sprint("s", i/200%200)}}}
	}, func(random *rand.Rand) *event.Event {
		return &event.Event{
			CPCode: fmt.Sprint("b", random.IntN(200)), Status: fmt.Sprint("s", random.IntN(200)), WaybillCode: "777005949070187",
		}
	}, 100_000},
	{"every class there is", classRule, classEvent, 100_000},
	{"no route matches", mixedRule, func(random *rand.Rand) *event.Event {
		return &event.Event{Type: "print", Status: "other", CPCode: "other", WaybillCode: fmt.Sprint(random.Uint64())}
	}, 100_000},
}

// code spreads numbers over waybill prefixes of seven digits.
func code(i int) string { return strconv.Itoa(1_000_000 + i*89) }

// mixedRule is the i-th route of a plausible table: ten per tenant, of ten kinds, with lists and shared values.
func mixedRule(i int) Rule {
	tenant, brand, status := i/10, realBrands[i/10%6], realStatuses[i%6]
	own := code(tenant)
	r := Rule{Tenant: "t" + strconv.Itoa(tenant), Pos: "tenants.d/t.yaml:" + strconv.Itoa(i)}
	switch i % 10 {
	case 0, 1, 2:
		r.Match = Match{CPCode: []string{brand}, Status: []string{status}, WaybillCode: []string{own + "*"}}
	case 3:
		r.Match = Match{CPCode: []string{brand, "sto", "ytsd"}, Status: []string{"signed", "question"},
			WaybillCode: []string{own + "*"}}
	case 4:
		r.Match = Match{Status: []string{"signed"}, WaybillCode: []string{own[:5] + "8*", own + "1*"}}
	case 5:
		r.Match = Match{WaybillCode: []string{own + "000001", own + "000002", own + "000003"}}
	case 6:
		r.Match = Match{Type: []string{"callback-" + r.Tenant}}
	case 7:
		r.Match = Match{Type: []string{event.TypeWaybill}, WaybillCode: []string{own + "*"}, Changed: "status"}
	case 8:
		r.Match = Match{CPCode: []string{"brand-" + r.Tenant}, Status: []string{"signed", "question", "allograph"}}
	case 9:
		r.Match = Match{WaybillCode: []string{own + "*9"}, Status: []string{"*ed"}}
	}
	return r
}

func mixedEvent(random *rand.Rand) *event.Event {
	tenant := random.IntN(10_000)
	return &event.Event{
		Type: event.TypeWaybill, CPCode: realBrands[tenant%6], Status: realStatuses[random.IntN(6)],
		WaybillCode: code(tenant) + strconv.Itoa(100_000+random.IntN(900_000)),
	}
}

// classRule puts the rules into every class of the index: 8 sets of fields, with no, a whole, and 20 lengths of
// waybill.
func classRule(i int) Rule {
	const waybill = "12345678901234567890"
	distinct := strconv.Itoa(i)
	if i%8 == 0 {
		return Rule{Match: Match{WaybillCode: []string{distinct + "*"}}}
	}
	var r Rule
	for field, list := range []*[]string{&r.Match.Type, &r.Match.CPCode, &r.Match.Status} {
		if i%8&(1<<field) != 0 {
			*list = []string{"v" + distinct}
		}
	}
	switch length := i / 8 % 22; length {
	case 0:
	case 21:
		r.Match.WaybillCode = []string{waybill}
	default:
		r.Match.WaybillCode = []string{waybill[:length] + "*"}
	}
	return r
}

func classEvent(random *rand.Rand) *event.Event {
	value := "v" + strconv.Itoa(random.IntN(100_000))
	return &event.Event{Type: value, CPCode: value, Status: value, WaybillCode: "12345678901234567890"}
}

func makeRules(n int, rule func(i int) Rule) []Rule {
	rules := make([]Rule, n)
	for i := range rules {
		rules[i] = rule(i)
		rules[i].To = []string{fmt.Sprintf("t%d/hooks-%d", i/10, i%10)}
	}
	return rules
}

func BenchmarkMatch100kRoutes(b *testing.B) {
	for _, shape := range tables {
		b.Run(shape.name, func(b *testing.B) {
			table := compile(b, Options{Rules: makeRules(shape.n, shape.rule), Canonical: brands})
			random := rand.New(rand.NewPCG(1, 2))
			events := make([]*event.Event, 4096)
			for i := range events {
				events[i] = shape.event(random)
			}
			benchmarkMatch(b, table, events)
		})
	}
}

func BenchmarkMatchWhen(b *testing.B) {
	for _, when := range []string{`len(event.tracks) > 0`, `any(event.tracks, .status == "sending")`,
		`event.data.weight > 2`} {
		b.Run(when, func(b *testing.B) {
			table := compile(b, Options{Rules: []Rule{{To: []string{"a/b"}, When: when}}})
			benchmarkMatch(b, table, []*event.Event{whenEvent()})
		})
	}
}

// BenchmarkMatchScanned is what routes cost that no index can hold: every event is checked against each.
func BenchmarkMatchScanned(b *testing.B) {
	table := compile(b, Options{Rules: makeRules(1000, func(i int) Rule {
		return Rule{Match: Match{WaybillCode: []string{"*" + code(i)}}}
	})})
	benchmarkMatch(b, table, []*event.Event{{WaybillCode: "777005949070187"}})
}

func benchmarkMatch(b *testing.B, table *Table, events []*event.Event) {
	b.Helper()
	var into []Candidate
	found := 0
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		into = table.Match(events[i%len(events)], into[:0])
		found += len(into)
	}
	b.ReportMetric(float64(found)/float64(b.N), "found/op")
}

func BenchmarkNew100kRoutes(b *testing.B) {
	rules := makeRules(100_000, mixedRule)
	b.ReportAllocs()
	for b.Loop() {
		compile(b, Options{Rules: rules, Canonical: brands})
	}
}

// Not parallel: it measures the heap of the process.
func TestATableOf100kRoutesIsSmall(t *testing.T) {
	const limit = 60 << 20
	rules := makeRules(100_000, mixedRule)
	before := heap()
	table := compile(t, Options{Rules: rules, Canonical: brands})
	size := heap() - before
	t.Logf("%.1f MB", float64(size)/(1<<20))
	if size > limit {
		t.Errorf("%.1f MB, more than %d MB", float64(size)/(1<<20), limit>>20)
	}
	runtime.KeepAlive(table)
	runtime.KeepAlive(rules)
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}
