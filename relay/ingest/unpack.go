package ingest

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"net/http"

	"kuairelay/relay/kuaidihelp"
)

// Unpack decompresses a body: gzip, which is seen in the body itself, and zlib if the Content-Encoding is deflate. read
// reads all of its reader, within its own bounds; beyond these, Unpack fails. Any other body is returned as it is, and
// so is a damaged one.
func Unpack(body []byte, encoding string, read func(io.Reader) ([]byte, error)) (plain []byte, err error) {
	var r io.Reader
	switch {
	case bytes.HasPrefix(body, []byte{0x1F, 0x8B}):
		r, err = gzip.NewReader(bytes.NewReader(body))
	case encoding == "deflate":
		r, err = zlib.NewReader(bytes.NewReader(body))
	default:
		return body, nil
	}
	if err != nil {
		return body, nil //nolint:nilerr // it is no such thing, and goes on as it is
	}

	plain, err = read(r)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge), errors.Is(err, errNoRoom):
		return nil, err
	case err != nil:
		return body, nil //nolint:nilerr // it is damaged, and goes on as it is
	}
	return plain, nil
}

// unpack is Unpack, and then kuaidihelp.Decode, within the rooms. It deletes the Content-Encoding from headers if it
// has undone it.
func (h *held) unpack(packed []byte, headers map[string]string, most int64) ([]byte, error) {
	read := func(r io.Reader) ([]byte, error) {
		return h.read(&http.Request{Body: io.NopCloser(r), ContentLength: -1}, most)
	}
	body, err := Unpack(packed, headers["Content-Encoding"], read)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(packed, body) {
		delete(headers, "Content-Encoding")
	}
	if left := headers["Content-Encoding"]; left != "" && left != "identity" {
		return body, nil
	}
	return kuaidihelp.Decode(headers["Content-Type"], body, read)
}
