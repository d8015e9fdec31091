package api

import (
	"bytes"
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"kuairelay/relay/event"
)

// stock is a quarantine with these callbacks in it, the latest first.
type stock struct {
	quarantineStore
	all   []event.Quarantined
	reads int
}

func (s *stock) Quarantined(_ context.Context, offset, most int) (page []event.Quarantined, next int, err error) {
	end := min(offset+most, len(s.all))
	page = slices.Clone(s.all[min(offset, end):end])
	s.reads += len(page)
	if end < len(s.all) {
		next = end
	}
	return page, next, nil
}

func (s *stock) CountQuarantined(context.Context, time.Time) (event.QuarantineCount, error) {
	return event.QuarantineCount{All: len(s.all)}, nil
}

func (s *stock) QuarantinedByID(_ context.Context, id string) (*event.Quarantined, bool, error) {
	for _, q := range s.all {
		if q.ID == id {
			return &q, true, nil
		}
	}
	return nil, false, nil
}

func (s *stock) Unquarantine(_ context.Context, ids ...string) (n int, err error) {
	before := len(s.all)
	s.all = slices.DeleteFunc(s.all, func(q event.Quarantined) bool { return slices.Contains(ids, q.ID) })
	return before - len(s.all), nil
}

// rejected is one that came so many hours before noon.
func rejected(id, reason, raw string, hours int) event.Quarantined {
	return event.Quarantined{ID: id, Reason: reason, Raw: []byte(raw),
		ReceivedAt: noon.Add(-time.Duration(hours) * time.Hour)}
}

// looks understands what begins with "good", and counts what it has parsed.
type looks struct{ parsed int }

func (l *looks) look(q event.Quarantined, most int) (LookResult, bool) {
	if len(q.Raw) > most {
		return LookResult{}, false
	}
	l.parsed += len(q.Raw)
	if bytes.HasPrefix(q.Raw, []byte("good")) {
		return LookResult{Events: 2, Bytes: len(q.Raw)}, true
	}
	return LookResult{Events: 1, Rejected: 1, Reason: "item 4: no waybill code", Bytes: len(q.Raw)}, true
}

func newStock(l *looks, all ...event.Quarantined) (*bench, *stock) {
	b := newBench(Options{Look: l.look})
	b.aside = func(context.Context) func() { return func() {} }
	s := &stock{all: all}
	b.quarantine = s
	return b, s
}

func TestTheQuarantineIsGroupedByReasonWithWhatWouldBeUnderstoodNow(t *testing.T) {
	t.Parallel()
	b, _ := newStock(&looks{},
		rejected("1", "item 3: no waybill code", "good 777", 1),
		rejected("2", "the body is empty", "", 2),
		rejected("3", "item 12: no waybill code", "bad 777", 3),
		rejected("4", "17 more items like these", "bad", 4),
		rejected("5", "3 more items like these", "good", 5),
		rejected("6", `item 0: duplicate key "item 7"`, "bad", 6),
	)
	got, err := ask(b, listQuarantine, "", "/?group=reason", "")
	hour := func(n int) time.Time { return noon.Add(-time.Duration(n) * time.Hour) }
	want := &QuarantineSummary{
		Total: 6, Looked: 6, Parsed: 6, Understood: 2,
		Groups: []QuarantineGroup{
			{Reason: "item n: no waybill code", Count: 2, LatestAt: hour(1), LatestID: "1", Parsed: 2, Understood: 1},
			{Reason: "n more items like these", Count: 2, LatestAt: hour(4), LatestID: "4", Parsed: 2, Understood: 1},
			{Reason: `item n: duplicate key "item n"`, Count: 1, LatestAt: hour(6), LatestID: "6", Parsed: 1},
			{Reason: "the body is empty", Count: 1, LatestAt: hour(2), LatestID: "2", Parsed: 1},
		},
	}
	if err != nil || !reflect.DeepEqual(got.Grouped, want) || len(got.Quarantined) > 0 || got.Next != "" {
		t.Errorf("%+v (%v), want %+v", got.Grouped, err, want)
	}

	some, err := ask(b, listQuarantine, "", "/?group=reason&contains=777", "")
	if err != nil || some.Grouped.Looked != 6 || len(some.Grouped.Groups) != 1 || some.Grouped.Groups[0].Count != 2 {
		t.Errorf("of those with a text: %+v (%v)", some.Grouped, err)
	}
	for query, detail := range map[string]string{
		"group=status":            "group: must be reason",
		"group=reason&cursor=100": "cursor: groups have no pages",
		"grouped=reason":          "there is no such parameter",
	} {
		_, err := ask(b, listQuarantine, "", "/?"+query, "")
		refused(t, query, err, 400, detail)
	}
}

func TestGroupsOfQuarantineCostABoundedTimeWhateverIsInIt(t *testing.T) {
	t.Parallel()
	l := &looks{}
	b, s := newStock(l)
	for i := range 2 * lookedMost {
		s.all = append(s.all, rejected(fmt.Sprint(i), fmt.Sprintf("reason %c%c", 'a'+i%26, 'a'+i/26%26), "bad", i))
	}
	got, err := ask(b, listQuarantine, "", "/?group=reason", "")
	g := got.Grouped
	if err != nil || g.Looked != lookedMost || s.reads != lookedMost || g.Total != 2*lookedMost || g.Parsed != lookedMost {
		t.Fatalf("%+v (%v), %d read", g, err, s.reads)
	}
	if len(g.Groups) != reasonsMost+1 || g.Groups[0].Reason != "" || g.Groups[0].Count != lookedMost-reasonsMost {
		t.Errorf("%d groups, the first %+v", len(g.Groups), g.Groups[0])
	}

	// Large ones are read up to a bound, and of these no more is parsed.
	s.all = nil
	for i := range 40 {
		s.all = append(s.all, rejected(fmt.Sprint(i), "no", "bad "+strings.Repeat("x", 1<<20), i))
	}
	s.reads = 0
	l.parsed = 0
	got, err = ask(b, listQuarantine, "", "/?group=reason", "")
	if err != nil || l.parsed > lookedBytes || got.Grouped.Parsed != 4 || got.Grouped.Looked != 40 {
		t.Errorf("%+v (%v), %d bytes parsed", got.Grouped, err, l.parsed)
	}
}

func TestTheQuarantineIsSearchedForATextPageByPage(t *testing.T) {
	t.Parallel()
	b, s := newStock(&looks{})
	for i := range 1200 {
		raw := "bad"
		if i%100 == 7 || i == 1199 {
			raw = "it names 777005949070187"
		}
		s.all = append(s.all, rejected(fmt.Sprint(i), "no", raw, i))
	}

	var found []string
	query, pages := "/?contains=777005949070187&limit=3", 0
	for ; pages < 20; pages++ {
		s.reads = 0
		got, err := ask(b, listQuarantine, "", query, "")
		if err != nil || len(got.Quarantined) > 3 || s.reads > lookedMost {
			t.Fatalf("%+v (%v), %d read", got, err, s.reads)
		}
		for _, q := range got.Quarantined {
			found = append(found, q.ID)
		}
		if got.Next == "" {
			break
		}
		query = "/?contains=777005949070187&limit=3&cursor=" + got.Next
	}
	want := []string{"7", "107", "207", "307", "407", "507", "607", "707", "807", "907", "1007", "1107", "1199"}
	if !slices.Equal(found, want) {
		t.Errorf("in %d pages %v, want %v", pages, found, want)
	}
	if got, err := ask(b, listQuarantine, "", "/?contains=none", ""); err != nil || len(got.Quarantined) > 0 ||
		got.Next != "500" {
		t.Errorf("nothing is found: %+v (%v)", got, err)
	}
}

func TestOneOfQuarantineSaysWhatItWouldComeToNow(t *testing.T) {
	t.Parallel()
	b, s := newStock(&looks{}, rejected("1", "no", "good", 1), rejected("2", "no", "bad", 1),
		rejected("3", "no", strings.Repeat("x", lookAtOne+1), 1))
	for id, want := range map[string]*QuarantineNow{
		"1": {Understood: true, Events: 2},
		"2": {Events: 1, Rejected: 1, Reason: "item 4: no waybill code"},
		"3": nil,
	} {
		c, _ := b.call("", "/", "")
		c.SetParamNames("id")
		c.SetParamValues(id)
		got, err := readQuarantined(c)
		if err != nil || !reflect.DeepEqual(got.Now, want) || len(got.Raw) == 0 {
			t.Errorf("%s: %+v (%v), want %+v", id, got.Now, err, want)
		}
	}
	if len(s.all) != 3 {
		t.Errorf("%d are left", len(s.all))
	}
}

func TestCallbacksOfQuarantineAreDismissedByTheirIDs(t *testing.T) {
	t.Parallel()
	b, s := newStock(&looks{}, rejected("1", "no", "x", 1), rejected("2", "no", "x", 1), rejected("3", "no", "x", 1))
	got, err := ask(b, dismissQuarantine, "", "/", `{"ids":["1","3","none"]}`)
	if err != nil || got.Done != 2 || len(s.all) != 1 || s.all[0].ID != "2" {
		t.Errorf("%+v (%v), left %+v", got, err, s.all)
	}
	if again, err := ask(b, dismissQuarantine, "", "/", `{"ids":["1"]}`); err != nil || again.Done != 0 {
		t.Errorf("again: %+v (%v)", again, err)
	}
	for _, body := range []string{"", `{}`, `{"ids":[]}`, `{"all":true}`,
		`{"ids":["` + strings.Repeat(`x","`, maxLimit) + `x"]}`} {
		_, err := ask(b, dismissQuarantine, "", "/", body)
		refused(t, body, err, 400, "")
	}
	if len(s.all) != 1 {
		t.Errorf("a request that was refused has removed something: %+v", s.all)
	}
}

func TestAGroupOfQuarantineIsListedAndDismissedAsAWhole(t *testing.T) {
	t.Parallel()
	var all []event.Quarantined
	for i := range 1_000 {
		reason := "the body is empty"
		if i%4 == 0 {
			reason = fmt.Sprintf("item %d: no waybill code", i)
		}
		all = append(all, rejected(fmt.Sprint(i), reason, "x", 1))
	}
	b, s := newStock(&looks{}, all...)
	got, err := ask(b, listQuarantine, "", "/?limit=3&reason=item+n%3A+no+waybill+code", "")
	if err != nil || len(got.Quarantined) != 3 || got.Quarantined[1].ID != "4" || got.Next != "9" {
		t.Errorf("%+v (%v)", got, err)
	}

	cursor, done := "", 0
	for range 20 {
		got, err := ask(b, dismissQuarantine, "", "/",
			fmt.Sprintf(`{"all":true,"reason":"item n: no waybill code","cursor":%q}`, cursor))
		if err != nil || got.Done > lookedPage {
			t.Fatalf("%+v (%v)", got, err)
		}
		done += got.Done
		if cursor = got.Next; cursor == "" {
			break
		}
	}
	if done != 250 || len(s.all) != 750 || s.all[0].ID != "1" {
		t.Errorf("%d dismissed, %d left", done, len(s.all))
	}
	for _, body := range []string{`{"ids":["1"],"reason":"no"}`, `{"all":true,"contains":"x","cursor":"y"}`} {
		_, err := ask(b, dismissQuarantine, "", "/", body)
		refused(t, body, err, 400, "")
	}
}

func TestAGroupOfQuarantineIsTakenInAgain(t *testing.T) {
	t.Parallel()
	b := newBench(Options{Retake: retakes})
	s := &stock{}
	for i := range 250 {
		kind, reason := "good", "no"
		if i%10 == 0 {
			kind = "bad"
		}
		if i%2 == 0 {
			reason = "another"
		}
		s.all = append(s.all, rejected(fmt.Sprint(kind, i), reason, "x", 1))
	}
	b.quarantine = s
	sum, cursor := QuarantineResult{}, ""
	for range 10 {
		got, err := ask(b, replayQuarantine, "", "/", fmt.Sprintf(`{"all":true,"reason":"another","cursor":%q}`, cursor))
		if err != nil {
			t.Fatal(err)
		}
		sum.Tried += got.Tried
		sum.Released += got.Released
		if cursor = got.Next; cursor == "" {
			break
		}
	}
	if sum.Tried != 125 || sum.Released != 100 || len(s.all) != 150 {
		t.Errorf("%+v, %d are left", sum, len(s.all))
	}
}
