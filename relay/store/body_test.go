package store

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
)

func TestABodyIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	for _, e := range []event.Event{
		{Type: event.TypeWaybill, WaybillCode: "77", CPCode: "zt", Status: "signed", Data: []byte("{\n}")},
		{Type: event.TypeWaybill, WaybillCode: "\"\\\n\x00已签收\u2028", Status: "<&>", Data: []byte("x")},
		{Data: []byte{}},
	} {
		e.ReceivedAt = time.UnixMilli(1_700_000_000_123)
		got, err := decodeBody(string(encodeBody(&e)))
		if err != nil || !reflect.DeepEqual(*got, e) {
			t.Errorf("%+v, %v, want %+v", got, err, e)
		}
	}
	// Without its body, an event is known by its record: of one without a waybill that is named by the event itself.
	for record, want := range map[string]string{"w:77": "77", "n:" + strings.Repeat("A", 43): ""} {
		got, err := readStored(strings.Repeat("A", 43), map[string]string{"w": record}, "")
		if err != nil || got.WaybillCode != want {
			t.Errorf("the waybill of record %s is %+v, %v, want %q", record, got, err, want)
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
		row := acceptRow{Entry: queue.Entry{Event: &event.Event{}}}
		if got, err := readAccepted(row, answer, nil, "", time.Now()); !errors.Is(err, errShape) {
			t.Errorf("%v is read as %+v, %v", answer, got, err)
		}
	}
}
