package kuaidihelp

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"mime"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// Decode gives a body in UTF-8. It decodes GB 18030, GBK, GB 2312 and UTF-16 if the Content-Type names them, and UTF-16
// also if the body has a byte order mark. Other bodies are returned unchanged: a body that is UTF-8 despite its
// Content-Type, a body in another charset, and a damaged one. read reads all of its reader, within its own bounds. If
// read fails, Decode fails.
func Decode(contentType string, body []byte, read func(io.Reader) ([]byte, error)) ([]byte, error) {
	var from encoding.Encoding
	var first transform.Transformer = transform.Nop
	charset := charsetOf(contentType)
	switch {
	case bytes.HasPrefix(body, []byte{0xFF, 0xFE}), bytes.HasPrefix(body, []byte{0xFE, 0xFF}):
		from = unicode.UTF16(unicode.LittleEndian, unicode.UseBOM)
	case strings.HasPrefix(charset, "utf-16") && bytes.IndexByte(body, 0) >= 0:
		order := unicode.LittleEndian // as browsers have it
		if charset == "utf-16be" {
			order = unicode.BigEndian
		}
		from = unicode.UTF16(order, unicode.IgnoreBOM)
	case charset == "gb18030", charset == "gbk", charset == "gb2312", charset == "cp936", charset == "x-gbk":
		from = simplifiedchinese.GB18030 // includes the others
		if text := trim(body); len(text) > 0 && bytes.IndexByte([]byte("{[-"), text[0]) < 0 {
			first = unescape{}
		}
		check := transform.NewReader(bytes.NewReader(body), transform.Chain(first, encoding.UTF8Validator))
		if _, err := io.Copy(io.Discard, check); err == nil {
			return body, nil // it is UTF-8 already
		}
	default:
		return body, nil
	}

	// A body that does not decode as a whole is returned unchanged.
	decode := transform.Chain(first, from.NewDecoder())
	plain, err := read(transform.NewReader(bytes.NewReader(body), decode))
	if err != nil {
		return nil, err
	}
	if bytes.ContainsRune(plain, utf8.RuneError) {
		return body, nil
	}
	return plain, nil
}

// charsetOf gives the charset of a Content-Type in lower case; empty: it names none.
func charsetOf(contentType string) string {
	_, params, _ := mime.ParseMediaType(contentType) // an error leaves no params
	return strings.ToLower(strings.Trim(params["charset"], "' "))
}

// charsetNote gives the beginning of a reason of rejection: the charset, if the body is not UTF-8 and its Content-Type
// names another.
func charsetNote(contentType string, body []byte) string {
	charset := charsetOf(contentType)
	if charset == "" || utf8.Valid(body) {
		return ""
	}
	return fmt.Sprintf("its charset is %.40q: ", charset)
}

// unescape decodes the percent escapes of a urlencoded form. The bytes are then those of its charset. Separators of
// fields and percent signs stay escaped: none of these bytes can be a part of a Chinese character.
type unescape struct{ transform.NopResetter }

// Transform is that of transform.Transformer.
func (unescape) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	for nSrc < len(src) {
		from, to := 1, src[nSrc:nSrc+1]
		if src[nSrc] == '%' {
			if nSrc+2 >= len(src) && !atEOF {
				return nDst, nSrc, transform.ErrShortSrc
			}
			from, to = unescaped(src[nSrc:])
		}
		if nDst+len(to) > len(dst) {
			return nDst, nSrc, transform.ErrShortDst
		}
		nDst += copy(dst[nDst:], to)
		nSrc += from
	}
	return nDst, nSrc, nil
}

// unescaped gives the length of the escape that text begins with, and the bytes to write for it.
func unescaped(text []byte) (int, []byte) {
	b := make([]byte, 1)
	if len(text) < 3 {
		return 1, []byte("%25")
	}
	if _, err := hex.Decode(b, text[1:3]); err != nil {
		return 1, []byte("%25") // it is itself, see appendDecoded
	}
	if strings.IndexByte("%&=+", b[0]) >= 0 {
		return 3, text[:3]
	}
	return 3, b
}
