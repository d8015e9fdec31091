// Package kuaidihelp knows the provider, kuaidihelp (快宝开放平台): the forms of its callbacks, its brand codes, its
// statuses, and its API (Client). The facts come from the provider's page for express.sub.msg and from its public
// clients. If the provider leaves something open, every form is accepted.
package kuaidihelp

import (
	"bytes"
	"errors"
	"fmt"
	"time"
	"unicode"
	"unicode/utf8"

	"kuairelay/relay/event"
)

const (
	// maxCode bounds a waybill code and a callback's type, in bytes. Real ones have up to 20.
	maxCode = 64
	// maxRejected is the most items of one callback that are rejected one by one: four bytes can make an item.
	maxRejected = 10_000
	// maxKeys is the most members of a callback's outermost object. Real ones have two.
	maxKeys = 1000
	// maxUnwraps is the most JSON strings around `data`, one inside the other.
	maxUnwraps = 3
)

// Result is the result of parsing a callback. An empty callback (`"data":[]`) has neither events nor rejected items.
type Result struct {
	// Events are in the order of the callback's items.
	Events []*event.Event
	// Rejected are in the order of the callback's items, too.
	Rejected []Rejected
	// Form is how the body was written (event.FormJSON, …), and Items is how many items the whole callback has. A callback
	// that was not understood has neither.
	Form  string
	Items int
}

// Rejected is a callback, or one item of it, that was not understood. It belongs in quarantine.
type Rejected struct {
	// Raw is the item's bytes as they came (of a form with brackets: as JSON), or the whole body if the callback was not
	// understood as a whole. It may share memory with the body.
	Raw []byte
	// Reason says what is wrong, like `item 3: duplicate key "no"`; items count from 0, as in data[0]. It may be logged:
	// of the callback it has only key names and positions.
	Reason string
}

// Parse reads one callback of the provider: a JSON body, a form with `type` and `data`, a form with PHP brackets, or
// multipart with the same fields; `data` is an array, one object, an object whose keys are numbers (a PHP list with
// gaps), or a JSON string that holds one of these (none of this is documented). Parse decides by the body, because a
// Content-Type may be wrong or missing; it reads only a boundary from it.
//
// Every item becomes one event or one rejection: a bad item does not affect its siblings. A callback of another type
// than express_sub_msg is one event without a waybill, and its Data is the whole callback (a form: as an object of
// strings). An item is rejected if it is not an object, names no usable waybill, or has no id (see event.ID). The whole
// callback is rejected if it cannot be taken apart, has a key twice, has no `type`, or has a `data` without items.
//
// An event's Data may share memory with the body, so nobody may write to the body afterwards. Parse takes time in
// proportion to the length of the body, for any content. The events of a body full of tiny items take up to forty times
// its memory; ParseParts gives them in parts.
func Parse(contentType string, body []byte, receivedAt time.Time) Result {
	r := partReader{body: body, receivedAt: receivedAt}
	r.read(contentType)
	return r.part
}

// callback is the content of a body: items, or a callback of another type.
type callback struct {
	items items // nil for another type
	typ   string
	json  []byte // of another type: the whole callback
}

// open finds out what a body holds. It takes at most eight times the body's memory. It returns an error if the callback
// as a whole is not understood.
func open(contentType string, body []byte) (callback, error) {
	text := textOf(body)
	switch kindOf(text) {
	case nothing:
		return callback{}, errors.New("the body is empty")
	case object:
		return jsonEnvelope(text)
	case array:
		return callback{}, errors.New("the body is a JSON array, not an object with type and data")
	}
	if bytes.HasPrefix(text, []byte{0x1F, 0x8B}) {
		return callback{}, errors.New("the body is compressed with gzip, and damaged")
	}
	form, err := readForm(contentType, text)
	if err != nil {
		return callback{}, err
	}
	return formEnvelope(form)
}

// textOf is a body without the space and the byte order mark around it.
func textOf(body []byte) []byte { return trim(bytes.TrimPrefix(trim(body), []byte("\uFEFF"))) }

// formOf is how the body of a callback is written that open understands.
func formOf(contentType string, body []byte) string {
	text := textOf(body)
	switch {
	case kindOf(text) == object:
		return event.FormJSON
	case boundaryOf(contentType, text) != "":
		return event.FormMultipart
	}
	return event.FormURLEncoded
}

// jsonEnvelope reads type and data of a JSON body.
func jsonEnvelope(text []byte) (callback, error) {
	var typ, data []byte
	var bad error
	seen := make(map[string]bool)

	// A key must not come twice: nobody knows which value is meant.
	complete := members(text, func(key, value []byte) {
		if bad != nil {
			return
		}
		name, ok := unquote(key)
		switch {
		case len(seen) == maxKeys:
			bad = fmt.Errorf("the callback has more than %d keys", maxKeys)
		case !ok || !utf8.Valid(name):
			bad = errors.New("a key of the callback is not a JSON string")
		case seen[string(name)]:
			bad = fmt.Errorf("duplicate key %.100q in the callback", name)
		case string(name) == "type":
			typ = value
		case string(name) == "data":
			data = value
		}
		seen[string(name)] = true
	})

	switch {
	case bad != nil:
		return callback{}, bad
	case !complete:
		return callback{}, errors.New("the body is not complete JSON")
	case kindOf(typ) == nothing:
		return callback{}, errNoType
	case kindOf(typ) != str:
		return callback{}, fmt.Errorf("type is %s, not a string", kindOf(typ))
	}
	name, ok := unquote(typ)
	if !ok {
		return callback{}, errors.New("type is not a valid JSON string")
	}

	name = bytes.TrimSpace(name)
	if err := checkType(name); err != nil {
		return callback{}, err
	}
	if string(name) != event.TypeWaybill {
		return callback{typ: string(name), json: text}, nil
	}
	return itemsOf(data)
}

var errNoType = errors.New("the callback has no type")

// checkType says what is wrong with the type of a callback.
func checkType(typ []byte) error {
	switch {
	case len(typ) == 0:
		return errNoType
	case !isCode(typ):
		return fmt.Errorf("type is longer than %d bytes, or not plain text", maxCode)
	}
	return nil
}

// isCode says whether text can serve as a waybill code or a type: valid UTF-8, not too long, no control characters.
func isCode(text []byte) bool {
	return len(text) <= maxCode && utf8.Valid(text) && bytes.IndexFunc(text, unicode.IsControl) < 0
}

// itemsOf finds the items in the JSON of `data`.
func itemsOf(data []byte) (callback, error) {
	for range maxUnwraps {
		if kindOf(data) != str {
			break
		}
		text, ok := unquote(data)
		if !ok {
			return callback{}, errors.New("data is not a valid JSON string")
		}
		data = trim(text)
	}

	switch kind := kindOf(data); kind {
	case object:
		if list, ok := numbered(data); ok {
			return callback{items: list}, nil
		}
		return callback{items: oneItem(data)}, nil
	case array:
		return callback{items: arrayItems(data)}, nil
	case nothing:
		return callback{}, errors.New("the callback has no data")
	default:
		return callback{}, fmt.Errorf("data is %s, not an array or an object", kind)
	}
}
