package kuaidihelp

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"

	"kuairelay/relay/event"
)

// formReader gives what reads the fields of a form: multipart if the body has a boundary, urlencoded otherwise.
func formReader(contentType string, body []byte) func(yield func(field) error) error {
	boundary := boundaryOf(contentType, body)
	if boundary == "" {
		return func(yield func(field) error) error { return readURLEncoded(body, yield) }
	}
	return func(yield func(field) error) error { return readMultipart(boundary, body, yield) }
}

// FormValues reads a form as leniently as a callback's. It gives the first value of each of the named fields. An error
// means that the form is multipart, and broken.
func FormValues(contentType string, body []byte, names ...string) (map[string]string, error) {
	values := make(map[string]string, len(names))
	err := formReader(contentType, body)(func(f field) error {
		name, value := f.name, f.value
		if f.escaped {
			name = appendDecoded(nil, name)
		}
		if _, twice := values[string(name)]; twice || !slices.Contains(names, string(name)) {
			return nil
		}
		if f.escaped {
			value = appendDecoded(nil, value)
		}
		values[string(name)] = string(value)
		return nil
	})
	return values, err
}

// readForm makes the tree of a form. It reads the body twice: first to know how much memory the tree needs, and whether
// that is allowed.
func readForm(contentType string, body []byte) (*tree, error) {
	if len(body) > math.MaxInt32 {
		return nil, errors.New("a form of more than 2 GiB")
	}
	read := formReader(contentType, body)
	nodes := 0
	err := read(func(f field) error {
		nodes += 1 + min(brackets(f.name), maxBrackets)
		return nil
	})
	if err != nil {
		return nil, err
	}

	// Now that its size is known, the tree gets all its memory at once.
	t := newTree(min(nodes, maxNodes(len(body))), len(body))
	n := 0
	err = read(func(f field) error {
		if err := t.add(t.hold(f.name, f.escaped), t.hold(f.value, f.escaped)); err != nil {
			return fmt.Errorf("field %d: %w", n, err)
		}
		n++
		return nil
	})
	if err != nil {
		return nil, err
	}
	if controls(t.text) > 1000+len(body)/8 {
		return nil, errors.New("more control characters than text can have")
	}
	return t, nil
}

// controls counts the control characters. Each takes six bytes in JSON.
func controls(text []byte) int {
	n := 0
	for _, c := range text {
		if c < ' ' {
			n++
		}
	}
	return n
}

// field is one field of a form, as it came. It is a part of the body.
type field struct {
	name, value []byte
	escaped     bool // with percent escapes, of a urlencoded form
}

// brackets counts the bytes that may be opening brackets of a name.
func brackets(name []byte) int {
	n := 0
	for i, c := range name {
		if c == '[' || c == '%' && bytes.HasPrefix(name[i+1:], []byte("5")) {
			n++
		}
	}
	return n
}

// readURLEncoded follows the WHATWG URL Standard §5.1: pairs are split at & and =, + is a space, and a % without two
// hex digits stays a %. So it fails only if yield fails.
func readURLEncoded(body []byte, yield func(field) error) error {
	for pair := range bytes.SplitSeq(body, []byte{'&'}) {
		if len(pair) == 0 {
			continue
		}
		name, value, _ := bytes.Cut(pair, []byte{'='})
		if err := yield(field{name: name, value: value, escaped: true}); err != nil {
			return err
		}
	}
	return nil
}

// appendDecoded appends a part of a urlencoded form, decoded. The result is never longer than the part.
func appendDecoded(dst, s []byte) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch c {
		case '+':
			c = ' '
		case '%':
			var b [1]byte
			if i+2 < len(s) {
				if _, err := hex.Decode(b[:], s[i+1:i+3]); err == nil {
					c = b[0]
					i += 2
				}
			}
		}
		dst = append(dst, c)
	}
	return dst
}

// formEnvelope reads type and data of a form, as jsonEnvelope does of a JSON body.
func formEnvelope(t *tree) (callback, error) {
	if t.twice > 0 {
		return callback{}, fmt.Errorf("duplicate key %.100q in the callback", t.keyOf(t.twice))
	}
	typ, data := t.find(root, []byte("type")), t.find(root, []byte("data"))
	switch {
	case typ == 0:
		return callback{}, errors.New("the body is neither JSON nor a form with a type")
	case !t.isValue(typ):
		return callback{}, errors.New("type is not a string")
	}

	name := bytes.TrimSpace(t.valueOf(typ))
	if err := checkType(name); err != nil {
		return callback{}, err
	}
	if string(name) != event.TypeWaybill {
		whole := t.appendObject(make([]byte, 0, t.size(root)), root)
		return callback{typ: string(name), json: whole}, nil
	}

	// data is JSON in one field, or fields in brackets.
	switch {
	case data == 0:
		return callback{}, errors.New("the callback has no data")
	case t.isValue(data):
		return itemsOf(trim(t.valueOf(data)))
	}
	list, ok := t.list(data)
	if !ok {
		list = []int32{data}
	}
	return callback{items: formItems{tree: t, nodes: list}}, nil
}
