package kuaidihelp

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"

	"kuairelay/relay/event"
)

// field is one field of a form, decoded, in the order it came.
type field struct{ name, value []byte }

// readForm reads multipart if the body has a boundary, and a urlencoded form otherwise.
func readForm(contentType string, body []byte) ([]field, error) {
	if boundary := boundaryOf(contentType, body); boundary != "" {
		return readMultipart(boundary, body)
	}
	return readURLEncoded(body), nil
}

// boundaryOf gives the boundary that the Content-Type names and the body has, or else the one that the body begins with.
func boundaryOf(contentType string, body []byte) string {
	_, params, _ := mime.ParseMediaType(contentType) // an error leaves no params
	if b := params["boundary"]; b != "" && bytes.Contains(body, []byte("--"+b)) {
		return b
	}
	line, _, _ := bytes.Cut(body, []byte{'\n'})
	first, ok := bytes.CutPrefix(bytes.TrimRight(line, "\r"), []byte("--"))
	if !ok {
		return ""
	}
	return string(first)
}

func readMultipart(boundary string, body []byte) ([]field, error) {
	var fields []field
	for r := multipart.NewReader(bytes.NewReader(body), boundary); ; {
		part, err := r.NextPart()
		if errors.Is(err, io.EOF) {
			return fields, nil
		}
		if err != nil {
			return nil, fmt.Errorf("the multipart body is broken at part %d", len(fields))
		}
		value, err := io.ReadAll(part)
		if err != nil {
			return nil, fmt.Errorf("the multipart body is broken in part %d", len(fields))
		}
		fields = append(fields, field{name: []byte(part.FormName()), value: value})
	}
}

// readURLEncoded follows the WHATWG URL Standard §5.1: pairs are split at & and =, + is a space, and a % without two hex
// digits is itself, so that nothing can fail.
func readURLEncoded(body []byte) []field {
	var fields []field
	for pair := range bytes.SplitSeq(body, []byte{'&'}) {
		if len(pair) == 0 {
			continue
		}
		name, value, _ := bytes.Cut(pair, []byte{'='})
		fields = append(fields, field{name: percentDecode(name), value: percentDecode(value)})
	}
	return fields
}

func percentDecode(s []byte) []byte {
	decoded := make([]byte, 0, len(s))
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
		decoded = append(decoded, c)
	}
	return decoded
}

// formEnvelope is for a form what jsonEnvelope is for a JSON body.
func (p *parser) formEnvelope(form []field) error {
	var t tree
	for i, f := range form {
		if err := t.add(f); err != nil {
			return fmt.Errorf("field %d: %w", i, err)
		}
	}
	root := &t.root
	if name, ok := root.duplicate(); ok {
		return fmt.Errorf("duplicate key %.100q in the callback", name)
	}
	typ, data := root.get("type"), root.get("data")
	switch {
	case typ == nil:
		return errors.New("the body is neither JSON nor a form with a type")
	case typ.children != nil:
		return errors.New("type is not a string")
	}
	name := bytes.TrimSpace(typ.value)
	if err := checkType(name); err != nil {
		return err
	}
	if string(name) != event.TypeWaybill {
		return p.to.other(string(name), root.appendObject(nil))
	}
	switch {
	case data == nil:
		return errors.New("the callback has no data")
	case data.children == nil:
		return p.items(trim(data.value))
	}
	list, ok := data.list()
	if !ok {
		list = []*branch{data}
	}
	for n, item := range list {
		p.to.item(n, item.appendJSON(nil))
	}
	return nil
}
