package kuaidihelp

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"strings"
)

// maxBoundary is the longest boundary that is taken from the body. RFC 2046 §5.1.1 allows 70 characters.
const maxBoundary = 200

// boundaryOf gives the boundary that the Content-Type names. If the body does not have it, it gives the one that the
// body begins with.
func boundaryOf(contentType string, body []byte) string {
	_, params, _ := mime.ParseMediaType(contentType) // an error leaves no params
	if b := params["boundary"]; b != "" && bytes.Contains(body, []byte("--"+b)) {
		return b
	}
	line, _, _ := bytes.Cut(body, []byte{'\n'})
	first, ok := bytes.CutPrefix(bytes.TrimRight(line, "\r"), []byte("--"))
	if !ok || len(first) > maxBoundary {
		return ""
	}
	return string(first)
}

// readMultipart reads the fields of a multipart form (RFC 7578). It allocates no memory for a part: mime/multipart
// allocates a thousand bytes for a part that may have ten.
func readMultipart(boundary string, body []byte, yield func(field) error) error {
	m := multipartReader{delimiter: []byte("--" + boundary), lineBreak: []byte("\n")}
	_, rest, last, ok := m.next(body)
	if first := body[:len(body)-len(rest)]; bytes.HasSuffix(first, []byte("\r\n")) {
		m.lineBreak = []byte("\r\n")
	}
	for n := 0; ; n++ {
		if !ok {
			return fmt.Errorf("the multipart body is broken at part %d", n)
		}
		if last {
			return nil
		}
		var f field
		f, rest, last, ok = m.field(rest)
		if !ok {
			return fmt.Errorf("the multipart body is broken in part %d", n)
		}
		if err := yield(f); err != nil {
			return err
		}
	}
}

type multipartReader struct {
	delimiter []byte
	lineBreak []byte        // CR LF; or LF if the first delimiter's line ends with it
	decoder   *bufio.Reader // of parts in quoted-printable, nil before the first one
}

// next cuts text at the next line that is a delimiter. The line break before that line belongs to it.
func (m *multipartReader) next(text []byte) (before, after []byte, last, ok bool) {
	from := 0
	for {
		i := bytes.Index(text[from:], m.delimiter)
		if i < 0 {
			return nil, nil, false, false
		}
		begin := from + i
		from = begin + len(m.delimiter)
		before, ok = bytes.CutSuffix(text[:begin], m.lineBreak)
		if begin > 0 && !ok {
			continue
		}

		line, after, _ := bytes.Cut(text[from:], []byte{'\n'})
		line, last = bytes.CutPrefix(line, []byte("--"))
		line = bytes.TrimLeft(line, " \t")
		if len(line) == 0 || string(line) == "\r" {
			return before, after, last, true
		}
	}
}

// field reads a part: its headers, and its value up to the next delimiter, which may follow the headers at once. A part
// that is not a field has no name.
func (m *multipartReader) field(text []byte) (f field, after []byte, last, ok bool) {
	var disposition, encoding []byte
	for {
		var line []byte
		line, text = headerLine(text)
		if len(line) == 0 {
			break
		}
		key, value, ok := bytes.Cut(line, []byte{':'})
		if !ok {
			return field{}, nil, false, false
		}
		key = bytes.TrimSpace(key)
		switch {
		case disposition == nil && bytes.EqualFold(key, []byte("Content-Disposition")):
			disposition = value
		case encoding == nil && bytes.EqualFold(key, []byte("Content-Transfer-Encoding")):
			encoding = bytes.TrimSpace(value)
		}
	}

	f.name = formName(disposition)
	f.value, after, last, ok = m.next(text)
	if ok && bytes.EqualFold(encoding, []byte("quoted-printable")) {
		f.value, ok = m.quotedPrintable(f.value)
	}
	return f, after, last, ok
}

// headerLine cuts the first line off the headers of a part; lines that begin with a space belong to the one before.
func headerLine(text []byte) (line, rest []byte) {
	end := 0
	for {
		i := bytes.IndexByte(text[end:], '\n')
		if i < 0 {
			return bytes.TrimRight(text, "\r"), nil
		}
		end += i + 1
		line = bytes.TrimRight(text[:end], "\r\n")
		if len(line) == 0 || end == len(text) || text[end] != ' ' && text[end] != '\t' {
			return line, text[end:]
		}
	}
}

// formName gives the name of a field from its Content-Disposition (RFC 7578 §4.2).
func formName(disposition []byte) []byte {
	kind, params, _ := bytes.Cut(disposition, []byte{';'})
	if !bytes.EqualFold(bytes.TrimSpace(kind), []byte("form-data")) {
		return nil
	}
	for len(params) > 0 {
		key, rest, _ := bytes.Cut(params, []byte{'='})
		key = key[bytes.LastIndexByte(key, ';')+1:] // skips parameters without a value
		var value []byte
		value, params = paramValue(rest)
		if bytes.EqualFold(bytes.TrimSpace(key), []byte("name")) {
			return value
		}
	}
	return nil
}

// paramValue cuts the value of a parameter off, a token or a quoted string, up to the next semicolon.
func paramValue(text []byte) (value, rest []byte) {
	text = bytes.TrimLeft(text, " \t\r\n")
	if len(text) == 0 || text[0] != '"' {
		value, rest, _ = bytes.Cut(text, []byte{';'})
		return bytes.TrimSpace(value), rest
	}
	end, _ := stringEnd(text, 0)
	value = text[1:max(1, end-1)]
	_, rest, _ = bytes.Cut(text[end:], []byte{';'})
	if bytes.IndexByte(value, '\\') < 0 {
		return value, rest
	}

	// A backslash before another character stays, as in C:\name (mime.ParseMediaType does the same).
	const special = `()<>@,;:\"/[]?=`
	unescaped := make([]byte, 0, len(value))
	for i := 0; i < len(value); i++ {
		if value[i] == '\\' && i+1 < len(value) && strings.IndexByte(special, value[i+1]) >= 0 {
			i++
		}
		unescaped = append(unescaped, value[i])
	}
	return unescaped, rest
}

// quotedPrintable decodes a value. RFC 7578 §4.7 advises against this encoding, but mail libraries write it.
func (m *multipartReader) quotedPrintable(value []byte) ([]byte, bool) {
	if m.decoder == nil {
		m.decoder = bufio.NewReader(nil)
	}

	m.decoder.Reset(bytes.NewReader(value))
	text := make([]byte, len(value))
	n, err := io.ReadFull(quotedprintable.NewReader(m.decoder), text)
	if err == io.EOF || err == io.ErrUnexpectedEOF || err == nil {
		return text[:n], true
	}
	return nil, false
}
