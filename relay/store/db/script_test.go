package db

import (
	"errors"
	"testing"

	"github.com/redis/go-redis/v9"

	"kuairelay/test/redisserver"
)

func TestScriptsRefuseWrongArgumentsBeforeTheyWrite(t *testing.T) {
	t.Parallel()
	d := newDB(t, redisserver.Start(t).URL())
	for name, c := range map[string]struct {
		script *redis.Script
		args   []any
	}{
		"clock without a step":     {clockScript, []any{1}},
		"release without a holder": {releaseScript, []any{"only", "x"}},
		"release of another kind":  {releaseScript, []any{"event", "x", "y"}},
	} {
		_, err := d.Do(t.Context(), c.script, c.args)
		var refused redis.Error
		if !errors.As(err, &refused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	left, err := d.Client.Keys(t.Context(), d.Prefix+"*").Result()
	if err != nil || len(left) != 1 || left[0] != d.Key("clock") {
		t.Errorf("they wrote %v (%v)", left, err)
	}
}
