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

// ParseSample is Parse for what a person tries: a callback in any form, or a single item as JSON.
func ParseSample(contentType string, sample []byte, receivedAt time.Time) Result {
	var fields map[string]json.RawMessage
	if json.Unmarshal(sample, &fields) == nil && fields["type"] == nil {
		sample = WrapItem(sample)
	}
	return Parse(contentType, sample, receivedAt)
}

// WrapItem gives the body of a callback with one item. The item is JSON.
func WrapItem(item []byte) []byte {
	return slices.Concat([]byte(`{"type":"`+event.TypeWaybill+`","data":[`), item, []byte(`]}`))
}
