package event

import (
	"math"
	"strings"
	"testing"
)

func TestATraceparentIsReadAsTheSpecificationSays(t *testing.T) {
	t.Parallel()
	const id, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	for text, want := range map[string]Trace{
		"00-" + id + "-" + span + "-01":                      id + "-01",
		"00-" + id + "-" + span + "-00":                      id + "-00",
		"cc-" + id + "-" + span + "-01":                      id + "-01", // a later version, read as this one
		"cc-" + id + "-" + span + "-01-what-will-be":         id + "-01",
		"00-" + id + "-" + span + "-01-more":                 "",
		"cc-" + id + "-" + span + "-01.more":                 "",
		"ff-" + id + "-" + span + "-01":                      "",
		"00-" + strings.ToUpper(id) + "-" + span + "-01":     "",
		"00-" + strings.Repeat("0", 32) + "-" + span + "-01": "",
		"00-" + id + "-" + strings.Repeat("0", 16) + "-01":   "",
		"00-" + id[:31] + "-" + span + "-01":                 "",
		"00-" + id + "-" + span + "-1":                       "",
		"00-" + id + "-" + span + "-0g":                      "",
		"0-" + id + "-" + span + "-01":                       "",
		"00-" + id[:30] + "\r\n-" + span + "-01":             "",
		"":                                                   "",
		"00":                                                 "",
		"00---":                                              "",
		strings.Repeat("00-"+id+"-"+span+"-01, ", 2):         "",
	} {
		if got := ReadTrace(text); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

func TestATraceparentOfAnEventIsReadAsItsTrace(t *testing.T) {
	t.Parallel()
	e := &Event{ID: "evt_" + strings.Repeat("0123456789abcdef", 4)}
	if got, want := e.Traceparent(0xf00), "00-0123456789abcdef0123456789abcdef-0000000000000f00-01"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	again := &Event{ID: e.ID + "-2"} // is another update
	theirs := &Event{ID: e.ID, Origin: &Origin{Trace: "4bf92f3577b34da6a3ce929d0e0e4736-00"}}
	seen := map[Trace]bool{}
	for _, e := range []*Event{e, again, theirs, {ID: e.ID, Origin: &Origin{}}} {
		one, other := ReadTrace(e.Traceparent(1)), ReadTrace(e.Traceparent(math.MaxUint64))
		if one == "" || one != other || theirs == e && one != e.Origin.Trace {
			t.Errorf("%s: %s, %s", e.ID, one, other)
		}
		seen[one] = true
	}
	if len(seen) != 3 {
		t.Errorf("traces %v", seen)
	}
}
