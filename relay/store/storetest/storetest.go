// Package storetest holds the checks that every store passes, whatever Redis is behind it.
package storetest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/ledger"
	"kuairelay/relay/queue"
	"kuairelay/relay/store"
	"kuairelay/relay/store/db"
	"kuairelay/relay/store/notices"
	"kuairelay/relay/store/replays"
	"kuairelay/relay/store/subscriptions"
)

// Backend is a Redis to run the checks on.
type Backend struct {
	// URL of the Redis.
	URL string
	// Slow is a Redis whose scripts take many times as long: the longest checks then take fewer steps.
	Slow bool
	// Keys lists all keys that begin with a prefix.
	Keys func(t testing.TB, prefix string) []string
	// Life is how long a key has left as PTTL says it, in milliseconds: -1 ns if it never expires, -2 ns if it is not
	// there.
	Life func(t testing.TB, key string) time.Duration
	// Delete removes a key, as an eviction would.
	Delete func(t testing.TB, key string)
	// Forget removes all keys that begin with a prefix, those of a check that is over. Nil: they may stay.
	Forget func(prefix string)
}

// Run runs every check on the backend, each with a hash tag of its own.
func Run(t *testing.T, b Backend) {
	for _, group := range []map[string]func(*testing.T, *bench){checks, ledgerChecks, noRecordChecks, silentChecks,
		watchChecks, parcelChecks, lifetimeChecks, recordChecks, noticeChecks} {
		for name, check := range group {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				tag := fmt.Sprintf("t%d", tags.Add(1))
				if b.Forget != nil {
					t.Cleanup(func() { b.Forget("{" + tag + "}" + db.Form + ":") })
				}
				check(t, &bench{Backend: b, tag: tag})
			})
		}
	}
}

var tags atomic.Int64

var checks = map[string]func(*testing.T, *bench){
	"NewEventIsLeasedToTheCallerOnlyInAReservedSlot":        checkSlots,
	"WhatIsOverdueGoesBeforeANewDelivery":                   checkOverdueFirst,
	"UpdatesOfAWaybillWaitForTheirPredecessor":              checkOrder,
	"EachEndpointHasALineOfItsOwn":                          checkLines,
	"ARetryingHeadHoldsBackOnlyItsOwnWaybillAndEndpoint":    checkRetryHolds,
	"AnEndpointWithoutOrderGetsUpdatesAtOnce":               checkUnordered,
	"TheLineMovesOnAfterADeadLetter":                        checkDeadMovesOn,
	"TheHolderOfAHeadMayDeliverWhatWaitsBehindIt":           checkRun,
	"ALineGoesOnBehindWhatItsHolderHas":                     checkRunHad,
	"ARunEndsWithTheOutcomeThatIsNotDelivered":              checkRunEnds,
	"WhatARunDeliveredWithoutItsLeaseIsNotSentAgain":        checkRunWithoutLease,
	"AnotherHoldersOutcomeInTheSameCallLeavesNothingBehind": checkTwoHolders,
	"ALapsedHolderCannotRescheduleButCanDeliver":            checkFencing,
	"ADeadReplicasLeasesFallDueByThemselves":                checkLapse,
	"ReplicasWithDifferentClocksStealNothing":               checkClocks,
	"TheSameContentIsOneEventWithinTheWindow":               checkWindow,
	"BareItemsThatGoABAAreThreeEvents":                      checkBare,
	"ADuplicateInTheSameCallIsDropped":                      checkSameCall,
	"ManyClientsWithTheSameCallbackMakeOneEvent":            checkConcurrentDuplicates,
	"TheRecordForgetsWhatIsPastTheWindow":                   checkPrune,
	"ChangedStatusIsDecidedByTheLastOneAccepted":            checkChanged,
	"SequenceRisesWithEveryUpdateOfAWaybill":                checkSequence,
	"ThousandsOfItemsAreAcceptedInOrder":                    checkBig,
	"AnEventWithVeryManyEndpointsIsNotSplit":                checkWide,
	"EverythingClosedExpiresAndNoKeyIsLeft":                 checkNothingLeft,
	"NothingOpenEverExpires":                                checkNothingOpenExpires,
	"ADeadLetterIsListedAndCanBeRedriven":                   checkRedrive,
	"AnEventIsSentAgainToOneEndpoint":                       checkResend,
	"UpdatesThatAreSentAgainKeepTheirOrder":                 checkReplayOrder,
	"ALineOfUpdatesSentAgainGoesOnWithoutItsHead":           checkReplayLineGoesOn,
	"WhatWaitsForAnAttemptIsTriedAtOnce":                    checkRetryAtOnce,
	"AnOpenBreakerGetsOneForItsProbeAtOnce":                 checkRetryOfABreaker,
	"DeadLettersAreCountedByEndpointAndTime":                checkCountDeadLetters,
	"TheHistoryKeepsTheLatestAttempts":                      checkAttempts,
	"AnOutcomeSettledAgainGivesItsSuccessorAgain":           checkSettledTwice,
	"OldDeliveriesAreFoundBehindManyYoungerOnes":            checkAgedBehindManyOthers,
	"TheRecordOutlivesADeadLetter":                          checkRecordOfDeadLetter,
	"ADeadLetterPastItsRetentionIsNotCounted":               checkDeadLettersEnd,
	"ARedrivenDeliveryDoesNotHoldUpItsWaybill":              checkRedriveOutOfOrder,
	"AGoneEndpointKeepsItsDeliveriesUntilItIsResumed":       checkGone,
	"AReleasedDeliveryIsDueAtOnceAndUncounted":              checkRelease,
	"EventsOfAnotherTypeAreNotOrdered":                      checkOtherType,
	"WhatIsNotUnderstoodIsKeptOnce":                         checkQuarantine,
	"QuarantineIsBounded":                                   checkQuarantineIsBounded,
	"APageOfQuarantineHasABudget":                           checkAPageOfQuarantineHasABudget,
	"QuarantineIsLookedThroughForTexts":                     checkFindQuarantined,
	"AWaybillIsRememberedForLongerThanItsEvents":            checkRemembered,
	"WhatWouldBeADuplicateIsKnownBefore":                    checkDuplicateOf,
	"TheLatestEventsOfAWaybillComeWithoutTheirData":         checkLatestOfWaybill,
	"DepthsCountWhatIsOpenWaitingAndDead":                   checkDepths,
	"OrphansAreFoundOnlyAfterTheGrace":                      checkOrphans,
	"OldDeliveriesOfAParkedEndpointCanBeTaken":              checkAcceptedBefore,
	"AnInvalidEventIDIsRefusedAndHarmsNobodyElse":           checkInvalidID,
	"RandomOperationsLoseNothingAndKeepTheOrder":            checkRandom,
	"BodiesComeBackByteForByte":                             checkBytes,
	"AStateThatIsNotThereIsSettledAsLate":                   checkLate,
	"EndpointsAreDueByTheirEarliestDelivery":                checkDue,
	"ADeliveredHeadHandsItsSuccessorOverOnlyIfThereIsRoom":  checkNoRoom,
	"ABreakerOpensProbesAndLetsTheBacklogGo":                checkBreakerCycle,
	"AFailureAfterABreakerHasClosedOpensItForLonger":        checkBreakerRelapse,
	"ABreakerOpensByTheShareOfFailures":                     checkBreakerRatio,
	"AProbeThatWasNotSentIsFollowedByAnother":               checkBreakerProbe,
	"AnOpenBreakerHoldsUpNobodyElse":                        checkBreakerAndOthers,
	"ReplicasShareAnEndpointsRate":                          checkRate,
	"ASuccessorWaitsForItsToken":                            checkRateOfSuccessors,
	"ARateIsSpentByItsOwnEndpointAlone":                     checkRateAmongOthers,
	"EventsAreListedByTimeAndByEndpointInPages":             checkEvents,
	"WhatHasExpiredIsTrimmedFromTheListOfEvents":            checkTrim,
	"AWaybillShowsItsEventsDeliveriesAndAttempts":           checkEventAndWaybill,
	"AnEventKnowsItsCallbackAndThoseThatItCameAgainIn":      checkOrigin,
	"DeadLettersOfAllEndpointsAreListedAndDismissed":        checkDeadLetters,
	"ADismissedDeadLetterExpires":                           checkDismissedExpires,
	"EventsOfAPageGetTheirData":                             checkData,
	"AnEndpointThatAnswersTwiceIsKnownUntilItIsResumed":     checkTwice,
	"HealthShowsDepthParkingAndTheLatestAttempts":           checkHealth,
	"AnEndpointThatIsPausedTwiceNamesWhoPausedItFirst":      checkPausedTwice,
	"TheLogOfAnEndpointTellsWhatHappenedAndWhoDidIt":        checkLog,
	"TheLogOfAnEndpointTellsOfItsBreakerAndOfGone":          checkLogOfBreaker,
	"TheLogOfAnEndpointIsBounded":                           checkLogIsBounded,
	"OneOfManyReplicasTellsOfAChangeOfSettings":             checkSettingsOnce,
	"AttemptsAreListedInPages":                              checkAttemptPages,
	"AnAttemptThatFailedKeepsWhereItCameFrom":               checkAttemptOrigin,
	"AnEndpointFailsSinceTheFirstOfTheFailuresInARow":       checkFailingSince,
	"AReplaySendsAgainAndGoesOnWhereItWas":                  checkReplay,
	"TenantsShareReplaysAndNoTwoHaveOneID":                  checkReplaysOfManyTenants,
	"TheLatestReplaysOfATenantAreKept":                      checkReplaysThatAreKept,
	"ReplicasAgreeOnTheLatestCallback":                      checkLastCallback,
	"ReplicasAreListedUntilTheyStopOrFallSilent":            checkReplicas,
	"TheLatestDeliveriesOfEndpointsAreKnown":                checkLastDelivered,
	"OneReplicaAtATimeDoesWhatOnlyOneMay":                   checkLock,
	"AnOutcomeSettledAgainLeavesAnothersSuccessorAlone":     checkSettledTwiceByTwo,
	"OfALimitedEndpointOnlyOneOfALineIsHandedOver":          checkLimitedLine,
	"WhatRedisEvictedLeavesTheQueue":                        checkEvicted,
	"ARampGoesOnAfterItsHolderHasDied":                      checkRampLapses,
	"AResumedEndpointHasItsFailuresForgiven":                checkResumeForgives,
	"TrimmingEndsThoughEventsSurvive":                       checkTrimEnds,
	"StatisticsOfReplicasAddUp":                             checkStats,
	"StatisticsThatAreAddedAgainCountOnce":                  checkStatsOnce,
	"ARowOfStatisticsHasAtMost64Bytes":                      checkStatsRow,
	"StatisticsExpire":                                      checkStatsExpire,
	"TheAuditGivesActsBackTheLatestFirstInPages":            checkAudit,
	"ActsThatAreAlikeWithinAMinuteAreOneEntry":              checkActsThatAreAlike,
	"WhoFloodsTheAuditLosesItsOwnOldestEntries":             checkAuditShares,
	"TheAuditForgetsWhatIsOld":                              checkAuditForgets,
}

// bench is what a check works with: stores that share one hash tag, and shorthands.
type bench struct {
	Backend
	tag string
}

// prefix is what the keys of the stores begin with.
func (b *bench) prefix() string { return "{" + b.tag + "}" + db.Form + ":" }

// some is n, or fewer on a slow Redis.
func (b *bench) some(n int) int {
	if b.Slow {
		return n / 5
	}
	return n
}

// replica is everything that is kept in one Redis, as one replica of the relay has it.
type replica struct {
	*db.DB
	*store.Store
	*subscriptions.Ledger
	*replays.List
	*notices.Board
}

// options are those of the packages.
type options struct {
	Clock                            func() time.Time
	Settings                         settings
	Brands                           []string
	Replica                          string
	History                          int
	QuarantineCount, QuarantineBytes int
	AuditCount, AuditShare           int
}

// settings are those of the packages.
type settings struct {
	Window, BareWindow             time.Duration
	Retention, DeadLetterRetention time.Duration
	StatsTTL                       time.Duration
	Pacing                         map[string]queue.Pacing
	SubscriptionTTL, SignedTTL     time.Duration
	NoRecord                       []time.Duration
	SubscriptionsMax               int
	ClaimTTL                       time.Duration
	UpstreamRate, QueryRate        float64
	Silence                        ledger.Silence
	Watches                        map[string]ledger.Watch
}

func (s settings) ofStore() store.Settings {
	return store.Settings{
		Window: s.Window, BareWindow: s.BareWindow, Retention: s.Retention, DeadLetterRetention: s.DeadLetterRetention,
		SubscriptionTTL: s.SubscriptionTTL, SignedTTL: s.SignedTTL, StatsTTL: s.StatsTTL, Pacing: s.Pacing,
	}
}

func (s settings) ofLedger() subscriptions.Settings {
	return subscriptions.Settings{
		TTL: s.SubscriptionTTL, SignedTTL: s.SignedTTL, NoRecord: s.NoRecord, Max: s.SubscriptionsMax,
		ClaimTTL: s.ClaimTTL, UpstreamRate: s.UpstreamRate, Silence: s.Silence, QueryRate: s.QueryRate,
		Watches: s.Watches,
	}
}

func (b *bench) open(t *testing.T, o options) *replica {
	t.Helper()
	// Two minutes: a busy machine is no failure.
	d, err := db.New(db.Options{URL: b.URL, Tag: b.tag, Clock: o.Clock, Timeout: 2 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return &replica{
		DB: d,
		Store: store.New(d, store.Options{
			Settings: o.Settings.ofStore(), Brands: o.Brands, Replica: o.Replica, History: o.History,
			QuarantineCount: o.QuarantineCount, QuarantineBytes: o.QuarantineBytes,
			AuditCount: o.AuditCount, AuditShare: o.AuditShare,
		}),
		Ledger: subscriptions.New(d, o.Settings.ofLedger()),
		List:   replays.New(d),
		Board:  notices.New(d),
	}
}

const lease = time.Minute

// update makes an event with track times: content tells one from another.
func update(waybill, content string) *event.Event {
	sum := sha256.Sum256([]byte(waybill + "\x00" + content))
	return &event.Event{
		ID: "evt_" + hex.EncodeToString(sum[:]), Type: event.TypeWaybill, WaybillCode: waybill, CPCode: "zt", Status: content,
		Data:       fmt.Appendf(nil, `{"waybill_code":%q,"content":%q}`, waybill, content),
		ReceivedAt: time.UnixMilli(1_700_000_000_000),
	}
}

func bare(waybill, status string) *event.Event {
	e := update(waybill, status)
	e.Bare = true
	return e
}

func to(endpoints ...string) []queue.Candidate {
	var out []queue.Candidate
	for _, ep := range endpoints {
		out = append(out, queue.Candidate{Endpoint: ep, When: event.Always, Ordered: true, Lease: lease})
	}
	return out
}

func slot(cs []queue.Candidate) []queue.Candidate {
	for i := range cs {
		cs[i].Slot = true
	}
	return cs
}

func accept(t *testing.T, s *replica, routed ...queue.Routed) []queue.Accepted {
	t.Helper()
	out, err := s.Accept(t.Context(), routed)
	if err != nil {
		t.Fatal(err)
	}
	if len(out) != len(routed) {
		t.Fatalf("%d answers to %d events", len(out), len(routed))
	}
	return out
}

func acceptOne(t *testing.T, s *replica, e *event.Event, cs []queue.Candidate) queue.Accepted {
	t.Helper()
	return accept(t, s, queue.Routed{Event: e, To: cs})[0]
}

func take(t *testing.T, s *replica, endpoint string, most int) []*event.Delivery {
	t.Helper()
	return takeFor(t, s, endpoint, most, lease)
}

func takeFor(t *testing.T, s *replica, endpoint string, most int, span time.Duration) []*event.Delivery {
	t.Helper()
	ds, _, err := s.Lease(t.Context(), []queue.LeaseRequest{{Endpoint: endpoint, Lease: span, Most: most}})
	if err != nil {
		t.Fatal(err)
	}
	return ds
}

func takeOne(t *testing.T, s *replica, endpoint string) *event.Delivery {
	t.Helper()
	ds := take(t, s, endpoint, 1)
	if len(ds) != 1 {
		t.Fatalf("leased %d deliveries, want 1", len(ds))
	}
	return ds[0]
}

func settle(t *testing.T, s *replica, d *event.Delivery, kind queue.OutcomeKind,
	change ...func(*queue.Outcome)) queue.Settled {
	t.Helper()
	o := queue.Outcome{Delivery: d, Kind: kind, Attempt: &event.Attempt{Status: 200}}
	for _, f := range change {
		f(&o)
	}
	got, err := s.Settle(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return got[0]
}

func next(o *queue.Outcome) { o.Next = lease }

// settleLine settles deliveries of one line in one call, all of them delivered but the last, which is of the kind
// given; up to 10 of what comes next are wanted.
func settleLine(t *testing.T, s *replica, kind queue.OutcomeKind, line ...*event.Delivery) []queue.Settled {
	t.Helper()
	os := make([]queue.Outcome, len(line))
	for i, d := range line {
		os[i] = queue.Outcome{Delivery: d, Kind: queue.Delivered, Attempt: &event.Attempt{Status: 200}}
	}
	last := &os[len(os)-1]
	last.Kind, last.Due, last.Next, last.Wanted = kind, s.Now().Add(time.Hour), lease, 9
	got, err := s.Settle(t.Context(), os...)
	if err != nil || len(got) != len(line) {
		t.Fatalf("settle a line: %+v, %v", got, err)
	}
	return got
}
func dueIn(s *replica, d time.Duration) func(*queue.Outcome) {
	return func(o *queue.Outcome) { o.Due = s.Now().Add(d) }
}
func because(reason string) func(*queue.Outcome) { return func(o *queue.Outcome) { o.Reason = reason } }

// until polls a condition; it fails the test after 10 s.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// tidy does what a store does every minute.
func tidy(t *testing.T, s *replica) {
	t.Helper()
	if err := s.Tidy(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func contents(ds []*event.Delivery) []string {
	var out []string
	for _, d := range ds {
		out = append(out, d.Event.WaybillCode+":"+d.Event.Status)
	}
	return out
}

// shifted is a local clock that a check can move: the store's time moves along with it.
type shifted struct{ by atomic.Int64 }

func (c *shifted) now() time.Time          { return time.Now().Add(time.Duration(c.by.Load())) }
func (c *shifted) forward(d time.Duration) { c.by.Add(int64(d)) }
