package console

import (
	"fmt"
	"testing"
	"time"
)

func TestLoginsAreLimitedByAddressAndAllTogether(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 30, 8, 0, 0, 0, time.UTC)
	l := newLimiter(func() time.Time { return now })
	for n := range loginsAtOnce {
		if wait := l.ask("203.0.113.9"); wait > 0 {
			t.Fatalf("number %d waits %s", n+1, wait)
		}
	}
	if wait := l.ask("203.0.113.9"); wait != loginEvery {
		t.Errorf("one more waits %s", wait)
	}
	if wait := l.ask("203.0.113.10"); wait > 0 {
		t.Errorf("another address waits %s", wait)
	}
	now = now.Add(loginEvery)
	if wait := l.ask("203.0.113.9"); wait > 0 {
		t.Errorf("after a while it waits %s", wait)
	}

	// A network of IPv6 is one client.
	for n := range loginsAtOnce {
		l.ask(fmt.Sprintf("2001:db8::%d", n))
	}
	if wait := l.ask("2001:db8::ffff"); wait == 0 {
		t.Error("a client with many addresses guesses without end")
	}
	l.forgive("2001:db8::1")
	if wait := l.ask("2001:db8::ffff"); wait > 0 {
		t.Errorf("after a right key it waits %s", wait)
	}

	// From many addresses.
	l = newLimiter(func() time.Time { return now })
	let := 0
	for n := range 3 * loginsOfAll {
		if l.ask(fmt.Sprintf("198.51.%d.%d", n/200, n%200)) == 0 {
			let++
		}
	}
	if let != loginsOfAll {
		t.Errorf("%d of all were let in at once, not %d", let, loginsOfAll)
	}
}

func TestALimiterRemembersSoManyAddressesAtMost(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 30, 8, 0, 0, 0, time.UTC)
	l := newLimiter(func() time.Time { return now })
	for n := range 3 * maxGuessers {
		now = now.Add(2 * time.Second)
		l.ask(fmt.Sprintf("10.%d.%d.%d", n>>16, n>>8&255, n&255))
		if len(l.until) > maxGuessers+1 {
			t.Fatalf("%d addresses", len(l.until))
		}
	}
}

func TestALoginLeadsToPagesOfThisConsoleOnly(t *testing.T) {
	t.Parallel()
	v := &visit{side: &side{base: "/console"}}
	for given, want := range map[string]string{
		"/console/events?status=signed&x=%2F%2F": "/console/events?status=signed&x=%2F%2F",
		"/console/":                              "/console/",
		"":                                       "/console/",
		"//evil.example":                         "/console/",
		"https://evil.example/console/":          "/console/",
		"/console/\\evil.example":                "/console/",
		"\\\\evil.example":                       "/console/",
		"/console/login?next=/console/login":     "/console/",
		"/metrics":                               "/console/",
		"/consolex":                              "/console/",
		"javascript:alert(1)":                    "/console/",
		"/console/\r\nSet-Cookie: x":             "/console/",
		"/console/%":                             "/console/",
	} {
		if got := v.own(given); got != want {
			t.Errorf("%q leads to %q", given, got)
		}
	}
	v.side.base = ""
	for given, want := range map[string]string{
		"/events": "/events", "//evil.example/": "/", "/\\evil.example": "/", "/\t/evil.example": "/", "evil": "/",
	} {
		if got := v.own(given); got != want {
			t.Errorf("%q leads to %q", given, got)
		}
	}
}
