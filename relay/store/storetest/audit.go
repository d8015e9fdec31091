package storetest

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"kuairelay/relay/event"
)

// note writes an act into the audit.
func note(t *testing.T, s *replica, a event.Act) {
	t.Helper()
	if err := s.Note(t.Context(), a); err != nil {
		t.Fatal(err)
	}
}

// all wants every act.
func all(*event.Act) bool { return true }

// audit is everything in the audit, read in pages of so many.
func audit(t *testing.T, s *replica, q event.ActQuery) (acts []event.Act, pages int) {
	t.Helper()
	for {
		page, next, err := s.Acts(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		pages++
		acts = append(acts, page...)
		if next == "" {
			return acts, pages
		}
		q.Cursor = next
	}
}

// subjects are those of acts, the latest first.
func subjects(acts []event.Act) (out []string) {
	for _, a := range acts {
		out = append(out, a.Subject)
	}
	return out
}

func checkAudit(t *testing.T, b *bench) {
	s := b.open(t, options{})
	if acts, _ := audit(t, s, event.ActQuery{Match: all, Most: 10}); len(acts) > 0 {
		t.Errorf("before there is an act: %+v", acts)
	}

	// What is written comes back as it was, with its time.
	began := s.Now().Truncate(time.Millisecond)
	act := event.Act{
		By:   event.Actor{Name: "shop", Key: "ci", From: "10.0.0.1"},
		What: "redrive", Tenant: "shop", Subject: "shop/\"orders\" \x00运", Count: 12, Result: "done",
	}
	note(t, s, act)
	got, _ := audit(t, s, event.ActQuery{Match: all, Most: 10})
	if len(got) != 1 || got[0].At.Before(began) || got[0].At.After(s.Now()) {
		t.Fatalf("%+v, written at %v", got, began)
	}
	act.At, act.Times = got[0].At, 1
	if !reflect.DeepEqual(got[0], act) {
		t.Errorf("got %+v, want %+v", got[0], act)
	}

	// The latest come first, whoever has done them, and a page has as many as are wanted.
	n := b.some(130)
	var want []string
	for i := range n {
		note(t, s, event.Act{By: event.Actor{Name: fmt.Sprint("t", i%3)}, What: "pause", Subject: fmt.Sprint(i)})
		want = append([]string{fmt.Sprint(i)}, want...)
	}
	for _, most := range []int{1000, 7} {
		acts, pages := audit(t, s, event.ActQuery{Match: all, Most: most})
		if got := subjects(acts); !slices.Equal(got[:len(got)-1], want) {
			t.Errorf("%d to a page: %v, want %v", most, got, want)
		}
		if pages > (n+1)/most+1 {
			t.Errorf("%d pages of %d", pages, most)
		}
	}
	some := func(a *event.Act) bool { return a.By.Name == "t1" && a.Subject < "2" }
	acts, _ := audit(t, s, event.ActQuery{Match: some, Most: 2})
	if got := subjects(acts); !slices.Equal(got, slices.DeleteFunc(slices.Clone(want), func(s string) bool {
		i := slices.Index(want, s)
		return (n-1-i)%3 != 1 || s >= "2"
	})) {
		t.Errorf("those of t1: %v", got)
	}
	if acts, _ := audit(t, s, event.ActQuery{Match: all, Most: 10, Since: s.Now().Add(time.Hour)}); len(acts) > 0 {
		t.Errorf("since an hour from now: %+v", acts)
	}
	for _, cursor := range []string{"x", "1", "1-", "+"} {
		if _, _, err := s.Acts(t.Context(), event.ActQuery{Match: all, Most: 1, Cursor: cursor}); !errors.Is(err,
			event.ErrCursor) {
			t.Errorf("cursor %q: %v", cursor, err)
		}
	}
}

func checkActsThatAreAlike(t *testing.T, b *bench) {
	clock := &shifted{}
	s := b.open(t, options{Clock: clock.now})
	act := event.Act{By: event.Actor{Name: "shop"}, What: "redrive", Subject: "shop/a", Count: 100}
	other := event.Act{By: event.Actor{Name: "other"}, What: "redrive", Subject: "other/a", Count: 1}
	counted := func(want ...string) {
		t.Helper()
		acts, _ := audit(t, s, event.ActQuery{Match: all, Most: 10})
		var got []string
		for _, a := range acts {
			got = append(got, fmt.Sprint(a.What, " ", a.Subject, " ", a.Times, " ", a.Count))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}

	// What others do in between does not matter.
	for range 3 {
		note(t, s, act)
		note(t, s, other)
	}
	counted("redrive other/a 3 3", "redrive shop/a 3 300")

	// Another result, another address and another act are another entry.
	for _, change := range []func(*event.Act){
		func(a *event.Act) { a.Result = "failed: 503" },
		func(a *event.Act) { a.By.From = "10.0.0.2" },
		func(a *event.Act) { a.What = "dismiss" },
	} {
		different := act
		change(&different)
		note(t, s, different)
	}
	note(t, s, act)
	counted("redrive shop/a 1 100", "dismiss shop/a 1 100", "redrive shop/a 1 100", "redrive shop/a 1 100",
		"redrive other/a 3 3", "redrive shop/a 3 300")

	// A minute after the first one a new entry begins, however many came meanwhile.
	clock.forward(40 * time.Second)
	note(t, s, act)
	clock.forward(40 * time.Second)
	note(t, s, act)
	counted("redrive shop/a 1 100", "redrive shop/a 2 200", "dismiss shop/a 1 100", "redrive shop/a 1 100",
		"redrive shop/a 1 100", "redrive other/a 3 3", "redrive shop/a 3 300")
}

func checkAuditShares(t *testing.T, b *bench) {
	s := b.open(t, options{AuditCount: 30, AuditShare: 5})
	act := func(name string, i int) {
		note(t, s, event.Act{By: event.Actor{Name: name}, What: "pause", Subject: fmt.Sprint(name, i)})
	}
	for i := range 3 {
		act("quiet", i)
		act(event.Operator, i)
	}

	// However much one tenant does, the entries of others stay.
	for i := range 100 {
		act("loud", i)
	}
	acts, _ := audit(t, s, event.ActQuery{Match: all, Most: 100})
	want := []string{"loud99", "loud98", "loud97", "loud96", "loud95", "operator2", "quiet2", "operator1", "quiet1",
		"operator0", "quiet0"}
	if got := subjects(acts); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}

	// The operator has eight times as much, within what there is for all.
	for i := range 50 {
		act(event.Operator, 100+i)
	}
	acts, _ = audit(t, s, event.ActQuery{Match: all, Most: 100})
	if got := subjects(acts); len(got) != 30 || got[0] != "operator149" || got[29] != "operator120" {
		t.Errorf("%d entries: %v", len(got), got)
	}

	// Many tenants together keep to the bound of all, and what went leaves nothing behind.
	for i := range 100 {
		act(fmt.Sprint("t", i), i)
	}
	if acts, _ := audit(t, s, event.ActQuery{Match: all, Most: 100}); len(acts) != 30 {
		t.Errorf("%d entries, want 30", len(acts))
	}
	if keys := b.Keys(t, b.prefix()+"au:"); len(keys) != 30 {
		t.Errorf("%d tenants have a list: %v", len(keys), keys)
	}
}

func checkAuditForgets(t *testing.T, b *bench) {
	clock := &shifted{}
	s := b.open(t, options{Clock: clock.now})
	for i := range 3 {
		note(t, s, event.Act{By: event.Actor{Name: fmt.Sprint("t", i)}, What: "pause", Subject: fmt.Sprint(i)})
		clock.forward(40 * 24 * time.Hour)
	}
	note(t, s, event.Act{What: "pause", Subject: "3"})
	acts, _ := audit(t, s, event.ActQuery{Match: all, Most: 10})
	if got := subjects(acts); !slices.Equal(got, []string{"3", "2", "1"}) {
		t.Errorf("%v are left", got)
	}
	for _, key := range []string{"audit", "au:"} {
		if life := b.Life(t, b.prefix()+key); life <= 0 || life > 90*24*time.Hour {
			t.Errorf("%s lives %v", key, life)
		}
	}
}
