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

// lifetimeChecks hold how long keys live, by what Redis says of them, or by what is deleted when the clock is moved, so
// that no check has to wait for one to expire.
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

// lifetimes is a replica whose clock can be moved, to see what Tidy deletes.
type lifetimes struct {
	*replica
	clock *shifted
	ends  map[*event.Event]time.Duration
}

func (b *bench) openLifetimes(t *testing.T) *lifetimes {
	t.Helper()
	s := &lifetimes{clock: &shifted{}, ends: make(map[*event.Event]time.Duration)}
	s.replica = b.open(t, options{Clock: s.clock.now, Settings: settings{
		Window: retention, Retention: retention, DeadLetterRetention: deadRetention, SubscriptionTTL: 10 * retention,
		SignedTTL: 2 * retention,
	}})
	return s
}

// lives fails the test unless the key of a record or an entry lives as long as given, to ten minutes.
func (b *bench) lives(t *testing.T, key string, want time.Duration) {
	t.Helper()

	got := b.Life(t, b.prefix()+key)
	if want == forever && got != forever {
		t.Errorf("%.20s… expires in %s, though something is open", key, got)
	}
	if want != forever && (got > want || got < want-10*time.Minute) {
		t.Errorf("%.20s… expires in %s, want %s", key, got, want)
	}
}

// eventLives fails the test unless an event is there ten minutes before its time is over; ended checks that it is not
// there after that.
func (b *bench) eventLives(t *testing.T, s *lifetimes, e *event.Event, want time.Duration) {
	t.Helper()
	s.ends[e] = want
	if want == forever {
		want = 1000 * deadRetention
	}
	s.at(t, want-10*time.Minute, func() {
		if len(b.Keys(t, b.prefix()+"e:"+shortID(t, e))) != 1 {
			t.Errorf("%.20s… was deleted, which was to live for %s", e.ID, want)
		}
	})
}

// ended fails the test if an event is still there after its time.
func (b *bench) ended(t *testing.T, s *lifetimes) {
	t.Helper()
	for e, want := range s.ends {
		if want == forever {
			continue
		}
		// When the chunk of the event is looked at next depends on when it was looked at last.
		b.Delete(t, b.prefix()+"logt")
		s.at(t, want+10*time.Minute, func() {
			if len(b.Keys(t, b.prefix()+"e:"+shortID(t, e))) != 0 {
				t.Errorf("%.20s… is still there after %s", e.ID, want)
			}
		})
	}
}

// at tidies up as if a span had passed, and then does something.
func (s *lifetimes) at(t *testing.T, span time.Duration, do func()) {
	t.Helper()
	s.clock.forward(span)
	defer s.clock.forward(-span)
	tidy(t, s.replica)
	do()
}

// shortID is the id of an event as its keys have it: what begins the hash in base64url.
func shortID(t *testing.T, e *event.Event) string {
	t.Helper()
	sum, err := hex.DecodeString(strings.TrimPrefix(e.ID, "evt_"))
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(sum)[:14]
}

func checkDeadLetterLives(t *testing.T, b *bench) {
	s := b.openLifetimes(t)
	defer b.ended(t, s)
	e := update("1", "a")
	settle(t, s.replica, acceptOne(t, s.replica, e, slot(to("t/a"))).Leased[0], queue.Dead, because("no"))

	b.eventLives(t, s, e, deadRetention)
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
	defer b.ended(t, s)
	e := update("1", "a")
	got := acceptOne(t, s.replica, e, slot(to("t/a", "t/b")))
	settle(t, s.replica, got.Leased[0], queue.Dead, because("no"))

	dismiss(t, s.replica, "t/a", e)
	b.eventLives(t, s, e, forever)

	if settle(t, s.replica, got.Leased[1], queue.Delivered).Late {
		t.Error("the delivery that was still open is late")
	}
	b.eventLives(t, s, e, retention)
}

func checkRedrivenIsOpen(t *testing.T, b *bench) {
	s := b.openLifetimes(t)
	defer b.ended(t, s)
	dead := update("1", "a")
	settle(t, s.replica, acceptOne(t, s.replica, dead, slot(to("t/a"))).Leased[0], queue.Dead, because("no"))
	if n, err := s.Redrive(t.Context(), "t/a", dead.ID); n != 1 || err != nil {
		t.Fatalf("redriven %d, %v", n, err)
	}
	b.eventLives(t, s, dead, forever)
	acceptOne(t, s.replica, update("1", "b"), to("t/b")) // open at another endpoint

	settle(t, s.replica, takeOne(t, s.replica, "t/a"), queue.Delivered)
	b.eventLives(t, s, dead, retention)
	b.lives(t, "w:1", forever)

	settle(t, s.replica, takeOne(t, s.replica, "t/b"), queue.Delivered)
	b.lives(t, "w:1", deadRetention)
}

func checkNewerUpdateLeavesDeadLetter(t *testing.T, b *bench) {
	s := b.openLifetimes(t)
	defer b.ended(t, s)
	live(t, s.replica, "t", "1")
	dead, delivered := update("1", "a"), update("1", "b")
	settle(t, s.replica, acceptOne(t, s.replica, dead, slot(to("t/a"))).Leased[0], queue.Dead, because("no"))
	settle(t, s.replica, acceptOne(t, s.replica, delivered, slot(to("t/a"))).Leased[0], queue.Delivered)
	b.eventLives(t, s, dead, deadRetention)
	b.eventLives(t, s, delivered, 10*retention) // as the last update of a subscribed waybill

	acceptOne(t, s.replica, update("1", "c"), to("t/a"))
	b.eventLives(t, s, delivered, retention)
	b.eventLives(t, s, dead, deadRetention)
}

func checkReplayedLives(t *testing.T, b *bench) {
	s := b.openLifetimes(t)
	defer b.ended(t, s)
	e := update("1", "a")
	settle(t, s.replica, acceptOne(t, s.replica, e, slot(to("t/a"))).Leased[0], queue.Delivered)
	b.eventLives(t, s, e, retention)

	replayed(t, s.replica, e, "t/a")
	b.eventLives(t, s, e, forever)
	b.lives(t, "w:1", forever)

	settle(t, s.replica, takeOne(t, s.replica, "t/a"), queue.Delivered)
	b.eventLives(t, s, e, retention)
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
	defer b.ended(t, s)
	live(t, s.replica, "t", "1")
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
	defer b.ended(t, s)
	e := update("1", "a")
	got := acceptOne(t, s.replica, e, slot(to("t/a", "t/b")))
	b.eventLives(t, s, e, forever)
	b.lives(t, "w:1", forever)

	settle(t, s.replica, got.Leased[0], queue.Delivered)
	b.eventLives(t, s, e, forever)
	b.lives(t, "w:1", forever)

	settle(t, s.replica, got.Leased[1], queue.Delivered)
	b.eventLives(t, s, e, retention)
	b.lives(t, "w:1", retention)
}

func checkReplayedDeadLetter(t *testing.T, b *bench) {
	s := b.openLifetimes(t)
	defer b.ended(t, s)
	e := update("1", "a")
	settle(t, s.replica, acceptOne(t, s.replica, e, slot(to("t/a"))).Leased[0], queue.Dead, because("no"))

	replayed(t, s.replica, e, "t/a")
	if letters, _, err := s.DeadLetters(t.Context(), []string{"t/a"}, "", 10); err != nil || len(letters) != 0 {
		t.Errorf("still a dead letter: %+v, %v", letters, err)
	}
	settle(t, s.replica, takeOne(t, s.replica, "t/a"), queue.Delivered)
	b.eventLives(t, s, e, retention)
}

func checkDeadThenDelivered(t *testing.T, b *bench) {
	s := b.openLifetimes(t)
	defer b.ended(t, s)
	e := update("1", "a")
	got := acceptOne(t, s.replica, e, slot(to("t/a", "t/b")))
	settle(t, s.replica, got.Leased[0], queue.Dead, because("no"))
	b.eventLives(t, s, e, forever)

	settle(t, s.replica, got.Leased[1], queue.Delivered)
	b.eventLives(t, s, e, deadRetention)
	b.lives(t, "w:1", deadRetention)
}

func checkUnroutedLives(t *testing.T, b *bench) {
	s := b.openLifetimes(t)
	defer b.ended(t, s)
	e := update("1", "a")
	acceptOne(t, s.replica, e, nil)
	b.eventLives(t, s, e, retention)
	b.lives(t, "w:1", retention)
}

func checkLastDismissed(t *testing.T, b *bench) {
	s := b.openLifetimes(t)
	defer b.ended(t, s)
	e := update("1", "a")
	got := acceptOne(t, s.replica, e, slot(to("t/a", "t/b")))
	settle(t, s.replica, got.Leased[0], queue.Dead, because("no"))
	settle(t, s.replica, got.Leased[1], queue.Dead, because("no"))

	dismiss(t, s.replica, "t/a", e)
	b.eventLives(t, s, e, deadRetention)

	dismiss(t, s.replica, "t/b", e)
	b.eventLives(t, s, e, retention)
}

func checkReplayedSequence(t *testing.T, b *bench) {
	s := b.openLifetimes(t)
	defer b.ended(t, s)
	first := update("1", "a")
	d := acceptOne(t, s.replica, first, slot(to("t/a"))).Leased[0]
	settle(t, s.replica, d, queue.Delivered)
	b.Delete(t, b.prefix()+"w:1") // as if it had expired

	replayed(t, s.replica, first, "t/a")
	if got := takeOne(t, s.replica, "t/a"); got.Event.Sequence != d.Event.Sequence {
		t.Errorf("its sequence was %d and is %d", d.Event.Sequence, got.Event.Sequence)
	}
	next := update("1", "b")
	acceptOne(t, s.replica, next, nil)
	if next.Sequence <= d.Event.Sequence {
		t.Errorf("the next sequence is %d, after %d", next.Sequence, d.Event.Sequence)
	}
}

func checkRecordComesBack(t *testing.T, b *bench) {
	s := b.openLifetimes(t)
	defer b.ended(t, s)
	settle(t, s.replica, acceptOne(t, s.replica, update("1", "a"), slot(to("t/a"))).Leased[0], queue.Delivered)
	b.lives(t, "w:1", retention)

	acceptOne(t, s.replica, update("1", "b"), to("t/a"))
	b.lives(t, "w:1", forever)
}
