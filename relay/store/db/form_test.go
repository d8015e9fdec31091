package db

import (
	"strings"
	"testing"
	"time"

	"kuairelay/test/redisserver"
)

// formOf is which form a Redis says that its data have; empty: none.
func formOf(t *testing.T, server *redisserver.Server) string {
	t.Helper()
	form, err := server.Do("GET", "{kuairelay}:form")
	if err != nil {
		t.Fatal(err)
	}
	return form
}

func TestDataInAnotherFormAreLeftAloneUntilTheyAreMoved(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	do := func(command ...string) string {
		t.Helper()
		answer, err := server.Do(command...)
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	open := func(o Options) *DB {
		t.Helper()
		o.URL, o.Timeout = server.URL(), 5*time.Second
		d, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = d.Close() })
		return d
	}

	for _, c := range []struct{ key, value, why string }{
		{"marker", "x", "an older version of kuairelay"}, {"clock", "x", "an older version"},
		{"log", "x", "an older version"}, {"due", "x", "an older version"}, {"ledger", "x", "an older version"},
		{"reps", "x", "an older version"}, {"quarantine", "x", "an older version"},
		{"form", Migrating, "its data are being moved"},
		{"form", "3", `in form "3", and this one has form ` + Form + " (run that version"},
	} {
		do("FLUSHALL")
		do("SET", "{kuairelay}:"+c.key, c.value)
		keys := do("KEYS", "*")

		// Whatever comes first finds it, and writes nothing.
		asked := open(Options{})
		advice, why, hint, refused := asked.Refused(t.Context())
		if !refused || advice != adviceForm || !strings.Contains(why+" ("+hint, c.why) {
			t.Errorf("%+v: it is refused by %q, %q (%s)", c, advice, why, hint)
		}
		first, second := open(Options{}), open(Options{})
		_, err := first.Marker(t.Context())
		if state, why := Trouble(err); err == nil || state != Down || !strings.Contains(why, c.why) {
			t.Errorf("%+v: %v", c, err)
		}
		if err := second.EnsureClock(t.Context()); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%+v: %v", c, err)
		}
		if got, err := second.Advice(t.Context()); err != nil || !strings.Contains(got[adviceForm], c.why) {
			t.Errorf("%+v: advice %v, %v", c, got, err)
		}
		if now := do("KEYS", "*"); now != keys {
			t.Errorf("%+v: there was %q, and is %q", c, keys, now)
		}

		// It goes on by itself.
		do("SET", "{kuairelay}:form", Form)
		if err := second.WaitUp(t.Context()); err != nil {
			t.Error(err)
		}
		if err := second.EnsureClock(t.Context()); err != nil {
			t.Error(err)
		}
		if d := open(Options{AnyForm: true}); d.EnsureClock(t.Context()) != nil {
			t.Error("who moves the data may not look at them")
		}
	}
}

func TestTheFirstOnARedisNotesItsForm(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	s, err := New(Options{URL: server.URL()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if _, _, _, refused := s.Refused(t.Context()); refused || formOf(t, server) != "" {
		t.Errorf("a Redis that is only asked: refused %v, form %q", refused, formOf(t, server))
	}
	newDB(t, server.URL())
	newDB(t, server.URL())
	if form := formOf(t, server); form != Form {
		t.Errorf("the form is %q", form)
	}

	// What was emptied has it again after the next trouble.
	if _, err := server.Do("FLUSHALL"); err != nil {
		t.Fatal(err)
	}
	if err := s.probe(withoutGate(t.Context())); err != nil || formOf(t, server) != Form {
		t.Errorf("the form is %q, %v", formOf(t, server), err)
	}

	// A Redis that takes nothing is full, and nothing else.
	for _, command := range []string{"FLUSHALL", "CONFIG SET maxmemory 1"} {
		if _, err := server.Do(strings.Fields(command)...); err != nil {
			t.Fatal(err)
		}
	}
	full, err := New(Options{URL: server.URL()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = full.Close() })
	if err := full.EnsureClock(t.Context()); err != nil {
		if state, _ := Trouble(err); state != Full {
			t.Error(err)
		}
	}
}
