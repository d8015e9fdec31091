package notices

import (
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"kuairelay/relay/store/db"
	"kuairelay/test/redisserver"
)

func newBoard(t *testing.T, server *redisserver.Server) *Board {
	t.Helper()
	d, err := db.New(db.Options{URL: server.URL(), Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return New(d)
}

func TestScriptsRefuseWrongArgumentsBeforeTheyWrite(t *testing.T) {
	t.Parallel()
	b := newBoard(t, redisserver.Start(t))
	for name, c := range map[string]struct {
		script *redis.Script
		args   []any
	}{
		"lead without a span":    {leadNoticesScript, []any{"a"}},
		"tell half a notice":     {tellNoticesScript, []any{"a", 1, 1, "notice"}},
		"tell nothing":           {tellNoticesScript, []any{"a", 1, 1}},
		"adopt without its time": {adoptNoticesScript, []any{1, 1, "notice", "1 1 0"}},
	} {
		_, err := b.run(t.Context(), c.script, c.args...)
		if _, refused := errors.AsType[redis.Error](err); !refused {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := b.db.Client.DBSize(t.Context()).Val(); n != 0 {
		t.Errorf("they wrote %d keys", n)
	}
}

// A full Redis is one of the problems that are told.
func TestAFullRedisKeepsWhatWasTold(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	b := newBoard(t, server)
	if _, err := server.Do("CONFIG", "SET", "maxmemory", "1"); err != nil {
		t.Fatal(err)
	}
	if leads, anew, err := b.LeadNotices(t.Context(), "a", time.Minute); err != nil || !leads || !anew {
		t.Fatal(leads, anew, err)
	}
	told := map[string]string{"x redis_full redis": "1 100 0 {}"}
	if still, err := b.TellNotices(t.Context(), "a", told); err != nil || !still {
		t.Fatal(still, err)
	}
	if err := b.AdoptNotices(t.Context(), map[string]string{"x other redis": "1 100 0 {}"}); err != nil {
		t.Fatal(err)
	}
	if got, err := b.Notices(t.Context()); err != nil || len(got) != 2 {
		t.Errorf("%q, %v", got, err)
	}
}
