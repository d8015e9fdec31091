package intake

import (
	"strings"
	"testing"
	"testing/synctest"

	"go.uber.org/zap"
)

// A callback whose routing takes long goes to the spool. Redis was not asked yet, and is not said to be slow: the intake of
// this test has none that could be doubted.
func TestSlowRoutingIsNotTakenForASlowRedis(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := &Intake{log: zap.NewNop()}
		o, ended := in.await(make(chan struct{}), make(chan outcome))
		if ended || o.err == nil || !strings.Contains(o.err.Error(), "when expressions") {
			t.Errorf("got %v, %v", o.err, ended)
		}
	})
}
