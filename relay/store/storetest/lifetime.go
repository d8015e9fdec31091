package storetest

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/ledger"
	"kuairelay/relay/queue"
)

// lifetimeChecks hold how long keys live, by what Redis says of them, so that no check has to wait for one to expire.
var lifetimeChecks = map[string]func(*testing.T, *bench){
	"ADeadLetterKeepsItsEventBodyAndRecord":               checkDeadLetterLives,
	"DismissingADeadLetterLeavesWhatIsOpenElsewhere":      checkDismissedWhileOpen,
	"ARedrivenEventCountsAsOpenInItsRecord":               checkRedrivenIsOpen,
	"ANewerUpdateOfASubscribedWaybillLeavesADeadLetter":   checkNewerUpdateLeavesDeadLetter,
	"AReplayedEventKeepsItsBodyUntilItIsDelivered":        checkReplayedLives,
	"ImportShortensTheLifeOfNoSubscription":               checkImportLives,
	"AnEventThatIsDeliveredEverywhereLivesForItsTime":     checkDeliveredLives,
	"AReplayedDeadLetterNoLongerCountsAsOne":              checkReplayedDeadLetter,
	"AnEventWithADeadLetterOutlivesItsOtherDeliveries":    checkDeadThenDelivered,
	"AnEventOwedToNobodyLivesForTheRetention":             checkUnroutedLives,
	"TheLastDeadLetterThatIsDismissedEndsTheLongLife":     checkLastDismissed,
	"AReplayedEventOfAnExpiredRecordKeepsItsSequence":     checkReplayedSequence,
	"AnUpdateThatIsAcceptedAfterAllWereClosedIsKeptAlive": checkRecordComesBack,
}

// What the stores of these checks are told: spans so far apart that a busy machine confuses none of them.
const (
	retention     = time.Hour
	deadRetention = 100 * time.Hour
	forever       = -1 * time.Nanosecond // what Redis says of a key that never expires
)

func (b *bench) openLifetimes(t *testing.T) *replica {
	t.Helper()
	return b.open(t, options{Settings: settings{
		Window: retention, Retention: retention, DeadLetterRetention: deadRetention, SubscriptionTTL: 10 * retention,
		SignedTTL: 2 * retention,
	}})
}

// lives fails the test unless the key of an event or a record lives as long as given, to ten minutes.
func (b *bench) lives(t *testing.T, key string, want time.Duration) {
	t.Helper()

	got := b.Life(t, "{"+b.tag+"}:"+key)
	if want == forever && got != forever {
		t.Errorf("%.20s… expires in %s, though something is open", key, got)
	}
	if want != forever && (got > want || got < want-10*time.Minute) {
		t.Errorf("%.20s… expires in %s, want %s", key, got, want)
	}
}

// eventLives is lives for the state and the body of an event.
func (b *bench) eventLives(t *testing.T, e *event.Event, want time.Duration) {
	t.Helper()
	b.lives(t, "e:"+shortID(t, e), want)
	b.lives(t, "b:"+shortID(t, e), want)
}

// shortID is the id of an event as its keys have it: the hash in base64url.
func shortID(t *testing.T, e *event.Event) string {
	t.Helper()
	sum, err := hex.DecodeString(strings.TrimPrefix(e.ID, "evt_"))
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(sum)
}

func checkDeadLetterLives(t *testing.T, b *bench) {
	s := b.openLifetimes(t)
	e := update("1", "a")
	settle(t, s, acceptOne(t, s, e, slot(to("t/a"))).Leased[0], queue.Dead, because("no"))

	b.eventLives(t, e, deadRetention)
	b.lives(t, "w:1", deadRetention)
}

// dismiss is done with a dead letter, and fails the test if there is none.
func dismiss(t *testing.T, s *replica, endpoint string, e *event.Event) {
	t.Helper()
	if n, err := s.Dismiss(t.Context(), endpoint, e.ID); n != 1 || err != nil {
		t.Fatalf("dismissed %d, %v", n, err)
	}
}

func checkDismissedWhileOpen(t *testing.T, b *bench) {
	s := b.openLifetimes(t)
	e := update("1", "a")
	got := acceptOne(t, s, e, slot(to("t/a", "t/b")))
	settle(t, s, got.Leased[0], queue.Dead, because("no"))

	dismiss(t, s, "t/a", e)
	b.eventLives(t, e, forever)

	if settle(t, s, got.Leased[1], queue.Delivered).Late {
		t.Error("the delivery that was still open is late")
	}
	b.eventLives(t, e, retention)
}

func checkRedrivenIsOpen(t *testing.T, b *bench) {
	s := b.openLifetimes(t)
	dead := update("1", "a")
	settle(t, s, acceptOne(t, s, dead, slot(to("t/a"))).Leased[0], queue.Dead, because("no"))
	if n, err := s.Redrive(t.Context(), "t/a", dead.ID); n != 1 || err != nil {
		t.Fatalf("redriven %d, %v", n, err)
	}
	b.eventLives(t, dead, forever)
	acceptOne(t, s, update("1", "b"), to("t/b")) // open at another endpoint

	settle(t, s, takeOne(t, s, "t/a"), queue.Delivered)
	b.eventLives(t, dead, retention)
	b.lives(t, "w:1", forever)

	settle(t, s, takeOne(t, s, "t/b"), queue.Delivered)
	b.lives(t, "w:1", deadRetention)
}

func checkNewerUpdateLeavesDeadLetter(t *testing.T, b *bench) {
	s := b.openLifetimes(t)
	live(t, s, "t", "1")
	dead, delivered := update("1", "a"), update("1", "b")
	settle(t, s, acceptOne(t, s, dead, slot(to("t/a"))).Leased[0], queue.Dead, because("no"))
	settle(t, s, acceptOne(t, s, delivered, slot(to("t/a"))).Leased[0], queue.Delivered)
	b.eventLives(t, dead, deadRetention)
	b.eventLives(t, delivered, 10*retention) // as the last update of a subscribed waybill

	acceptOne(t, s, update("1", "c"), to("t/a"))
	b.eventLives(t, dead, deadRetention)
	b.eventLives(t, delivered, retention)
}

func checkReplayedLives(t *testing.T, b *bench) {
	s := b.openLifetimes(t)
	e := update("1", "a")
	settle(t, s, acceptOne(t, s, e, slot(to("t/a"))).Leased[0], queue.Delivered)
	b.eventLives(t, e, retention)

	replayed(t, s, e, "t/a")
	b.eventLives(t, e, forever)
	b.lives(t, "w:1", forever)

	settle(t, s, takeOne(t, s, "t/a"), queue.Delivered)
	b.eventLives(t, e, retention)
	b.lives(t, "w:1", retention)
}

// replayed has an event sent again to an endpoint, and fails the test unless it was queued.
func replayed(t *testing.T, s *replica, e *event.Event, endpoint string) {
	t.Helper()

	if _, err := s.NewReplay(t.Context(), event.Replay{Tenant: "t", Filter: []byte(`{}`)}); err != nil {
		t.Fatal(err)
	}
	r, err := takeUp(t, s)
	if err != nil || r == nil {
		t.Fatalf("claimed %+v, %v", r, err)
	}
	page := event.ReplayPage{Looked: 1, Matched: 1, Done: true,
		Resends: []event.Resend{{EventID: e.ID, Endpoint: endpoint}}}
	if _, mine, err := s.ReplayPage(t.Context(), r.ID, page); err != nil || !mine {
		t.Fatalf("a page of the replay: %v, %v", mine, err)
	}
	if done, ok, err := s.Replay(t.Context(), r.ID); err != nil || !ok || done.Queued != 1 {
		t.Fatalf("the replay: %+v, %v", done, err)
	}
}

func checkImportLives(t *testing.T, b *bench) {
	s := b.openLifetimes(t)
	live(t, s, "t", "1")
	before, ok, err := s.Subscription(t.Context(), "t", zt("1")[0])
	if err != nil || !ok {
		t.Fatalf("%+v %v", before, err)
	}

	short := before
	short.Expires = s.Now().Add(retention)
	if n, err := s.Import(t.Context(), []ledger.Subscription{short}); err != nil || n != 0 {
		t.Fatalf("%d new, %v", n, err)
	}
	after, ok, err := s.Subscription(t.Context(), "t", zt("1")[0])
	if err != nil || !ok || before.Expires.Sub(after.Expires).Abs() > time.Minute {
		t.Errorf("it expired at %s, and now at %s: %v %v", before.Expires, after.Expires, ok, err)
	}
	b.lives(t, "s:zt 1", 10*retention)
}

func checkDeliveredLives(t *testing.T, b *bench) {
	s := b.openLifetimes(t)
	e := update("1", "a")
	got := acceptOne(t, s, e, slot(to("t/a", "t/b")))
	b.eventLives(t, e, forever)
	b.lives(t, "w:1", forever)

	settle(t, s, got.Leased[0], queue.Delivered)
	b.eventLives(t, e, forever)
	b.lives(t, "w:1", forever)

	settle(t, s, got.Leased[1], queue.Delivered)
	b.eventLives(t, e, retention)
	b.lives(t, "w:1", retention)
}

func checkReplayedDeadLetter(t *testing.T, b *bench) {
	s := b.openLifetimes(t)
	e := update("1", "a")
	settle(t, s, acceptOne(t, s, e, slot(to("t/a"))).Leased[0], queue.Dead, because("no"))

	replayed(t, s, e, "t/a")
	if letters, _, err := s.DeadLetters(t.Context(), []string{"t/a"}, "", 10); err != nil || len(letters) != 0 {
		t.Errorf("still a dead letter: %+v, %v", letters, err)
	}
	settle(t, s, takeOne(t, s, "t/a"), queue.Delivered)
	b.eventLives(t, e, retention)
}

func checkDeadThenDelivered(t *testing.T, b *bench) {
	s := b.openLifetimes(t)
	e := update("1", "a")
	got := acceptOne(t, s, e, slot(to("t/a", "t/b")))
	settle(t, s, got.Leased[0], queue.Dead, because("no"))
	b.eventLives(t, e, forever)

	settle(t, s, got.Leased[1], queue.Delivered)
	b.eventLives(t, e, deadRetention)
	b.lives(t, "w:1", deadRetention)
}

func checkUnroutedLives(t *testing.T, b *bench) {
	s := b.openLifetimes(t)
	e := update("1", "a")
	acceptOne(t, s, e, nil)
	b.eventLives(t, e, retention)
	b.lives(t, "w:1", retention)
}

func checkLastDismissed(t *testing.T, b *bench) {
	s := b.openLifetimes(t)
	e := update("1", "a")
	got := acceptOne(t, s, e, slot(to("t/a", "t/b")))
	settle(t, s, got.Leased[0], queue.Dead, because("no"))
	settle(t, s, got.Leased[1], queue.Dead, because("no"))

	dismiss(t, s, "t/a", e)
	b.eventLives(t, e, deadRetention)

	dismiss(t, s, "t/b", e)
	b.eventLives(t, e, retention)
}

func checkReplayedSequence(t *testing.T, b *bench) {
	s := b.openLifetimes(t)
	first := update("1", "a")
	d := acceptOne(t, s, first, slot(to("t/a"))).Leased[0]
	settle(t, s, d, queue.Delivered)
	b.Delete(t, "{"+b.tag+"}:w:1") // as if it had expired

	replayed(t, s, first, "t/a")
	if got := takeOne(t, s, "t/a"); got.Event.Sequence != d.Event.Sequence {
		t.Errorf("its sequence was %d and is %d", d.Event.Sequence, got.Event.Sequence)
	}
	next := update("1", "b")
	acceptOne(t, s, next, nil)
	if next.Sequence <= d.Event.Sequence {
		t.Errorf("the next sequence is %d, after %d", next.Sequence, d.Event.Sequence)
	}
}

func checkRecordComesBack(t *testing.T, b *bench) {
	s := b.openLifetimes(t)
	settle(t, s, acceptOne(t, s, update("1", "a"), slot(to("t/a"))).Leased[0], queue.Delivered)
	b.lives(t, "w:1", retention)

	acceptOne(t, s, update("1", "b"), to("t/a"))
	b.lives(t, "w:1", forever)
}
