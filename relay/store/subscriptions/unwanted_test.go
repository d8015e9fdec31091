package subscriptions

import (
	"testing"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/store/db"
	"kuairelay/test/redisserver"
)

func TestAWaybillThatNoTenantWantsAnyMoreStaysForADay(t *testing.T) {
	t.Parallel()
	s := newLedger(t, db.Options{URL: redisserver.Start(t).URL(), Timeout: 5 * time.Second}, Settings{})
	w := []event.Waybill{{CPCode: "zt", Code: "1"}}
	for _, tenant := range []string{"t", "u"} {
		if _, err := s.Subscribe(t.Context(), tenant, w); err != nil {
			t.Fatal(err)
		}
	}
	const day = 24 * time.Hour
	for _, step := range []struct {
		tenant string
		short  bool
	}{{"t", false}, {"u", true}} {
		if was, err := s.Unsubscribe(t.Context(), step.tenant, w[0]); err != nil || !was {
			t.Fatal(was, err)
		}
		life := s.db.Client.PTTL(t.Context(), s.entryKey(Entry(w[0]))).Val()
		if (life <= day) != step.short || life < day-time.Minute {
			t.Errorf("when %s does not want it any more it lives for %s", step.tenant, life)
		}
	}
	if _, err := s.Subscribe(t.Context(), "t", w); err != nil {
		t.Fatal(err)
	}
	if life := s.db.Client.PTTL(t.Context(), s.entryKey(Entry(w[0]))).Val(); life <= day {
		t.Errorf("subscribed anew it lives for %s", life)
	}
}
