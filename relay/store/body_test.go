package store

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
	"kuairelay/relay/store/db"
)

func TestABodyIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	for _, e := range []event.Event{
		{Type: event.TypeWaybill, WaybillCode: "77", CPCode: "zt", Status: "signed", Data: []byte("{\n}")},
		{Type: event.TypeWaybill, WaybillCode: "\"\\\n\x00已签收\u2028", Status: "<&>", Data: []byte("x")},
		{Data: []byte{}},
		{Data: []byte("x"), Config: "a0b1c2d3"},
		{Data: []byte("x"), Config: "a0b1c2d3", Item: 3, Origin: &event.Origin{ID: "cb_mir3k9x2a7q2f8", From: "2001:db8::1",
			Replica: "relay-b", Form: "multipart", Items: 7}},
		{Data: []byte("x"), Item: 1, Origin: &event.Origin{ID: "cb_mir3k9x2a7q2f8", Items: 1}},
	} {
		e.ReceivedAt = time.UnixMilli(1_700_000_000_123)
		got, err := decodeBody(string(encodeBody(&e)))
		if err != nil || !reflect.DeepEqual(*got, e) {
			t.Errorf("%+v, %v, want %+v", got, err, e)
		}
	}
	// An older version knew no callbacks, and wrote the members in this order.
	old := `{"type":"express_sub_msg","waybill_code":"77","received_at":1700000000123}` + "\nx"
	if got, err := decodeBody(old); err != nil || got.WaybillCode != "77" || got.Origin != nil || string(got.Data) != "x" {
		t.Errorf("%+v, %v", got, err)
	}

	// The name of a replica may be any text, and as long as it likes.
	long := &event.Event{Item: 1, Origin: &event.Origin{ID: "cb_1", Replica: strings.Repeat("long ", 20) + "\" b\n"}}
	if got, err := decodeBody(string(encodeBody(long))); err != nil || got.Origin == nil ||
		got.Origin.Replica != `long_long_long_long___b_` {
		t.Errorf("%+v, %v", got.Origin, err)
	}
	// Without its body, an event is known by its record: of one without a waybill that is named by the event itself.
	for record, want := range map[string]string{"w:77": "77", "n:" + strings.Repeat("A", shortHash): ""} {
		if got := readStored(&stored{record: record}, nil); got.WaybillCode != want {
			t.Errorf("the waybill of record %s is %q, want %q", record, got.WaybillCode, want)
		}
	}
	if got, err := decodeBody(string(encodeBody(&event.Event{Status: "a\xffb"}))); err != nil || got.Status != "a\ufffdb" {
		t.Errorf("%+v, %v", got, err)
	}
}

// An answer that no script gives, as of another server behind the same address, is an error.
func TestAnAnswerToAcceptOfAnotherShapeIsAnError(t *testing.T) {
	t.Parallel()
	id := strings.Repeat("A", 43)
	for _, answer := range []any{nil, "OK", []any{}, []any{int64(1), id, int64(1), int64(1)}} {
		row := acceptRow{Routed: queue.Routed{Event: &event.Event{}}}
		if got, err := readAccepted(row, answer, nil, "", time.Now()); !errors.Is(err, db.ErrShape) {
			t.Errorf("%v is read as %+v, %v", answer, got, err)
		}
	}
}
