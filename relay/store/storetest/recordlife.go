package storetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
)

var recordChecks = map[string]func(*testing.T, *bench){
	"WhateverHappensARecordLivesAsLongAsAnythingOfItIsOpen": checkRecordLife,
	"TwoHashesThatBeginAlikeAreTwoEvents":                   checkAlike,
	"AnEventWithManyEndpointsKeepsThemAll":                  checkWideForms,
	"AnEventWithHundredsOfEndpointsAndALargeBodyIsWhole":    checkHuge,
}

// checkRecordLife does at random whatever opens and closes deliveries, and after each step compares how long the
// records live with what is open.
func checkRecordLife(t *testing.T, b *bench) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 2))
	s := b.openLifetimes(t)
	endpoints := []string{"t/a", "t/b", "t/c"}
	codes := []string{"1", "2"}
	for _, code := range codes {
		live(t, s.replica, "t", code)
	}
	var events []*event.Event
	any := func() *event.Event { return events[rnd.IntN(len(events))] }

	for step := range b.some(400) {
		ep := endpoints[rnd.IntN(len(endpoints))]
		did := ""
		switch op := rnd.IntN(12); {
		case op < 3 || len(events) == 0:
			var routed []queue.Routed
			for range 1 + rnd.IntN(2) {
				e := update(codes[rnd.IntN(len(codes))], fmt.Sprint(step, " ", len(routed)))
				cs := to(endpoints[:rnd.IntN(4)]...)
				for i := range cs {
					cs[i].Slot, cs[i].Ordered = rnd.IntN(2) == 0, rnd.IntN(4) > 0
				}
				routed, events = append(routed, queue.Routed{Event: e, To: cs}), append(events, e)
			}
			did = "accept"
			accept(t, s.replica, routed...)
		case op < 8:
			did = "settle"
			s.clock.forward(2 * lease) // whoever held it has lost it
			for _, d := range take(t, s.replica, ep, 1+rnd.IntN(3)) {
				kind := []queue.OutcomeKind{queue.Delivered, queue.Delivered, queue.Retry, queue.Dead}[rnd.IntN(4)]
				settle(t, s.replica, d, kind, dueIn(s.replica, 0), because("no"), next)
			}
		case op == 8:
			did = "redrive"
			if _, err := s.Redrive(t.Context(), ep, any().ID); err != nil {
				t.Fatal(err)
			}
		case op == 9:
			did = "resend"
			if _, err := s.Resend(t.Context(), ep, any().ID); err != nil {
				t.Fatal(err)
			}
		case op == 10:
			did = "dismiss"
			if _, err := s.Dismiss(t.Context(), ep, any().ID); err != nil {
				t.Fatal(err)
			}
		default:
			did = "catch up"
			catchUp(t, s.replica, "t", codes[rnd.IntN(len(codes))], ep)
		}
		for _, code := range codes {
			if !b.recordLives(t, s, code, events) {
				t.Fatalf("step %d, %s: that is wrong for the record of waybill %s", step, did, code)
			}
		}
	}
}

// recordLives says whether a record lives for ever if anything of it is open, otherwise for long if it has a dead
// letter, and otherwise for a while.
func (b *bench) recordLives(t *testing.T, s *lifetimes, code string, events []*event.Event) bool {
	t.Helper()
	var ids []string // all of them: the record has forgotten what is older than the window
	for _, e := range events {
		if e.WaybillCode == code {
			ids = append(ids, e.ID)
		}
	}
	found, err := s.EventsByID(t.Context(), ids)
	if err != nil {
		t.Fatal(err)
	}
	var open, dead bool
	for _, e := range found {
		for _, d := range e.Deliveries {
			open, dead = open || d.State.Open(), dead || d.State == event.StateDead
		}
	}
	got := b.Life(t, b.prefix()+"w:"+code)
	switch {
	case len(found) == 0, open && got == forever, !open && dead && got > deadRetention/2, !open && !dead && got > 0:
		return true
	}
	t.Errorf("open: %v, a dead letter: %v, and it expires in %s", open, dead, got)
	return false
}

// checkAlike has two contents whose hashes begin with the same bytes: in a key they have the same name.
func checkAlike(t *testing.T, b *bench) {
	s := b.open(t, options{})
	first, second := update("1", "a"), update("1", "b")
	second.ID = first.ID[:len(first.ID)-8] + "00000000"
	other := update("2", "c")
	other.ID = first.ID[:len(first.ID)-8] + "11111111"
	for i, e := range []*event.Event{first, second, other} {
		id := e.ID
		if got := acceptOne(t, s, e, to("t/a")); got.Duplicate || !strings.HasPrefix(e.ID, id) {
			t.Errorf("number %d came as %s, duplicate: %v", i, e.ID, got.Duplicate)
		}
	}
	again := update("1", "a")
	if !acceptOne(t, s, again, to("t/a")).Duplicate && again.ID == first.ID {
		t.Error("the first is accepted once more under the same id")
	}

	// Each has its own data and its whole id.
	for _, e := range []*event.Event{first, second, other} {
		got, ok, err := s.Event(t.Context(), e.ID, "")
		if err != nil || !ok || got.ID != e.ID || string(got.Data) != string(e.Data) {
			t.Errorf("%s is read as %+v, %v, %v", e.ID, got, ok, err)
		}
	}
}

// checkWideForms has events for many endpoints, of which none, one, and all are leased at first.
func checkWideForms(t *testing.T, b *bench) {
	s := b.open(t, options{})
	var names []string
	for i := range 40 {
		names = append(names, fmt.Sprintf("tenant-%d/a-rather-long-name-of-an-endpoint", i))
	}
	for i, slots := range []int{0, 1, len(names)} {
		e := update(fmt.Sprint(i), "a")
		cs := to(names...)
		slot(cs[:slots])
		if got := acceptOne(t, s, e, cs); len(got.Leased) != slots {
			t.Fatalf("%d leased, want %d", len(got.Leased), slots)
		}
		for _, name := range names[slots:] {
			d := takeOne(t, s, name)
			if string(d.Event.Data) != string(e.Data) || d.Event.ID != e.ID || d.Event.Sequence != e.Sequence {
				t.Fatalf("leased is %+v, want %+v", d.Event, e)
			}
			settle(t, s, d, queue.Delivered)
		}

		got, ok, err := s.Event(t.Context(), e.ID, "")
		if err != nil || !ok || len(got.Deliveries) != len(names) || string(got.Data) != string(e.Data) {
			t.Fatalf("%+v, %v, %v", got, ok, err)
		}
		for _, d := range got.Deliveries {
			want := event.StateDelivered
			if slices.Contains(names[:slots], d.Endpoint) {
				want = event.StateSending
			}
			if d.State != want {
				t.Errorf("at %s it is %s, want %s", d.Endpoint, d.State, want)
			}
		}
	}
}

// checkHuge has an event whose head does not fit into a few bytes: 900 endpoints with long names, a waybill code of
// 70,000 characters, and a body that is read in parts.
func checkHuge(t *testing.T, b *bench) {
	s := b.open(t, options{})
	var names []string
	for i := range b.some(900) {
		names = append(names, fmt.Sprintf("a-tenant-with-quite-a-long-name/an-endpoint-with-a-long-name-%03d", i))
	}
	e := update(strings.Repeat("7", 70_000), "a")
	e.Data = fmt.Appendf(nil, `{"text":%q}`, strings.Repeat("x", 300_000))
	acceptOne(t, s, e, to(names...))
	for _, name := range []string{names[0], names[len(names)-1]} {
		d := takeOne(t, s, name)
		if string(d.Event.Data) != string(e.Data) {
			t.Fatalf("%d bytes instead of %d", len(d.Event.Data), len(e.Data))
		}
		settle(t, s, d, queue.Delivered)
	}

	got, ok, err := s.Event(t.Context(), e.ID, "")
	if err != nil || !ok || len(got.Deliveries) != len(names) || string(got.Data) != string(e.Data) ||
		got.WaybillCode != e.WaybillCode {
		t.Errorf("%v, %v, %d deliveries, waybill of %d characters", ok, err, len(got.Deliveries), len(got.WaybillCode))
	}
	if listed := page(t, s, event.Query{Most: 1}); len(listed) != 1 {
		t.Errorf("listed are %v", listed)
	}
	if d, err := s.Depths(t.Context(), []string{names[1]}); err != nil || d[0].Open != 1 || d[0].Oldest.IsZero() {
		t.Errorf("%+v, %v", d, err)
	}
	if done, err := s.Closed(t.Context(), []string{e.ID, update("2", "gone").ID}); err != nil || done[0] || !done[1] {
		t.Errorf("closed: %v, %v", done, err)
	}
}
