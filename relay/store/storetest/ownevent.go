package storetest

import (
	"testing"

	"kuairelay/relay/event"
	"kuairelay/relay/ledger"
	"kuairelay/relay/queue"
)

func checkOwnEvent(t *testing.T, b *bench) {
	s, _ := scheduled(t, b)
	own := func(code string) *event.Event {
		e := update(code, "lost")
		e.Type, e.Status = event.TypeLost, ""
		return e
	}

	// It comes in the order of the waybill, and changes nothing that is known of the parcel.
	begun(t, s, "a", "1")
	first := acceptOne(t, s, at(9, "1", "1", "sending"), slot(to("a/x"))).Leased
	answered(t, s, "first 1", ledger.Refused, none, "1")
	got := acceptOne(t, s, own("1"), slot(under(event.IfSubscribed, "a/x", "b/x")))
	if got.Duplicate || got.Deliveries != 1 || len(got.Leased) != 0 {
		t.Errorf("%+v", got)
	}
	if !acceptOne(t, s, own("1"), under(event.IfSubscribed, "a/x")).Duplicate {
		t.Error("the same again is new")
	}
	if last, ok, err := s.Latest(t.Context(), zt("1")[0]); err != nil || !ok || last.Status != "sending" {
		t.Errorf("the last update is %+v (%v)", last, err)
	}
	changed := under(event.IfChanged, "a/y")
	if n := acceptOne(t, s, at(10, "1", "2", "sending"), changed).Deliveries; n != 0 {
		t.Error("the status has changed by it")
	}
	if n := acceptOne(t, s, own("1b"), under(event.IfChanged, "a/y")).Deliveries; n != 0 {
		t.Error("it is a change of the status")
	}

	// A waybill that failed stays so, and who subscribes it later is not caught up with it.
	subscribe(t, s, "a", "2")
	askedInVain(t, s, "x", "2", ledger.Refused, none)
	if n := acceptOne(t, s, own("2"), under(event.IfSubscribed, "a/x")).Deliveries; n != 1 {
		t.Errorf("%d deliveries", n)
	}
	if got := state(t, s, "a", "2"); got != ledger.Failed {
		t.Errorf("it is %s", got)
	}
	if w := subscribe(t, s, "b", "2")[0]; w.CatchUp {
		t.Errorf("%+v", w)
	}
	acceptOne(t, s, own("3"), nil)
	if w := subscribe(t, s, "a", "3")[0]; w.CatchUp {
		t.Errorf("%+v", w)
	}
	acceptOne(t, s, at(9, "4", "1", "sending"), nil)
	acceptOne(t, s, own("4"), nil)
	subscribe(t, s, "a", "4")
	if last, ok, err := s.Latest(t.Context(), zt("4")[0]); err != nil || !ok || last.Status != "sending" {
		t.Errorf("the last update is %+v (%v)", last, err)
	}

	// It is read back as it was.
	lost := settle(t, s, first[0], queue.Delivered, next).Next
	if lost == nil || lost.Event.Type != event.TypeLost || lost.Event.WaybillCode != "1" || !lost.Event.Own() {
		t.Errorf("%+v", lost.Event)
	}
}
