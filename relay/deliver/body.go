package deliver

import (
	"kuairelay/relay/event"
)

// The formats of a body. FormatKuaidihelp is for receivers that spoke to kuaidihelp before.
const (
	FormatStandard   = "standard"
	FormatKuaidihelp = "kuaidihelp"
)

// Formats lists them, the default first.
func Formats() []string { return []string{FormatStandard, FormatKuaidihelp} }

// Body renders what an endpoint receives, in one of Formats. It depends on the event alone, so that every attempt sends
// the same bytes:
//
//	standard    {"type":"waybill.signed","timestamp":"2026-01-02T03:04:05.678Z","data":{…the item…}}
//	kuaidihelp  {"type":"express_sub_msg","data":[{…the item…}]}, or a callback of another type as it came
//
// What the relay itself says of a waybill (event.Own) has its type in both, and in the second a list as well.
// The timestamp is when the event was first accepted (RFC 3339, UTC, milliseconds).
func Body(format string, e *event.Event) []byte {
	if format == FormatKuaidihelp {
		if e.Type != event.TypeWaybill && !e.Own() {
			return e.Data
		}
		return concat(`{"type":"`+e.Type+`","data":[`, e.Data, `]}`)
	}
	head := `{"type":"` + Type(e) + `","timestamp":"` + e.AcceptedAt.UTC().Format("2006-01-02T15:04:05.000Z") + `","data":`
	return concat(head, e.Data, "}")
}

// Type names the event as the standard body does: "waybill.<status>", "waybill.updated" if the item has no usable
// status, "callback.<type>" for a callback of another type, "test" for one that a person sends, or the type of
// an event that the relay has made (event.Own).
// A name is usable if it has 1 to 64 of a–z, 0–9 and _, in any case.
func Type(e *event.Event) string {
	if e.Type == event.TypeTest {
		return "test"
	}
	if e.Own() {
		return e.Type
	}
	if e.Type != event.TypeWaybill {
		if usable(e.Type) {
			return "callback." + e.Type
		}
		return "callback.other"
	}
	if usable(e.Status) {
		return "waybill." + e.Status
	}
	return "waybill.updated"
}

func usable(name string) bool {
	if name == "" || len(name) > 64 {
		return false
	}
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return true
}

func concat(head string, data []byte, tail string) []byte {
	out := make([]byte, 0, len(head)+len(data)+len(tail))
	return append(append(append(out, head...), data...), tail...)
}
