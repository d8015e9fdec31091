package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"testing"
	"time"

	"kuairelay/relay/event"
)

// manyLetters has dead letters of shop/orders, one a second before noon; their reasons go round.
type manyLetters struct {
	deadLetterStore
	n       int
	reasons []string
	read    int // pages
	changed int
}

func (l *manyLetters) DeadLetters(_ context.Context, _ []string, cursor string, most int) (
	out []event.DeadLetter, next string, _ error,
) {
	l.read++
	from := 0
	_, _ = fmt.Sscan(cursor, &from)
	for i := from; i < min(from+most, l.n); i++ {
		x := letter(fmt.Sprint(i), time.Duration(i)*time.Second)
		x.Reason = l.reasons[i%len(l.reasons)]
		x.Status = []string{"signed", "collected"}[i%2]
		out = append(out, x)
	}
	if from+most < l.n {
		next = fmt.Sprint(from + most)
	}
	return out, next, nil
}

func (l *manyLetters) CountDeadLetters(context.Context, []string, time.Time, time.Time) (int, error) {
	return l.n, nil
}

func (l *manyLetters) Dismiss(_ context.Context, _ string, ids ...string) (int, error) {
	l.changed += len(ids)
	return len(ids), nil
}

func TestDeadLettersAreCountedBeforeTheyAreChanged(t *testing.T) {
	t.Parallel()
	const signed = `"all":true,"filter":{"status":"signed"}`
	for _, x := range []struct {
		body         string
		n            int
		count        int // of a dry run; -1: it is none
		least        bool
		done, status int
	}{
		{body: `{"all":true,"dry_run":true}`, n: 25_000, count: 25_000}, // the store knows
		{body: `{` + signed + `,"dry_run":true}`, n: 2_000, count: 1_000},
		{body: `{` + signed + `,"dry_run":true}`, n: 25_000, count: 5_000, least: true},
		{body: `{` + signed + `,"dry_run":true}`, n: 0, count: 0},
		{body: `{"all":true,"filter":{"reason":"no"},"dry_run":true}`, n: 2_000, count: 2_000},
		{body: `{"all":true,"filter":{"reason":"another"},"dry_run":true}`, n: 2_000, count: 0},
		{body: `{"all":true,"filter":{"reason":"another"}}`, n: 20, count: -1, done: 0},
		{body: `{` + signed + `,"expect":100}`, n: 220, count: -1, done: 50},
		{body: `{` + signed + `,"expect":100}`, n: 222, count: -1, status: http.StatusConflict},
		{body: `{` + signed + `,"expect":1,"dry_run":true}`, n: 222, status: http.StatusConflict},
		{body: `{` + signed + `,"expect":1,"cursor":"100"}`, n: 222, count: -1, done: 50},
		{body: `{"dead_letters":[{"event_id":"` + anID("1") + `","endpoint":"orders"}],"expect":1}`, count: -1, done: 1},
		{body: `{"dead_letters":[{"event_id":"` + anID("1") + `","endpoint":"orders"}],"dry_run":true}`, status: 400},
		{body: `{"all":true,"expect":-1}`, status: 400},
	} {
		store := &manyLetters{n: x.n, reasons: []string{"no"}}
		b := newBench(Options{})
		b.deadLetters = store
		got, err := ask(b, dismissDeadLetters, "shop", "/", x.body)
		if status, detail := problem(err); status != x.status {
			t.Errorf("%s of %d: %d %s, want %d", x.body, x.n, status, detail, x.status)
			continue
		}
		if store.changed != x.done || store.read > 21 {
			t.Errorf("%s of %d: %d changed, want %d; %d pages read", x.body, x.n, store.changed, x.done, store.read)
		}
		if x.status == 0 && ((got.Count != nil) != (x.count >= 0) || (got.Count != nil && *got.Count != x.count) ||
			got.AtLeast != x.least || got.Done != x.done) {
			t.Errorf("%s of %d: %+v, want %+v", x.body, x.n, got, x)
		}
	}
}

func TestAListOfDeadLettersSaysHowManyThereAreIfItIsAsked(t *testing.T) {
	t.Parallel()
	b := newBench(Options{})
	b.deadLetters = &manyLetters{n: 12_000, reasons: []string{"no"}}
	for query, want := range map[string]struct {
		total int
		least bool
	}{
		"": {total: -1}, "total=true": {total: 12_000}, "total=true&status=signed": {total: 5_000, least: true},
		"total=true&status=signed&since=99s": {total: 50},
	} {
		got, err := ask(b, listDeadLetters, "shop", "/?limit=5&"+query, "")
		if err != nil || len(got.DeadLetters) == 0 || (got.Total != nil) != (want.total >= 0) ||
			(got.Total != nil && *got.Total != want.total) || got.AtLeast != want.least {
			t.Errorf("%s: %+v (%v), want %+v", query, got, err, want)
		}
	}
}

func TestDeadLettersAreSummedUpByReasonOrEndpoint(t *testing.T) {
	t.Parallel()
	b := newBench(Options{})
	b.deadLetters = &manyLetters{n: 10, reasons: []string{"refused", "timeout", "refused"}}
	got, err := ask(b, listDeadLetters, "shop", "/?group=reason", "")
	want := []DeadLetterGroup{
		{Reason: "refused", Count: 7, FirstAt: noon.Add(-9 * time.Second), LastAt: noon,
			Example: deadLetterName{EventID: "evt_0", Endpoint: "shop/orders"}},
		{Reason: "timeout", Count: 3, FirstAt: noon.Add(-7 * time.Second), LastAt: noon.Add(-time.Second),
			Example: deadLetterName{EventID: "evt_1", Endpoint: "shop/orders"}},
	}
	if err != nil || !reflect.DeepEqual(got.Groups, want) || *got.Total != 10 || got.AtLeast {
		t.Errorf("%+v, %v", got, err)
	}
	got, err = ask(b, listDeadLetters, "shop", "/?group=endpoint&status=signed", "")
	if err != nil || len(got.Groups) != 1 || got.Groups[0].Endpoint != "shop/orders" || got.Groups[0].Count != 5 {
		t.Errorf("%+v, %v", got, err)
	}
	_, err = ask(b, listDeadLetters, "shop", "/?group=status", "")
	refused(t, "another group", err, 400, "group: must be reason or endpoint")

	// However many reasons there are, the answer is bounded.
	many := &manyLetters{n: 30_000}
	for i := range 3_000 {
		many.reasons = append(many.reasons, fmt.Sprint(i))
	}
	b.deadLetters = many
	got, err = ask(b, listDeadLetters, "", "/?group=reason", "")
	if err != nil || len(got.Groups) != 100 || got.GroupsLeft != 2_900 || *got.Total != 10_000 || !got.AtLeast ||
		got.Groups[0].Count != 4 {
		t.Errorf("%d groups, %d left out, %+v, %v", len(got.Groups), got.GroupsLeft, got.Groups[:1], err)
	}
	sizes := slices.IsSortedFunc(got.Groups, func(a, b DeadLetterGroup) int { return b.Count - a.Count })
	if !sizes {
		t.Error("the largest does not come first")
	}
}

// failing changes the dead letters of one endpoint, and fails at the other.
type failing struct {
	letterPages
	calls int
}

func (f *failing) Redrive(_ context.Context, _ string, ids ...string) (int, error) {
	f.calls++
	if f.calls == 1 {
		return len(ids), nil
	}
	return 0, errors.New("redis is down")
}

func TestAChangeThatFailsInTheMiddleSaysHowManyItHasMade(t *testing.T) {
	t.Parallel()
	b := newBench(Options{})
	store := &failing{}
	b.deadLetters = store
	letters := `{"dead_letters":[` + fmt.Sprintf(`{"event_id":%q,"endpoint":"shop/orders"},`, anID("1")) +
		fmt.Sprintf(`{"event_id":%q,"endpoint":"shop/b"}]}`, anID("2"))
	got, err := ask(b, redriveDeadLetters, "", "/", letters)
	if err != nil || got.Done != 1 || got.Error != "cannot change dead letters: redis is down" {
		t.Errorf("%+v (%v)", got, err)
	}
	_, err = ask(b, redriveDeadLetters, "", "/", letters)
	refused(t, "nothing was done", err, http.StatusServiceUnavailable, "cannot change dead letters: redis is down")
}
