package kuaidihelp

import (
	"slices"

	"kuairelay/relay/event"
)

// Reread gives an event as it came, with its tracks, which the store does not keep apart from its data.
func Reread(e event.Event) *event.Event {
	if e.Type != event.TypeWaybill {
		return &e
	}
	parsed := Parse("", WithItem(e.Data), e.ReceivedAt)
	if len(parsed.Events) == 1 {
		e.Tracks = parsed.Events[0].Tracks
		e.Bare = parsed.Events[0].Bare
	}
	return &e
}

// WithItem gives the body of a callback with one item, which is JSON.
func WithItem(item []byte) []byte {
	return slices.Concat([]byte(`{"type":"`+event.TypeWaybill+`","data":[`), item, []byte(`]}`))
}
