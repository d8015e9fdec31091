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

// Unpack decompresses a body: gzip whatever its Content-Encoding says, as a body tells that it is, and zlib if it says
// deflate. read reads all of what comes, within its bounds; an error of its own ends Unpack. Any other body is given
// back as it is, a damaged one too.
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

// unpack is Unpack, and then kuaidihelp.Decode, within the rooms. Headers lose the Content-Encoding if the body has it
// no more.
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
