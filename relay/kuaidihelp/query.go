package kuaidihelp

import (
	"bytes"
	"encoding/json"
	"slices"

	"kuairelay/relay/event"
)

// QueryItem is what MethodQuery has answered about one waybill.
type QueryItem struct {
	// Code is the waybill; empty: the item is not understood.
	Code string
	// Body is the body of a callback with this one item, as it came, so that it can be parsed and accepted like one.
	Body []byte
}

// QueryItems reads the `data` of an answer to MethodQuery: an array of items, one item, or a JSON string that holds one
// of these; each item as leniently as that of a callback. It leaves out those without tracks: the provider has no
// record of these. It returns false if data is something else; an empty one has no items.
func QueryItems(data json.RawMessage) (found []QueryItem, ok bool) {
	raw := trim(data)
	switch string(raw) {
	case "", "null", "{}", `""`:
		return nil, true
	}
	all, err := itemsOf(raw)
	if err != nil {
		return nil, false
	}

	pos := all.items.first()
	for pos != none {
		raw, next, complete := all.items.item(pos)
		if !complete {
			return nil, false
		}
		pos = next
		item := QueryItem{Body: slices.Concat([]byte(`{"type":"`+event.TypeWaybill+`","data":[`), raw, []byte("]}"))}
		if e, err := newEvent(bytes.Clone(raw)); err == nil {
			if len(e.Tracks) == 0 {
				continue
			}
			item.Code = e.WaybillCode
		}
		found = append(found, item)
	}
	return found, true
}
