package kuaidihelp

import (
	"encoding/json"
	"slices"
	"time"

	"kuairelay/relay/event"
)

// Reread restores an event that the store has kept. The store keeps the fields that are copied here, and the data. All
// other fields are read from the data again.
func Reread(e event.Event) *event.Event {
	if e.Own() { // it has no tracks
		return &e
	}
	body := e.Data
	if e.Type == event.TypeWaybill {
		body = WrapItem(e.Data)
	}
	parsed := Parse("", body, e.ReceivedAt)
	if len(parsed.Events) != 1 {
		return &e
	}

	// A newer version may read another name or status from the same data, but the event was accepted by these.
	again := *parsed.Events[0]
	again.ID = e.ID
	again.Type = e.Type
	again.WaybillCode = e.WaybillCode
	again.CPCode = e.CPCode
	again.Status = e.Status
	again.Data = e.Data
	again.ReceivedAt = e.ReceivedAt
	again.Origin = e.Origin
	again.Item = e.Item
	again.Config = e.Config
	again.AcceptedAt = e.AcceptedAt
	again.Sequence = e.Sequence
	return &again
}

// ParseSample is Parse for what a person tries: a callback in any form, a single item as JSON, or the webhook of an
// event that the relay itself makes.
func ParseSample(contentType string, sample []byte, receivedAt time.Time) Result {
	var fields map[string]json.RawMessage
	if json.Unmarshal(sample, &fields) == nil {
		if e := ownSample(fields, receivedAt); e != nil {
			return Result{Events: []*event.Event{e}}
		}
		if fields["type"] == nil {
			sample = WrapItem(sample)
		}
	}
	return Parse(contentType, sample, receivedAt)
}

// ownSample is the event of a webhook in either format; nil: the relay makes none of such a type, or with such data.
func ownSample(webhook map[string]json.RawMessage, receivedAt time.Time) *event.Event {
	data := webhook["data"]
	var list []json.RawMessage
	if json.Unmarshal(data, &list) == nil && len(list) == 1 {
		data = list[0]
	}
	var of struct {
		WaybillCode string `json:"waybill_code"`
		CPCode      string `json:"cp_code"`
	}
	e := &event.Event{Data: data, ReceivedAt: receivedAt}
	if json.Unmarshal(webhook["type"], &e.Type) != nil || json.Unmarshal(data, &of) != nil {
		return nil
	}

	e.WaybillCode, e.CPCode = of.WaybillCode, Brand(of.CPCode)
	id, err := event.ID(e.Type, e.CPCode, e.WaybillCode, data)
	if err != nil || !e.Own() {
		return nil
	}
	e.ID = id
	return e
}

// WrapItem gives the body of a callback with one item. The item is JSON.
func WrapItem(item []byte) []byte {
	return slices.Concat([]byte(`{"type":"`+event.TypeWaybill+`","data":[`), item, []byte(`]}`))
}
