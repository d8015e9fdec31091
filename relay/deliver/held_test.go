package deliver

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestWhoAwaitsHeldOutcomesGoesOnWhenTheLastIsTaken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var p Pool
		began := time.Now()
		p.AwaitHeld(t.Context(), time.Hour)
		first, second := p.held.add(), p.held.add()

		back := make(chan time.Duration)
		go func() {
			p.AwaitHeld(t.Context(), time.Hour)
			back <- time.Since(began)
		}()
		time.Sleep(time.Second)
		first()
		time.Sleep(time.Second)
		second()
		if after := <-back; after != 2*time.Second {
			t.Errorf("it went on after %s", after)
		}
		if p.Held() != 0 {
			t.Errorf("%d are held", p.Held())
		}

		// It waits no longer than it may.
		third := p.held.add()
		began = time.Now()
		p.AwaitHeld(t.Context(), time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		p.AwaitHeld(ctx, time.Hour)
		cancel()
		if after := time.Since(began); after != 2*time.Minute {
			t.Errorf("it waited for %s", after)
		}
		third()
		p.AwaitHeld(t.Context(), time.Hour)
		if after := time.Since(began); after != 2*time.Minute {
			t.Errorf("with none it waited, until %s", after)
		}
	})
}
