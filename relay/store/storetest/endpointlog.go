package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
	"kuairelay/relay/store"
)

// logOf reads the log of an endpoint.
func logOf(t *testing.T, s *replica, endpoint string) []event.LogEntry {
	t.Helper()
	log, err := s.EndpointLog(t.Context(), endpoint)
	if err != nil {
		t.Fatal(err)
	}
	return log
}

// told lists what the entries of a log tell.
func told(log []event.LogEntry) (all []event.LogKind) {
	for _, e := range log {
		all = append(all, e.What)
	}
	return all
}

func checkLog(t *testing.T, b *bench) {
	s := b.open(t, options{})
	shop := event.Actor{Name: "t", Key: "deploy", From: "192.0.2.1"}
	for range 2 { // the second time changes nothing
		if err := s.Park(t.Context(), "t/a", shop); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := s.Resume(t.Context(), "t/a", event.Actor{Name: event.Operator, From: "192.0.2.2"}); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range []int{10, 2} { // a part of the dead letters at a time
		redriven := event.LogEntry{What: event.LogRedriven, By: shop, N: n}
		if err := s.NoteEndpoint(t.Context(), "t/a", redriven); err != nil {
			t.Fatal(err)
		}
	}

	log := logOf(t, s, "t/a")
	if want := []event.LogKind{event.LogRedriven, event.LogResumed, event.LogPaused}; !slices.Equal(told(log), want) {
		t.Fatalf("%+v", log)
	}
	if e := log[0]; e.N != 12 || e.By != shop || s.Now().Sub(e.At).Abs() > time.Minute {
		t.Errorf("redriven: %+v", e)
	}
	if e := log[1]; e.By.Name != event.Operator || e.By.From != "192.0.2.2" {
		t.Errorf("resumed: %+v", e)
	}
	if e := log[2]; e.By != shop {
		t.Errorf("paused: %+v", e)
	}
	if log := logOf(t, s, "t/b"); len(log) != 0 {
		t.Errorf("of another endpoint: %+v", log)
	}
}

func checkLogOfBreaker(t *testing.T, b *bench) {
	clock := &shifted{}
	s := b.regulated(t, clock, breaker)
	gather(t, s, "w", 8)
	said := func(o *queue.Outcome) {
		o.Attempt = &event.Attempt{Status: 503, Answer: []byte("\"busy\"\nfor a while")}
	}
	for range 3 {
		settle(t, s, takeOne(t, s, "t/a"), queue.Retry, dueIn(s, time.Hour), fails, said)
	}
	clock.forward(5*time.Second + slack)
	settle(t, s, takeOne(t, s, "t/a"), queue.Retry, dueIn(s, time.Hour), fails, said)
	clock.forward(10*time.Second + slack)
	settle(t, s, takeOne(t, s, "t/a"), queue.Delivered, answers)

	log := logOf(t, s, "t/a")
	if want := []event.LogKind{event.LogClosed, event.LogOpened}; !slices.Equal(told(log), want) {
		t.Fatalf("%+v", log)
	}
	if e := log[1]; e.N != 3 || e.Of != 0 || e.Status != 503 || e.Text != "\"busy\"\nfor a while" {
		t.Errorf("opened: %+v", e)
	}
	if e := log[0]; e.N != 1 || e.By != (event.Actor{}) {
		t.Errorf("closed: %+v", e)
	}

	// However many attempts are answered 410, the endpoint is gone once.
	for _, e := range accept(t, s, queue.Routed{Event: update("g", "a"), To: slot(to("t/b"))},
		queue.Routed{Event: update("h", "a"), To: slot(to("t/b"))}) {
		settle(t, s, e.Leased[0], queue.Gone, dueIn(s, 0), answers, func(o *queue.Outcome) { o.Attempt.Status = 410 })
	}
	log = logOf(t, s, "t/b")
	if len(log) != 1 || log[0].What != event.LogGone || log[0].Status != 410 {
		t.Errorf("answered 410 twice: %+v", log)
	}
}

func checkLogIsBounded(t *testing.T, b *bench) {
	s := b.open(t, options{})
	for i := range 210 {
		if err := s.NoteEndpoint(t.Context(), "t/a", event.LogEntry{What: event.LogReplayBegun, N: i + 1}); err != nil {
			t.Fatal(err)
		}
	}
	if log := logOf(t, s, "t/a"); len(log) != 200 || log[0].N != 210 {
		t.Errorf("%d entries, the latest %+v", len(log), log[0])
	}

	// Long ones are bounded by their bytes.
	for i := range 10 {
		e := event.LogEntry{What: event.LogChanged, N: i + 1, Text: strings.Repeat("x", 5000)}
		if err := s.NoteEndpoint(t.Context(), "t/a", e); err != nil {
			t.Fatal(err)
		}
	}
	if log := logOf(t, s, "t/a"); len(log) != 4 {
		t.Errorf("%d entries of 5,000 bytes", len(log))
	}
}

func checkSettingsOnce(t *testing.T, b *bench) {
	s := b.open(t, options{})
	key := b.prefix() + "h:t/a"
	change := func(before, after string, what event.LogKind) {
		t.Helper()
		for range 3 { // replicas
			c := store.SettingsChange{Endpoint: "t/a", Before: before, After: after, Entry: &event.LogEntry{What: what}}
			if err := s.ChangeSettings(t.Context(), []store.SettingsChange{c}); err != nil {
				t.Fatal(err)
			}
		}
	}

	change("", "1", event.LogAdded)
	if life := b.Life(t, key); life > 0 {
		t.Errorf("the log of an endpoint of the config ends in %s", life)
	}
	change("1", "2", event.LogChanged)
	change("1", "3", event.LogChanged) // of a replica that has not noticed
	known, err := s.KnownSettings(t.Context(), []string{"t/a", "t/b"})
	if err != nil || len(known) != 1 || known["t/a"] != "2" {
		t.Errorf("%v, %v", known, err)
	}
	change("2", "", event.LogRemoved)
	if life := b.Life(t, key); life < time.Hour {
		t.Errorf("the log of an endpoint that was removed ends in %s", life)
	}

	want := []event.LogKind{event.LogRemoved, event.LogChanged, event.LogAdded}
	if log := logOf(t, s, "t/a"); !slices.Equal(told(log), want) {
		t.Errorf("%+v", log)
	}

	// Of many endpoints all are read.
	var many []store.SettingsChange
	for i := range 200 {
		many = append(many, store.SettingsChange{Endpoint: fmt.Sprint("t/", i), After: fmt.Sprint(i)})
	}
	if err := s.ChangeSettings(t.Context(), many); err != nil {
		t.Fatal(err)
	}
	if known, err = s.KnownSettings(t.Context(), nil); err != nil || len(known) != 200 || known["t/199"] != "199" {
		t.Errorf("%d, %v", len(known), err)
	}
}

func checkAttemptPages(t *testing.T, b *bench) {
	s := b.open(t, options{History: 1000})
	gather(t, s, "w", 40)
	for i, d := range take(t, s, "t/a", 40) {
		if i%4 == 0 {
			settle(t, s, d, queue.Delivered)
		} else {
			settle(t, s, d, queue.Dead, because("no"), fails)
		}
	}

	all := func(failed bool, most int) (ids []string) {
		t.Helper()
		q := queue.AttemptsQuery{Endpoint: "t/a", Failed: failed, Most: most}
		last := s.Now().Add(time.Hour)
		for {
			page, next, err := s.Attempts(t.Context(), q)
			if err != nil || len(page) > most || (len(page) < most && next != "") {
				t.Fatalf("%d attempts, next %q, %v", len(page), next, err)
			}
			for _, a := range page {
				if a.At.After(last) || (failed && a.Good()) {
					t.Errorf("%+v after one of %s", a, last)
				}
				last = a.At
				ids = append(ids, a.EventID)
			}
			if next == "" {
				return ids
			}
			q.Cursor = next
		}
	}
	for failed, want := range map[bool]int{false: 40, true: 30} {
		whole := all(failed, 500)
		if len(whole) != want {
			t.Errorf("failed %v: %d, want %d", failed, len(whole), want)
		}
		for _, most := range []int{1, 7, 10} {
			if got := all(failed, most); !slices.Equal(got, whole) {
				t.Errorf("failed %v: in pages of %d they are\n%v\nand in one\n%v", failed, most, got, whole)
			}
		}
	}

	for _, cursor := range []string{"x", "5", "-1-1", "5-0", "5-99999999"} {
		_, _, err := s.Attempts(t.Context(), queue.AttemptsQuery{Endpoint: "t/a", Cursor: cursor, Most: 1})
		if !errors.Is(err, event.ErrCursor) {
			t.Errorf("cursor %s: %v", cursor, err)
		}
	}
}

func checkAttemptOrigin(t *testing.T, b *bench) {
	s := b.open(t, options{Replica: "relay-b"})
	d := acceptOne(t, s, update("1", "a"), slot(to("t/a"))).Leased[0]
	settle(t, s, d, queue.Retry, dueIn(s, 0), func(o *queue.Outcome) {
		o.Attempt = &event.Attempt{Status: 503, Answer: []byte("busy\nto-day\x00"),
			Headers: []string{"server: nginx", "retry-after: 5"}}
	})
	settle(t, s, takeOne(t, s, "t/a"), queue.Retry, dueIn(s, time.Hour), func(o *queue.Outcome) {
		o.Attempt = &event.Attempt{Err: "timeout: no whole answer in time"}
	})

	got, _, err := s.Attempts(t.Context(), queue.AttemptsQuery{Endpoint: "t/a", Most: 10})
	if err != nil || len(got) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	if a := got[1]; a.N != 1 || a.Reason != event.ReasonNew || a.Replica != "relay-b" || a.Class != "" ||
		a.Text != "busy\nto-day\x00" || !slices.Equal(a.Headers, []string{"server: nginx", "retry-after: 5"}) {
		t.Errorf("the first: %+v", a)
	}
	if a := got[0]; a.N != 2 || a.Reason != event.ReasonRetry || a.Replica != "relay-b" ||
		a.Class != event.ClassTimeout || len(a.Headers) != 0 {
		t.Errorf("the second: %+v", a)
	}

	// Its event has the same, and since when the delivery is open.
	e, found, err := s.Event(t.Context(), d.Event.ID, "")
	if err != nil || !found {
		t.Fatal(found, err)
	}
	o := e.Deliveries[0]
	if len(o.Records) != 2 || o.Records[0].N != 1 || o.Records[0].Replica != "relay-b" ||
		o.Records[1].Class != event.ClassTimeout || !o.Since.Equal(e.AcceptedAt) {
		t.Errorf("%+v", o)
	}
}

func checkFailingSince(t *testing.T, b *bench) {
	clock := &shifted{}
	s := b.open(t, options{Clock: clock.now})
	gather(t, s, "w", 20)
	try := func(status int) {
		t.Helper()
		kind := queue.Retry
		if status == 200 {
			kind = queue.Delivered
		}
		settle(t, s, takeOne(t, s, "t/a"), kind, dueIn(s, 2*time.Hour),
			func(o *queue.Outcome) { o.Attempt = &event.Attempt{Status: status} })
	}
	look := func(latest int) queue.EndpointHealth {
		t.Helper()
		hs, err := s.Health(t.Context(), []string{"t/a"}, latest)
		if err != nil {
			t.Fatal(err)
		}
		return hs[0]
	}

	later := func(than time.Time) {
		t.Helper()
		until(t, "what follows is later by any clock", func() bool { return s.Now().Sub(than) > slack })
	}
	try(500)
	later(look(10).Latest[0].At)
	try(200)
	later(look(10).Delivered)
	try(503)
	first := look(10).Latest[0].At
	if h := look(10); h.FailedInRow != 1 || !h.FailingSince.Equal(first) {
		t.Errorf("after one: %d since %s", h.FailedInRow, h.FailingSince)
	}
	for range 5 {
		try(503)
	}
	for _, latest := range []int{3, 6, 10} { // also of a sample that does not reach so far back
		if h := look(latest); h.FailedInRow != min(latest, 6) || !h.FailingSince.Equal(first) {
			t.Errorf("of %d attempts %d failed in a row, since %s, want %s", latest, h.FailedInRow, h.FailingSince, first)
		}
	}
	try(422)
	if h := look(10); h.FailedInRow != 0 || !h.FailingSince.IsZero() {
		t.Errorf("after a refusal %d failed in a row, since %s", h.FailedInRow, h.FailingSince)
	}
}
