package route

import (
	"math/rand/v2"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"kuairelay/relay/event"
)

// naive is the meaning of a table written down a second time, as plainly as possible: a scan over the rules as
// configured, with globs as regular expressions. It returns the endpoints in order, and their conditions.
func naive(rules []Rule, options Options, ev *event.Event) (order []string, owed map[string]event.Conditions) {
	owed = map[string]event.Conditions{}
	for _, r := range rules {
		if !naiveMatch(r, options, ev) {
			continue
		}
		condition := event.Always
		switch {
		case r.Match.Changed != "" && r.Match.Subscribed:
			condition = event.IfChangedAndSubscribed
		case r.Match.Subscribed:
			condition = event.IfSubscribed
		case r.Match.Changed != "":
			condition = event.IfChanged
		}
		for _, name := range r.To {
			if owed[name] == 0 {
				order = append(order, name)
			}
			owed[name] |= condition
		}
	}
	return order, owed
}

func naiveMatch(r Rule, options Options, ev *event.Event) bool {
	same := func(text string) string { return text }
	canonical, status := options.Canonical, options.CanonicalStatus
	if canonical == nil {
		canonical = same
	}
	if status == nil {
		status = same
	}
	return naiveList(r.Match.Type, ev.Type, same) &&
		naiveList(r.Match.CPCode, ev.CPCode, canonical) &&
		naiveList(r.Match.Status, ev.Status, status) &&
		naiveList(r.Match.WaybillCode, ev.WaybillCode, same) &&
		(r.Match.Changed == "" || ev.Status != "") &&
		(!r.Match.Subscribed || ev.WaybillCode != "") &&
		(r.When == "" || testWhens[r.When](ev))
}

func naiveList(list []string, value string, canonical func(string) string) bool {
	if len(list) == 0 {
		return true
	}
	for _, pattern := range list {
		if !strings.Contains(pattern, "*") {
			pattern = canonical(pattern)
		}
		if value != "" && naiveGlob(pattern, value, &globs) {
			return true
		}
	}
	return false
}

// naiveGlob remembers in known the regular expressions that it made.
func naiveGlob(glob, value string, known *sync.Map) bool {
	if compiled, ok := known.Load(glob); ok {
		return compiled.(*regexp.Regexp).MatchString(value)
	}
	expression := strings.ReplaceAll(regexp.QuoteMeta(glob), `\*`, `(?s:.)*`)
	compiled := regexp.MustCompile(`\A(?:` + expression + `)\z`)
	known.Store(glob, compiled)
	return compiled.MatchString(value)
}

// globs of random tables: they are few.
var globs sync.Map

// testWhens are expressions with what they mean.
var testWhens = map[string]func(*event.Event) bool{
	`len(event.tracks) > 0`:       func(ev *event.Event) bool { return len(ev.Tracks) > 0 },
	`event.status == "signed"`:    func(ev *event.Event) bool { return ev.Status == "signed" },
	`event.data.weight > 2`:       func(ev *event.Event) bool { return string(ev.Data) == `{"weight":2.5}` },
	`event.data.missing.part > 2`: func(*event.Event) bool { return false },
}

// brands is a Canonical.
func brands(code string) string {
	if code == "ytsd" {
		return "yt"
	}
	return code
}

func statuses(status string) string { return strings.ReplaceAll(status, "allorgraph", "allograph") }

// randomRules makes a table in which everything overlaps with everything: few values, and globs of every shape.
func randomRules(random *rand.Rand, n int) []Rule {
	pick := func(few []string, most int) []string {
		var list []string
		for range random.IntN(most + 1) {
			list = append(list, few[random.IntN(len(few))])
		}
		return list
	}
	codes := func() string {
		var code strings.Builder
		for range 1 + random.IntN(5) {
			code.WriteByte("12*"[random.IntN(3)])
		}
		return code.String()
	}
	rules := make([]Rule, n)
	for i := range rules {
		tenant := "t" + strconv.Itoa(random.IntN(1+n/2))
		r := Rule{Tenant: tenant, Pos: "file:" + strconv.Itoa(i)}
		for range 1 + random.IntN(2) {
			r.To = append(r.To, tenant+"/"+string('a'+rune(random.IntN(2))))
		}
		if random.IntN(2) == 0 {
			r.Match.Type = pick([]string{event.TypeWaybill, "print", "*", "express*", "*msg"}, 2)
		}
		if random.IntN(2) == 0 {
			r.Match.CPCode = pick([]string{"zt", "sto", "yt", "ytsd", "jt", "yd", "z*", "*t", "*"}, 6)
		}
		if random.IntN(2) == 0 {
			r.Match.Status = pick([]string{"signed", "sending", "allorgraph", "s*d", "question", "*"}, 7)
		}
		for range random.IntN(4) {
			r.Match.WaybillCode = append(r.Match.WaybillCode, codes())
		}
		if random.IntN(4) == 0 {
			r.Match.Changed = "status"
		}
		if random.IntN(4) == 0 {
			r.Match.Subscribed = true
		}
		if random.IntN(6) == 0 {
			for when := range testWhens {
				r.When = when
			}
		}
		rules[i] = r
	}
	return rules
}

func randomEvent(random *rand.Rand) *event.Event {
	pick := func(few ...string) string { return few[random.IntN(len(few))] }
	ev := &event.Event{
		Type:   pick(event.TypeWaybill, event.TypeWaybill, "print", "other", ""),
		CPCode: pick("", "zt", "sto", "yt", "jt", "xx"),
		Status: pick("", "signed", "sending", "allograph", "question", "new"),
		Data:   []byte(pick(`{"weight":2.5}`, `{}`, `nonsense`)),
	}
	var code strings.Builder
	for range random.IntN(6) {
		code.WriteByte("123"[random.IntN(3)])
	}
	ev.WaybillCode = code.String()
	if random.IntN(2) == 0 {
		ev.Tracks = []event.Track{{Status: "signed"}}
	}
	return ev
}

// A key that is added to Match has to be asked: an event that lacks everything holds none. And the random tables have
// to have it, which compare the table with its plain meaning above.
func TestEveryKeyOfAMatchIsAsked(t *testing.T) {
	t.Parallel()
	drawn := make(map[string]bool)
	for _, r := range randomRules(rand.New(rand.NewPCG(1, 2)), 200) {
		for i := range reflect.TypeFor[Match]().NumField() {
			if !reflect.ValueOf(r.Match).Field(i).IsZero() {
				drawn[reflect.TypeFor[Match]().Field(i).Name] = true
			}
		}
	}

	for i := range reflect.TypeFor[Match]().NumField() {
		name := reflect.TypeFor[Match]().Field(i).Name
		if !drawn[name] {
			t.Errorf("the random tables have no Match.%s", name)
		}

		rule := Rule{To: []string{"a/b"}}
		switch v := reflect.ValueOf(&rule.Match).Elem().Field(i); v.Kind() {
		case reflect.String:
			v.SetString("status")
		case reflect.Bool:
			v.SetBool(true)
		default:
			v.Set(reflect.ValueOf([]string{"x"}))
		}
		table := compile(t, Options{Rules: []Rule{rule}})
		if got := table.Match(&event.Event{}, nil); len(got) > 0 {
			t.Errorf("a route with Match.%s matches an event that has nothing", name)
		}
		if why := table.Explain(&event.Event{})[0].Why; strings.HasPrefix(why, " ") || why == "" {
			t.Errorf("Match.%s has no name: explain says %q", name, why)
		}
	}
}
