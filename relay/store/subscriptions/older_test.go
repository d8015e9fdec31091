package subscriptions

import (
	"os"
	"testing"
	"testing/fstest"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/ledger"
	"kuairelay/relay/store/db"
	"kuairelay/test/redisserver"
)

func newLedger(t *testing.T, of db.Options, set Settings) *Ledger {
	t.Helper()
	d, err := db.New(of)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	if err := d.EnsureClock(t.Context()); err != nil {
		t.Fatal(err)
	}
	return New(d, set)
}

// older runs a script as a version did that does not ask again for waybills without a record.
func older(t *testing.T, s *Ledger, name string, libs []string, args ...any) []any {
	t.Helper()
	own, err := os.ReadFile("testdata/older-" + name + ".lua")
	if err != nil {
		t.Fatal(err)
	}
	script := db.NewScript(fstest.MapFS{"lua/older.lua": {Data: own}}, "older", libs...)
	answer, err := script.Run(t.Context(), s.db.Client, []string{s.db.Prefix}, args...).Slice()
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// olderClaim claims a waybill, and says whether that succeeded.
func olderClaim(t *testing.T, s *Ledger, at time.Time, token, entry string) bool {
	t.Helper()
	row, _ := older(t, s, "claim", []string{"rate"}, at.UnixMilli(), token, 10_000, 1, entry)[1].([]any)
	return db.Number(row[0]) == 1
}

func TestAnOlderReplicaLeavesWhatIsAskedForAgainToNewerOnes(t *testing.T) {
	t.Parallel()
	set := Settings{NoRecord: []time.Duration{time.Minute, time.Hour}, ClaimTTL: 10 * time.Second, UpstreamRate: 1e6}
	ahead := time.Duration(0)
	s := newLedger(t, db.Options{URL: redisserver.Start(t).URL(), Timeout: 5 * time.Second,
		Clock: func() time.Time { return time.Now().Add(ahead) }}, set)
	w := []event.Waybill{{CPCode: "zt", Code: "1"}}
	none := ledger.Answer{Code: 201101, Msg: "none"}
	begin := func() {
		t.Helper()
		if _, err := s.Subscribe(t.Context(), "a", w); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Claim(t.Context(), "first", w); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Answered(t.Context(), "first", w, ledger.NoRecord, none); err != nil || got[0].RetryAt.IsZero() {
			t.Fatalf("%+v %v", got, err)
		}
	}
	begin()

	// It does not ask before the time, nor hands it out; a request that comes to it when it is due asks.
	if olderClaim(t, s, s.db.Now(), "older", "zt 1") {
		t.Error("an older replica asks before the time")
	}
	ahead = 2 * time.Minute
	if got := older(t, s, "takeover", nil, s.db.Now().UnixMilli(), 10_000, 10); len(got) != 0 {
		t.Errorf("an older replica takes %v over", got)
	}
	if !olderClaim(t, s, s.db.Now(), "older", "zt 1") {
		t.Error("an older replica cannot ask for what is due")
	}
	if got, err := s.TakeOver(t.Context(), 10); err != nil || len(got) != 0 {
		t.Errorf("it is handed out while an older replica asks: %v (%v)", got, err)
	}

	// Its answer is final, as it was before. Nothing is left, and the next subscription begins anew.
	older(t, s, "answer", []string{"ledger"}, s.db.Now().UnixMilli(), "older", 3_600_000, "zt 1", "f", 201101, "none", "")
	x, _, err := s.Subscription(t.Context(), "a", w[0])
	if err != nil || x.State != ledger.Failed || !x.RetryAt.IsZero() {
		t.Errorf("%+v %v", x, err)
	}
	ahead = time.Hour
	if got, err := s.TakeOver(t.Context(), 10); err != nil || len(got) != 0 {
		t.Errorf("handed out: %v (%v)", got, err)
	}
	begin()
	x, _, err = s.Subscription(t.Context(), "a", w[0])
	if err != nil || x.RetryAt.Sub(s.db.Now()) > time.Minute {
		t.Errorf("it is asked for again in %s (%v)", x.RetryAt.Sub(s.db.Now()), err)
	}

	// An older replica that has claimed it, and dies, leaves it to a newer one.
	ahead = 2 * time.Hour
	olderClaim(t, s, s.db.Now(), "dies", "zt 1")
	ahead += time.Minute
	got, err := s.TakeOver(t.Context(), 10)
	if err != nil || len(got) != 1 || got[0].Waybill != w[0] {
		t.Errorf("handed out: %v (%v)", got, err)
	}
	if _, c, err := s.Claim(t.Context(), "newer", w); err != nil || !c[0].Mine || !c[0].Unknown {
		t.Errorf("%+v %v", c, err)
	}
	if got, err := s.Answered(t.Context(), "newer", w, ledger.Accepted, ledger.Answer{}); err != nil ||
		got[0].State != ledger.Live {
		t.Errorf("%+v %v", got, err)
	}
}
