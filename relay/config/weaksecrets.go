package config

import (
	"encoding/base64"
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// exampleSecrets are those that config.example.yaml uses if the environment sets none. Everybody knows them.
var exampleSecrets = []string{
	"change-me-please",
	"old-change-me-please",
	"example-admin-token-change-me",
	"example-ci-admin-token-change-me",
	"example-api-key-change-me",
	"whsec_a3VhaXJlbGF5IGV4YW1wbGUsIG5vdCBhIHNlY3JldCE=",
	"whsec_a3VhaXJlbGF5IGV4YW1wbGUsIGFsZXJ0cywgbm8gc2VjcmV0",
	"whsec_dGhlIHNlY3JldCB0aGF0IGlzIGJlaW5nIHJlcGxhY2Vk",
}

// enough is how many bits a secret must have by its letters: about nine random ones. It is a guess: 12345678 has 24,
// and aaaaaaaa none.
const enough = 30

// strength returns the number of letters times the bits that tell the different ones apart.
func strength(secret string) float64 {
	different := map[rune]bool{}
	for _, r := range secret {
		different[r] = true
	}
	return float64(len(secret)) * math.Log2(float64(max(1, len(different))))
}

// guard warns of a secret that can be guessed, and notes those of the example, and those that stand in the file itself.
// A secret that can be guessed is no mistake: a relay that runs with it must go on. It returns false if there is
// something to say of the secret.
func (l *loading) guard(v value, secret string) (good bool) {
	coded, signs := strings.CutPrefix(secret, "whsec_")
	key, err := base64.StdEncoding.DecodeString(coded)
	l.notePlain(v, secret)

	switch {
	case secret == "":
		return true
	case slices.Contains(exampleSecrets, secret):
		l.examples = append(l.examples, v)
	case signs && err == nil && strength(string(key)) < enough, !signs && strength(secret) < enough:
		const why = "can be guessed: it is short, or of few different letters"
		l.warnedPoint(v, pointGuessable, why, "make one: "+makeSecret, why+" (make one: "+makeSecret+")")
	default:
		return true
	}
	return false
}

// loginLetters is how many characters a key should have that opens pages: whoever reaches them may try keys. In
// production every key should have them.
const loginLetters = 16

// guardLogin is guard for the operator's token, or a tenant's key: pages are opened with it.
func (l *loading) guardLogin(v value, secret string, operator bool) {
	if l.guard(v, secret) && short(secret) {
		l.logins = append(l.logins, login{at: v, operator: operator})
	}
}

// short says that a secret has few characters. An empty one is none.
func short(secret string) bool { return secret != "" && len(secret) < loginLetters }

// login is a short key that opens pages, unless they are turned off.
type login struct {
	at       value
	operator bool
}

// judgeLogins warns of short keys that open pages. Call it when everything is read.
func (l *loading) judgeLogins() {
	for _, k := range l.logins {
		where := "the pages at /console/ of server.listen"
		if k.operator {
			where = "the pages on admin.listen"
		} else if !l.config.Console.Tenants {
			l.shortKey(k.at)
			continue
		}
		why := fmt.Sprintf("opens %s, and has fewer than %d characters", where, loginLetters)
		l.warnedPoint(k.at, pointShort, why, makeToken, why+" ("+makeToken+")")
	}
}

// judgeExamples refuses the example's secrets if others can reach a listener, because everybody can use them there.
// On loopback, where people try the example, it only warns. Call it when everything is read.
func (l *loading) judgeExamples() {
	open := ""
	switch {
	case !onLoopback(l.config.Server.Listen):
		open = "server.listen"
	case !onLoopback(l.config.Admin.Listen):
		open = "admin.listen"
	}

	const why, do = "is the one of config.example.yaml, which everybody knows", "set another (" + makeSecret + ")"
	for _, v := range l.examples {
		if open == "" {
			l.warnedPoint(v, pointExample, why, do, why+": "+do)
			continue
		}

		v.mistake("%s: %s, or let %s be on 127.0.0.1", why, do, open)
	}
}

// onLoopback says whether only this machine can reach a listener at an address.
func onLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

// openToAll warns of networks that hold a large part of all public addresses.
func openToAll(v value, networks []netip.Prefix, what string) {
	for _, p := range networks {
		if tooWide(p) {
			v.warn("%s", what)
			return
		}
	}
}

// tooWide says that a network holds a large part of all public addresses.
func tooWide(p netip.Prefix) bool {
	least := 8
	if p.Addr().Is6() {
		least = 16
	}
	return p.Bits() < least && !p.Addr().IsPrivate()
}
