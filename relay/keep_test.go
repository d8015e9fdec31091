package relay

import (
	"strings"
	"testing"
	"testing/synctest"

	"go.uber.org/zap"
)

// A callback whose routing takes long goes to the spool. Redis was not asked yet, and is not said to be slow: the keeper of
// this test has none that could be doubted.
func TestSlowRoutingIsNotTakenForASlowRedis(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := &keeper{log: zap.NewNop()}
		o, ended := k.await(make(chan struct{}), make(chan outcome))
		if ended || o.err == nil || !strings.Contains(o.err.Error(), "when expressions") {
			t.Errorf("got %v, %v", o.err, ended)
		}
	})
}
