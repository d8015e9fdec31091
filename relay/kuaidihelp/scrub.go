package kuaidihelp

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"html"
	"net/url"
	"regexp"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"
)

// maxBrief is the most characters of a provider's text that are kept.
const maxBrief = 300

// hidden replaces a secret in a text.
const hidden = "***"

// scrubber removes the account's secrets from the provider's texts: the API key, its MD5, and the sign of a call. It
// finds them in any case, in hex and base64, and with escapes of URLs, JSON and HTML.
type scrubber struct {
	plain  *regexp.Regexp // each secret as it is, in any case
	base64 []string       // the pieces of base64Of, for each secret
}

// minBase64 is the length from which a match of base64 is no coincidence.
const minBase64 = 6

func newScrubber(apiKey, sign string) *scrubber {
	s := &scrubber{}
	if apiKey == "" {
		return s
	}
	sum := md5.Sum([]byte(apiKey))
	s.base64 = base64Of(string(sum[:]))
	var forms []string
	for _, secret := range []string{apiKey, hex.EncodeToString(sum[:]), sign} {
		s.base64 = append(s.base64, base64Of(secret)...)
		forms = append(forms, regexp.QuoteMeta(secret), hex.EncodeToString([]byte(secret)))
	}
	s.plain = regexp.MustCompile("(?i)" + strings.Join(forms, "|"))
	return s
}

// base64Of gives three pieces of base64, fewer of a short secret. The base64 of any text that holds the secret has one
// of them: the secret may begin at each of the three bytes of a group. The pieces lack the ends of the secret, which
// mix with the bytes around it.
func base64Of(secret string) (out []string) {
	for before := range 3 {
		text := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("x", before) + secret))
		first := (before*8 + 5) / 6
		last := (before + len(secret)) * 8 / 6
		if last-first >= minBase64 {
			out = append(out, text[first:last])
		}
	}
	return out
}

// text removes the secrets from a text. If decoding shows a secret, the whole text is hidden.
func (s *scrubber) text(text string) string {
	if s.plain == nil {
		return text
	}

	text = s.plain.ReplaceAllLiteralString(text, hidden)
	decoded := text
	for range 3 { // escapes of escapes
		before := decoded
		decoded = decode(decoded)
		if decoded == before {
			break
		}
		if s.plain.MatchString(decoded) {
			return hidden
		}
	}

	// Base64 has two alphabets: look in both.
	for _, all := range []string{text, decoded} {
		std := strings.NewReplacer("-", "+", "_", "/").Replace(all)
		for _, piece := range s.base64 {
			if strings.Contains(std, piece) {
				return hidden
			}
		}
	}
	return text
}

// decode undoes the valid escapes of URLs, JSON and HTML in a text.
func decode(text string) string {
	text = percent.ReplaceAllStringFunc(text, func(escape string) string {
		plain, err := url.PathUnescape(escape)
		if err != nil {
			return escape
		}
		return plain
	})
	text = jsonEscape.ReplaceAllStringFunc(text, func(escape string) string {
		plain, err := jsontext.AppendUnquote(nil, `"`+escape+`"`)
		if err != nil {
			return escape
		}
		return string(plain)
	})
	return html.UnescapeString(text)
}

var (
	percent    = regexp.MustCompile(`%[0-9A-Fa-f]{2}`)
	jsonEscape = regexp.MustCompile(`\\(u[0-9A-Fa-f]{4}|["\\/bfnrt])`)
)

// brief is the text without secrets, on one line, and at most 300 characters long.
func (s *scrubber) brief(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s.text(text))
	text = strings.Join(strings.Fields(text), " ")
	runes := []rune(text)
	if len(runes) > maxBrief {
		return string(runes[:maxBrief-1]) + "…"
	}
	return text
}

// json removes the secrets from a JSON text: from its decoded strings, keys and numbers. A text without secrets is
// unchanged.
func (s *scrubber) json(raw json.RawMessage) json.RawMessage {
	if s.plain == nil || len(raw) == 0 {
		return raw
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return json.RawMessage(`null`)
	}
	found := false
	v = s.value(v, &found)
	if !found {
		return raw
	}
	clean, err := json.Marshal(v)
	if err != nil {
		return json.RawMessage(`null`)
	}
	return clean
}

// value scrubs a decoded value, and notes whether it found a secret.
func (s *scrubber) value(v any, found *bool) any {
	switch v := v.(type) {
	case string:
		clean := s.text(v)
		*found = *found || clean != v
		return clean
	case json.Number:
		if clean := s.text(v.String()); clean != v.String() {
			*found = true
			return clean
		}
	case []any:
		for i := range v {
			v[i] = s.value(v[i], found)
		}
	case map[string]any:
		clean := make(map[string]any, len(v))
		for key, value := range v {
			name := s.text(key)
			*found = *found || name != key
			clean[name] = s.value(value, found)
		}
		return clean
	}
	return v
}
