package kuaidihelp

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"kuairelay/relay/event"
)

// fields are the members of an item that the relay reads, as they came. A field may have aliases (they come from public
// client code). The array has them by rank: the first that is not empty counts.
type fields struct {
	waybill [3][]byte // waybill_code, no, waybill_no
	brand   [3][]byte // cp_code, brand, exp_company_code
	status  []byte
	tracks  []byte
}

var (
	errNotObject = errors.New("not an object")
	errNoWaybill = errors.New("no waybill code")
	errNotDigits = errors.New("the waybill code is a number, but not only digits")
	errNoCode    = fmt.Errorf("the waybill code is longer than %d bytes, or has control characters", maxCode)
)

// newEvent makes the event of one item, except for Data, ReceivedAt and TrackedAt.
func newEvent(raw []byte) (*event.Event, error) {
	if kindOf(raw) != object {
		return nil, errNotObject
	}
	var f fields
	members(raw, f.set) // if raw is broken, event.ID says so below

	// If both are wrong, the JSON is the reason to give.
	waybill, codeErr := waybillCode(f.waybill)
	if codeErr != nil {
		if err := event.Check(raw); err != nil {
			return nil, err
		}
		return nil, codeErr
	}
	cpCode := Brand(brandCode(f.brand))
	id, err := event.ID(event.TypeWaybill, cpCode, waybill, raw)
	if err != nil {
		return nil, err
	}
	e := &event.Event{
		ID:          id,
		Type:        event.TypeWaybill,
		WaybillCode: waybill,
		CPCode:      cpCode,
		Tracks:      readTracks(f.tracks),
	}
	// A status that is too long, or not plain text, is left out: data keeps it.
	if status := Status(readText(f.status)); isCode([]byte(status)) {
		e.Status = status
	}
	e.Bare = !hasTime(e.Tracks)
	return e, nil
}

func (f *fields) set(key, value []byte) {
	name, _ := unquote(key)
	switch string(name) {
	case "waybill_code":
		f.waybill[0] = value
	case "no":
		f.waybill[1] = value
	case "waybill_no":
		f.waybill[2] = value
	case "cp_code":
		f.brand[0] = value
	case "brand":
		f.brand[1] = value
	case "exp_company_code":
		f.brand[2] = value
	case "status":
		f.status = value
	case "data":
		f.tracks = value
	}
}

// waybillCode gives the first code that is not empty, as text. It fails if there is none, or if that one cannot be a
// waybill code. It copies the digits of a number: a float would change the last digits of a long code.
func waybillCode(aliases [3][]byte) (string, error) {
	for _, raw := range aliases {
		code := raw
		switch kindOf(raw) {
		case number:
			if bytes.ContainsAny(raw, "-+.eE") {
				return "", errNotDigits
			}
		case str:
			code, _ = unquote(raw)
			code = bytes.TrimSpace(code)
		default:
			continue
		}
		if len(code) == 0 {
			continue
		}
		if !isCode(code) {
			return "", errNoCode
		}
		return string(code), nil
	}
	return "", errNoWaybill
}

// brandCode gives the first brand that is not blank; empty: there is none.
func brandCode(aliases [3][]byte) string {
	for _, raw := range aliases {
		if code, ok := unquote(raw); ok && len(bytes.TrimSpace(code)) > 0 {
			return intern(code)
		}
	}
	return ""
}

// maxTracks is the most tracks of an item that are read; a real parcel has fewer than a hundred.
const maxTracks = 1000

// readTracks reads the first tracks of an item's `data`: an array of objects, an object of such whose keys are numbers
// (a PHP list with gaps), or a JSON string that holds one of these. Anything else gives no tracks: they are optional.
func readTracks(raw []byte) []event.Track {
	if text, ok := unquote(raw); ok {
		raw = trim(text)
	}
	var list items
	switch kindOf(raw) {
	case array:
		list = arrayItems(raw)
	case object:
		numbers, ok := numbered(raw)
		if !ok {
			return nil
		}
		list = numbers
	default:
		return nil
	}

	// Counting braces is faster than counting elements, and a real list has as many.
	n := bytes.Count(raw, []byte{'{'})
	if n > 32 {
		n = min(count(list), maxTracks)
	}
	tracks := make([]event.Track, 0, n)
	pos := list.first()
	for pos != none {
		element, next, ok := list.item(pos)
		if !ok || kindOf(element) != object {
			return nil
		}
		pos = next
		if len(tracks) == maxTracks {
			continue // to see whether the list is complete
		}
		t, ok := readTrack(element)
		if !ok {
			return nil
		}
		tracks = append(tracks, t)
	}
	if len(tracks) == 0 {
		return nil
	}
	return tracks
}

// readTrack reads one track; false: it is not a complete object.
func readTrack(raw []byte) (t event.Track, ok bool) {
	ok = members(raw, func(key, value []byte) {
		name, _ := unquote(key)
		switch string(name) {
		case "time":
			t.Time = readText(value)
		case "context":
			t.Context = readText(value)
		case "status":
			t.Status = readText(value)
		}
	})
	return t, ok
}

// readText gives the text of a string, or the digits of a number (a time may be one); empty for anything else.
func readText(raw []byte) string {
	if kindOf(raw) == number {
		return string(raw)
	}
	text, _ := unquote(raw)
	return intern(text)
}

// hasTime says whether any of the tracks has a time.
func hasTime(tracks []event.Track) bool {
	for _, t := range tracks {
		if strings.TrimSpace(t.Time) != "" {
			return true
		}
	}
	return false
}
