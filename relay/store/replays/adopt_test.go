package replays

import (
	"testing"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/store/db"
	"kuairelay/test/redisserver"
)

// A version that knew no lists of tenants wrote a replay into that of all, and no other.
func TestReplaysOfAnOlderVersionAreListedForTheirTenants(t *testing.T) {
	t.Parallel()
	d, err := db.New(db.Options{URL: redisserver.Start(t).URL(), Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	l := New(d)
	want := make(map[string]string) // tenants by replay
	for _, tenant := range []string{"shop", "crm", "shop"} {
		r, err := l.NewReplay(t.Context(), event.Replay{Tenant: tenant, Filter: []byte("{}")})
		if err != nil {
			t.Fatal(err)
		}
		want[r.ID] = tenant
	}
	for _, tenant := range []string{"shop", "crm"} {
		if err := d.Client.Del(t.Context(), l.tenantReplaysKey(tenant)).Err(); err != nil {
			t.Fatal(err)
		}
		if got, _, err := l.Replays(t.Context(), tenant, "", 10); err != nil || len(got) != 0 {
			t.Fatalf("before: %+v, %v", got, err)
		}
	}

	for range 2 { // several replicas may do it at once
		if err := l.Adopt(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for tenant, n := range map[string]int{"shop": 2, "crm": 1} {
		got, _, err := l.Replays(t.Context(), tenant, "", 10)
		if err != nil || len(got) != n {
			t.Errorf("%s has %+v, %v", tenant, got, err)
		}
		for _, r := range got {
			if want[r.ID] != tenant {
				t.Errorf("%s has a replay of %s", tenant, want[r.ID])
			}
		}
		if life := d.Client.PTTL(t.Context(), l.tenantReplaysKey(tenant)).Val(); life <= 0 || life > replayLife {
			t.Errorf("the list of %s lives for %s", tenant, life)
		}
	}
}
