package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// signingSecrets reads a list of secrets, each as a text or as {secret, until}. At least one must have no until, so
// that an endpoint always has a secret to sign with.
func (l *loading) signingSecrets(out *[]SigningSecret) reader {
	entry := func(s *SigningSecret) reader {
		return object(required("secret", one(&s.Secret, signingSecret)), optional("until", one(&s.Until, instant)))
	}

	ofItems := func(entry shape) shape { return listOf(shape{"anyOf": []any{signingSecret.scalar(), entry}}, 1) }
	return reader{fields: entry(&SigningSecret{}).fields, of: ofItems, read: func(v value) {
		items := v.someItems()
		lasting := false
		for _, item := range items {
			var s SigningSecret
			either(entry(&s), one(&s.Secret, signingSecret)).read(item)
			l.guard(item, s.Secret.Reveal())
			lasting = lasting || s.Until.IsZero()
			*out = append(*out, s)
		}

		if len(items) > 0 && !lasting {
			v.mistake("at least one secret must have no until, or one day none is left to sign with")
		}
	}}
}

// instant is a time in the form of RFC 3339.
var instant = form[time.Time]{parseInstant, pattern(`^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt]`)}

func parseInstant(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}, errors.New("must be a time like 2026-12-31T18:00:00+08:00 (RFC 3339)")
	}
	return t, nil
}

// everywhere are all networks.
var everywhere = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}

// checkAddress returns an error if a URL leads where nothing may be sent with these allowed networks, and what to say
// without a part of the URL. lists names where the networks stand: both say so unless nothing allows the address.
func (l *loading) checkAddress(url string, allowed []netip.Prefix, lists string) (plain string, err error) {
	check := l.options.CheckEndpointURL
	if check == nil {
		return "", nil
	}
	err = check(url, allowed)
	switch {
	case err == nil:
		return "", nil
	case check(url, everywhere) != nil:
		return "leads to an address that is never allowed", err
	}
	return "leads to an address that is not allowed: it is in " + lists, fmt.Errorf("%w: it is in %s", err, lists)
}

// proxyURL takes the URLs of proxies that net/http can use. They may hold a user and password.
var proxyURL = form[Secret]{parseProxyURL, pattern(`^$|^(https?|socks5h?)://`)}

func parseProxyURL(s string) (Secret, error) {
	if s == "" {
		return "", nil
	}

	u, err := url.Parse(s)
	switch {
	case err != nil && strings.Contains(s, "@"):
		return "", errors.New("is not a URL; " + encoding)
	case err != nil || !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme) || u.Hostname() == "":
		return "", errors.New("must be a URL like http://proxy:3128 (http, https, socks5 or socks5h)")
	case u.Path != "" && u.Path != "/" || strings.ContainsAny(s, "?#"):
		return "", errors.New("must end behind the host and port; " + encoding)
	}

	return Secret(s), nil
}

var (
	headerName  = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$") // token, RFC 9110, 5.6.2
	headerValue = regexp.MustCompile(`^[\t\x20-\x7e\x80-\xff]*$`)     // RFC 9110, 5.5
	// ownHeader matches the headers that the relay writes itself, and those that belong to the connection.
	ownHeader = regexp.MustCompile(`^(webhook-.*|kuairelay-.*|proxy-.*|content-type|content-length|content-encoding|` +
		`user-agent|traceparent|host|connection|keep-alive|transfer-encoding|te|trailer|upgrade|expect|accept-encoding)$`)
)

// headers reads a mapping of names to values. Each name may stand once; upper and lower case are the same.
func headers(out *[]Header) reader {
	return reader{shape: shape{"type": "object", "additionalProperties": anyScalar}, read: func(v value) {
		if !v.usable() {
			return
		}
		if v.node.Kind != yaml.MappingNode {
			v.mistake("must be a mapping of names to values, not %s", v.kind())
			return
		}

		for pair := range slices.Chunk(v.node.Content, 2) {
			key := v.child(pair[0], v.path)
			name := pair[0].Value

			same := func(h Header) bool { return strings.EqualFold(h.Name, name) }
			switch {
			case !headerName.MatchString(name):
				key.mistake("%s is not a name of a header", quote(name))
			case ownHeader.MatchString(strings.ToLower(name)):
				key.mistake("header %s is the relay's own", quote(name))
			case slices.ContainsFunc(*out, same):
				key.mistake("header %s is already set", quote(name))
			default:
				h := Header{Name: name}
				one(&h.Value, headerText).read(v.child(pair[1], v.join(name)))
				*out = append(*out, h)
			}
		}
	}}
}

var headerText = form[Secret]{func(s string) (Secret, error) {
	if !headerValue.MatchString(s) {
		return "", errors.New("must be one line")
	}
	return Secret(strings.TrimSpace(s)), nil
}, anyScalar}

// perSecond is a rate: 0 for unlimited, or from one in 1,000 seconds to 100,000 a second.
var perSecond = form[float64]{parsePerSecond, shape{"type": "number", "minimum": 0, "maximum": 100_000}}

func parsePerSecond(s string) (float64, error) {
	rate, err := strconv.ParseFloat(s, 64)
	if err != nil || !decimal.MatchString(s) || rate != 0 && rate < 0.001 || rate > 100_000 {
		return 0, errors.New("must be a number a second from 0.001 to 100000, or 0 for no limit")
	}
	return rate, nil
}

// share is a ratio.
var share = form[float64]{parseShare, shape{"type": "number", "exclusiveMinimum": 0, "maximum": 1}}

func parseShare(s string) (float64, error) {
	r, err := strconv.ParseFloat(s, 64)
	if err != nil || !decimal.MatchString(s) || r <= 0 || r > 1 {
		return 0, errors.New("must be a share above 0, and 1 at most")
	}
	return r, nil
}

var decimal = regexp.MustCompile(`^[0-9]*\.?[0-9]+$`)

// anyText takes every text, also none.
var anyText = form[string]{func(s string) (string, error) { return s, nil }, anyScalar}

// tlsConfig reads how to verify a receiver, and which certificate to show it. An empty setting counts as left out. The
// files are read here, so that their mistakes have a line; their paths are relative to the config file.
func tlsConfig(out **tls.Config) reader {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	var ca, cert, key string
	var lacks bool

	keys := object(
		optional("ca_file", file(&ca, &lacks)),
		optional("cert_file", file(&cert, &lacks)),
		optional("key_file", file(&key, &lacks)),
		optional("server_name", one(&c.ServerName, anyText)),
	)

	return reader{fields: keys.fields, read: func(v value) {
		before := len(v.src.mistakes)
		keys.read(v)

		// With a mistake, or without a setting, there is nothing to build.
		if len(v.src.mistakes) > before || lacks || ca+cert+key+c.ServerName == "" {
			return
		}
		*out = c

		if ca != "" {
			c.RootCAs = x509.NewCertPool()
			if !c.RootCAs.AppendCertsFromPEM([]byte(ca)) {
				v.mistake("ca_file holds no certificate in PEM")
			}
		}

		if (cert == "") != (key == "") {
			v.mistake("cert_file and key_file go together")
		} else if cert != "" {
			pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
			if err != nil {
				v.mistake("cert_file and key_file are not a certificate and its key in PEM: %s",
					strings.TrimPrefix(err.Error(), "tls: "))
			}
			c.Certificates = []tls.Certificate{pair}
		}
	}}
}

// file reads the content of the file that the value names; empty: it names none. lacks becomes true if the file may be
// missing, and is.
func file(out *string, lacks *bool) reader {
	return reader{shape: shape{"type": "string"}, read: func(v value) {
		path, ok := v.text()
		if !ok || path == "" {
			return
		}

		content, err := v.readFile(path)
		if placeholder := v.src.options.Placeholder; placeholder != nil && (errors.Is(err, fs.ErrNotExist) || v.lacks()) {
			placeholder()
			*lacks = true
			return
		}
		if err == nil && content == "" {
			err = errors.New("the file is empty")
		}
		if err != nil {
			v.mistake("cannot be read: %v", err)
		}
		*out = content
	}}
}
