package kuaidihelp

import (
	"reflect"
	"testing"
	"time"

	"kuairelay/relay/event"
)

// A key of match may read any field of an event, also of an event from the store. So Reread has to restore the field,
// although the store keeps few of them.
func TestAnEventIsReadAgainAsItCame(t *testing.T) {
	t.Parallel()
	set := map[string]bool{"For": true} // fields that an event here has, and one that ends when it is accepted
	for _, body := range []string{
		string(WrapItem([]byte(`{"waybill_code":"1","cp_code":"zt","data":[{"time":"2022-03-24 09:12:31","context":"a"},` +
			`{"time":"2022-03-24 10:00:00","context":"b"}]}`))),
		string(WrapItem([]byte(`{"waybill_code":"1","cp_code":"zt","status":"signed"}`))),
		`{"type":"print","waybill_code":"1","data":[{"time":"2026-11-23 09:12:31"}]}`,
		"type=print&data=%7B%22a%22%3A1%7D",
	} {
		came := *Parse("", []byte(body), at).Events[0]
		came.ID += "-2"
		came.AcceptedAt = at.Add(time.Second)
		came.Sequence = 7
		came.Origin = &event.Origin{ID: "cb_1"}
		came.Config = "a0b1c2d3"

		// The store keeps these, see package store.
		again := Reread(event.Event{ID: came.ID, Type: came.Type, WaybillCode: came.WaybillCode, CPCode: came.CPCode,
			Status: came.Status, Data: came.Data, ReceivedAt: came.ReceivedAt, AcceptedAt: came.AcceptedAt,
			Sequence: came.Sequence, Origin: came.Origin, Item: came.Item, Config: came.Config})
		if !reflect.DeepEqual(*again, came) {
			t.Errorf("%s: %+v, and it came as %+v", body, *again, came)
		}
		for f, v := range reflect.ValueOf(came).Fields() {
			set[f.Name] = set[f.Name] || !v.IsZero()
		}
	}
	for f := range reflect.TypeFor[event.Event]().Fields() {
		if !set[f.Name] {
			t.Errorf("no event of this test has a %s: it is not known to come back", f.Name)
		}
	}
}

// A newer version may read a field in another way. The field stays as it was when the event was accepted.
func TestAnEventKeepsWhatItWasAcceptedBy(t *testing.T) {
	t.Parallel()
	e := event.Event{ID: "evt_1", Type: event.TypeWaybill, WaybillCode: "01", CPCode: "old", Status: "former",
		Data: []byte(`{"waybill_code":"1","cp_code":"zt","status":"signed"}`), ReceivedAt: at}
	want := e
	want.Bare = true
	if again := Reread(e); !reflect.DeepEqual(*again, want) {
		t.Errorf("%+v", *again)
	}

	e.Data = []byte("damaged")
	if again := Reread(e); !reflect.DeepEqual(*again, e) {
		t.Errorf("%+v", *again)
	}
}
