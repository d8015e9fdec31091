package kuaidihelp

import (
	"bytes"
	"encoding/hex"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// This file splits JSON by its structure alone: by brackets and commas outside of strings. A broken part does not
// affect its siblings: event.ID checks each part strictly later. Nothing here is recursive, and everything takes time
// in proportion to its input.

// kind is the type of a JSON value, by its first byte.
type kind int

const (
	nothing kind = iota
	object
	array
	str
	number
	other // a bare word: true, false, null, or no JSON at all
)

func (k kind) String() string {
	return [...]string{"empty", "an object", "an array", "a string", "a number", "a bare word"}[k]
}

func kindOf(value []byte) kind {
	if len(value) == 0 {
		return nothing
	}
	switch c := value[0]; {
	case c == '{':
		return object
	case c == '[':
		return array
	case c == '"':
		return str
	case c == '-', '0' <= c && c <= '9':
		return number
	}
	return other
}

// members yields the members of an object: key (a JSON string) and value as they came. It says whether raw is an object
// from its first byte to its last.
func members(raw []byte, yield func(key, value []byte)) bool {
	if kindOf(raw) != object {
		return false
	}
	i := skipSpace(raw, 1)
	if i < len(raw) && raw[i] == '}' {
		return i == len(raw)-1
	}

	for {
		i = skipSpace(raw, i)
		if i == len(raw) || raw[i] != '"' {
			return false
		}

		keyEnd, ok := stringEnd(raw, i)
		colon := skipSpace(raw, keyEnd)
		if !ok || colon == len(raw) || raw[colon] != ':' {
			return false
		}
		end := valueEnd(raw, colon+1)
		if end == len(raw) || raw[end] == ']' {
			return false
		}

		// The byte after the value says whether there is another member.
		yield(raw[i:keyEnd], trim(raw[colon+1:end]))
		if raw[end] == '}' {
			return end == len(raw)-1
		}
		i = end + 1
	}
}

// valueEnd gives the index of the comma or closing bracket that ends the value at b[i:], len(b) if there is none.
func valueEnd(b []byte, i int) int {
	depth := 0
	for i < len(b) {
		switch b[i] {
		case '"':
			i, _ = stringEnd(b, i)
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i
			}
			depth--
		case ',':
			if depth == 0 {
				return i
			}
		}
		i++
	}
	return len(b)
}

// stringEnd gives the index after the string that begins at b[i], a quote; len(b) and false if it does not end.
func stringEnd(b []byte, i int) (int, bool) {
	for i++; i < len(b); i++ {
		switch b[i] {
		case '"':
			return i + 1, true
		case '\\':
			i++
		}
	}
	return len(b), false
}

// skipSpace gives the index of the first byte of b[i:] that is not JSON space; len(b): there is none.
func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

// trim cuts off JSON space at both ends.
func trim(b []byte) []byte {
	b = b[skipSpace(b, 0):]
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t' || b[len(b)-1] == '\n' || b[len(b)-1] == '\r') {
		b = b[:len(b)-1]
	}
	return b
}

// unquote decodes a JSON string; false: it is none. Text that is not Unicode is kept for event.ID to find: bad bytes
// stay, and a lone surrogate becomes its three bytes, encoded like UTF-8 (jsontext would write U+FFFD). The result may
// be a part of raw.
func unquote(raw []byte) ([]byte, bool) {
	if kindOf(raw) != str {
		return nil, false
	}
	if end, ok := stringEnd(raw, 0); !ok || end != len(raw) {
		return nil, false
	}
	raw = raw[1 : len(raw)-1]
	next := bytes.IndexByte(raw, '\\')
	if next < 0 {
		return raw, true
	}

	text := make([]byte, 0, len(raw))
	for ; next >= 0; next = bytes.IndexByte(raw, '\\') {
		text = append(text, raw[:next]...)
		var n int
		text, n = appendEscape(text, raw[next:])
		if n == 0 {
			return nil, false
		}
		raw = raw[next+n:]
	}
	return append(text, raw...), true
}

// appendEscape decodes the escape at the start of raw, and gives how many bytes it took; 0: it is no escape. raw has a
// backslash and at least one byte more, because a string cannot end in a lone backslash.
func appendEscape(text, raw []byte) ([]byte, int) {
	const escapes, meanings = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
	if i := strings.IndexByte(escapes, raw[1]); i >= 0 {
		return append(text, meanings[i]), 2
	}
	unit, ok := hexEscape(raw)
	if !ok {
		return text, 0
	}
	if !utf16.IsSurrogate(unit) {
		return utf8.AppendRune(text, unit), 6
	}
	if low, ok := hexEscape(raw[6:]); ok {
		if r := utf16.DecodeRune(unit, low); r != utf8.RuneError {
			return utf8.AppendRune(text, r), 12
		}
	}
	return append(text, 0xE0|byte(unit>>12), 0x80|byte(unit>>6)&0x3F, 0x80|byte(unit)&0x3F), 6
}

// hexEscape reads the \uXXXX at the start of raw.
func hexEscape(raw []byte) (rune, bool) {
	if len(raw) < 6 || raw[0] != '\\' || raw[1] != 'u' {
		return 0, false
	}
	var unit [2]byte
	_, err := hex.Decode(unit[:], raw[2:6])
	return rune(unit[0])<<8 | rune(unit[1]), err == nil
}
