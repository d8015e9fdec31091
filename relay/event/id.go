package event

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"sync"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

const (
	idPrefix = "evt_"
	// maxDepth is how many objects and arrays may be open at once in an item.
	maxDepth = 64
	// maxPooled is the largest item whose scratch space goes back to the pool, so that the pool does not keep that of
	// a huge one.
	maxPooled = 64 << 10
	// maxMembers is how many members all objects that are open at once may have: each member takes some hundred bytes
	// here.
	maxMembers = 5000
)

var idForm = regexp.MustCompile(`^evt_[0-9a-f]{64}(-[1-9][0-9]*)?$`)

// IsID says whether text has the form of an event's id.
func IsID(text string) bool { return idForm.MatchString(text) }

// ID gives the id of an event: "evt_" and the lower-case hex SHA-256 of the canonical JSON of the array
//
//	[type, brand, waybill, item]
//
// where type is the callback's `type`, brand is the canonical brand code (kuaidihelp.Brand), waybill is the waybill
// code as text, and item is the item's JSON as it came. For a callback of another type, brand and waybill are "" and
// item is the whole callback. So the id depends on content alone: the same update has the same id over retries,
// replays, replicas and a lost store (docs/design/guarantees.md). The order of keys, white space and the spelling of
// escapes do not matter.
//
// Canonical JSON, so that an id can be computed elsewhere:
//
//   - UTF-8, no white space outside strings, no byte order mark;
//   - the members of every object sorted by the UTF-8 bytes of their decoded keys (the same as by code point; not the
//     UTF-16 order of RFC 8785); arrays keep their order;
//   - strings decoded, then written with the least escapes, as in RFC 8785 §3.2.2.2: \" and \\, then \b \t \n \f \r,
//     then \u00xx with lower-case hex for the other characters below U+0020; everything else, / and U+007F and
//     U+2028 included, is itself. No Unicode normalization;
//   - numbers literally as they came: 1, 1.0 and 1e0 are three contents;
//   - true, false, null.
//
// That is json.dumps(v, sort_keys=True, separators=(",", ":"), ensure_ascii=False) of Python, but for numbers that
// Python would write anew. Spellings with several readings have no id: ID fails for invalid JSON, an object with a
// key twice (also if only after decoding escapes), invalid UTF-8, a surrogate escape without its other half, more
// than 64 levels of nesting, and objects of more than 5,000 members. Such an error names positions and keys, and
// nothing else of the item.
func ID(typ, cpCode, waybill string, item []byte) (string, error) {
	c := canonicals.Get().(*canonical)
	defer c.release(len(item))

	c.out = append(slices.Grow(c.out[:0], len(item)+len(typ)+len(cpCode)+len(waybill)+len(`["","",""]`)), '[')
	for _, s := range [...]string{typ, cpCode, waybill} {
		if !utf8.ValidString(s) {
			return "", errNotUTF8
		}
		c.out = appendQuoted(c.out, s)
		c.out = append(c.out, ',')
	}
	if err := c.append(item); err != nil {
		return "", err
	}
	c.out = append(c.out, ']')

	sum := sha256.Sum256(c.out)
	var id [len(idPrefix) + 2*sha256.Size]byte
	copy(id[:], idPrefix)
	hex.Encode(id[len(idPrefix):], sum[:])
	return string(id[:]), nil
}

// Check says why an item has no ID; nil if it has one.
func Check(item []byte) error {
	c := canonicals.Get().(*canonical)
	defer c.release(len(item))

	c.out = slices.Grow(c.out[:0], len(item))
	return c.append(item)
}

// canonicals holds scratch space only; nothing in it outlives a call of ID.
var canonicals = sync.Pool{New: func() any { return new(canonical) }}

// canonical rewrites one JSON value into its canonical form. jsontext reads the tokens, and by itself refuses what is
// not JSON, keys that come twice, and text that is not Unicode.
type canonical struct {
	in      bytes.Buffer
	dec     jsontext.Decoder
	out     []byte
	text    []byte   // a decoded string
	keys    []byte   // the decoded keys of the objects that are open
	members []member // the members of the objects that are open
	scratch []byte   // an object's members while they are put in order
}

// member is one member of an object: where its decoded key stands in keys, and where `"key":value,` stands in out.
type member struct{ keyFrom, keyTo, from, to int }

func (c *canonical) release(itemSize int) {
	if itemSize > maxPooled {
		return
	}
	c.in = bytes.Buffer{} // the item is the caller's
	c.dec.Reset(&c.in)
	canonicals.Put(c)
}

func (c *canonical) append(item []byte) error {
	c.keys, c.members = c.keys[:0], c.members[:0]
	c.in = *bytes.NewBuffer(item)
	c.dec.Reset(&c.in) // a bytes.Buffer is read in place, without a copy

	err := c.value()
	if err == nil { // nothing may follow the value
		if _, err = c.dec.ReadToken(); errors.Is(err, io.EOF) {
			return nil
		}
	}
	return c.explain(err, item)
}

// value is recursive, but never deeper than maxDepth.
func (c *canonical) value() error {
	switch kind := c.dec.PeekKind(); kind {
	case jsontext.KindBeginObject, jsontext.KindBeginArray:
		if c.dec.StackDepth() == maxDepth {
			return errTooDeep
		}

		if _, err := c.dec.ReadToken(); err != nil {
			return err
		}
		if kind == jsontext.KindBeginArray {
			return c.array()
		}
		return c.object()
	default:
		raw, err := c.dec.ReadValue()
		if err != nil {
			return err
		}

		// Whatever has no escapes is canonical as it came.
		if kind != jsontext.KindString || bytes.IndexByte(raw, '\\') < 0 {
			c.out = append(c.out, raw...)
			return nil
		}

		if c.text, err = jsontext.AppendUnquote(slices.Grow(c.text[:0], len(raw)), raw); err != nil {
			return err
		}
		c.out = appendQuoted(c.out, c.text)
		return nil
	}
}

func (c *canonical) array() error {
	c.out = append(c.out, '[')
	for c.dec.PeekKind() != jsontext.KindEndArray {
		if err := c.value(); err != nil {
			return err
		}
		c.out = append(c.out, ',')
	}
	return c.end(']')
}

func (c *canonical) object() error {
	c.out = append(c.out, '{')

	// The objects around this one have put their keys and members before these places.
	firstByte, firstKey, firstMember := len(c.out), len(c.keys), len(c.members)
	for c.dec.PeekKind() != jsontext.KindEndObject {
		raw, err := c.dec.ReadValue()
		if err != nil {
			return err
		}
		if len(c.members) == maxMembers {
			return errTooMany
		}

		// The key is kept decoded as well: the members are sorted by it.
		m := member{keyFrom: len(c.keys), from: len(c.out)}
		if c.keys, err = jsontext.AppendUnquote(c.keys, raw); err != nil {
			return err
		}
		m.keyTo = len(c.keys)
		c.out = appendQuoted(c.out, c.keys[m.keyFrom:])
		c.out = append(c.out, ':')

		if err := c.value(); err != nil {
			return err
		}
		c.out = append(c.out, ',')

		m.to = len(c.out)
		c.members = append(c.members, m)
	}

	c.sort(c.members[firstMember:], firstByte)
	c.keys, c.members = c.keys[:firstKey], c.members[:firstMember]
	return c.end('}')
}

// sort puts the members of the object whose text is out[first:] in the order of their keys.
func (c *canonical) sort(members []member, first int) {
	byKey := func(a, b member) int {
		return bytes.Compare(c.keys[a.keyFrom:a.keyTo], c.keys[b.keyFrom:b.keyTo])
	}
	if slices.IsSortedFunc(members, byKey) {
		return
	}

	slices.SortFunc(members, byKey)
	c.scratch = append(c.scratch[:0], c.out[first:]...)
	c.out = c.out[:first]
	for _, m := range members {
		c.out = append(c.out, c.scratch[m.from-first:m.to-first]...)
	}
}

// end closes an object or array, in place of its last comma if it has one.
func (c *canonical) end(delimiter byte) error {
	if _, err := c.dec.ReadToken(); err != nil {
		return err
	}
	if last := len(c.out) - 1; c.out[last] == ',' {
		c.out[last] = delimiter
	} else {
		c.out = append(c.out, delimiter)
	}
	return nil
}

var (
	errTooDeep = fmt.Errorf("more than %d levels of nesting", maxDepth)
	errTooMany = fmt.Errorf("more than %d members", maxMembers)
	errNotUTF8 = errors.New("invalid UTF-8")
)

// explain says what is wrong with the item. Its words hold nothing of the item but a key, because the errors of
// jsontext quote the item.
func (c *canonical) explain(err error, item []byte) error {
	var syntax *jsontext.SyntacticError
	switch {
	case errors.Is(err, errTooDeep), errors.Is(err, errTooMany):
		return err
	case errors.Is(err, jsontext.ErrDuplicateName) && errors.As(err, &syntax):
		return fmt.Errorf("duplicate key %.100q", syntax.JSONPointer.LastToken())
	case !utf8.Valid(item):
		return errNotUTF8
	case jsontext.Value(item).IsValid(jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true)):
		return errors.New("a surrogate escape without its other half")
	default:
		return fmt.Errorf("invalid JSON after byte %d", c.dec.InputOffset())
	}
}

// appendQuoted appends text, which is valid UTF-8, as a JSON string with the escapes that ID documents.
func appendQuoted[T ~[]byte | ~string](dst []byte, text T) []byte {
	dst, _ = jsontext.AppendQuote(dst, text) // fails for invalid UTF-8 only
	return dst
}
