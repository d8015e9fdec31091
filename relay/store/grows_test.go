package store

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"kuairelay/relay/queue"
	"kuairelay/test/redisserver"
)

// between calls a function after the first pipeline that has a command, once.
type between struct {
	command string
	do      func()
}

func (b *between) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}
func (b *between) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (b *between) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		if do := b.do; do != nil && cmds[0].Name() == b.command {
			b.do = nil
			do()
		}
		return err
	}
}

// An event whose head becomes longer while it is read is read whole all the same.
func TestAnEventThatGrowsWhileItIsReadIsWhole(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what, command string
		size          int
	}{
		{"after its length was asked for", "strlen", 100},
		{"after its length was asked for, in parts", "strlen", 300_000},
		{"between two of its parts", "getrange", 300_000},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			server := redisserver.Start(t)
			s, other := newStore(t, server.URL()), newStore(t, server.URL())
			routed := newRouted("1", "a", "t/a", "t/b", "t/c")
			routed.Event.Data = []byte(`{"text":"` + strings.Repeat("x", c.size) + `","end":true}`)
			for i := range routed.To {
				routed.To[i].Slot = false
			}
			if _, err := other.Accept(t.Context(), []queue.Routed{routed}); err != nil {
				t.Fatal(err)
			}
			leased := 0
			s.db.Client.AddHook(&between{command: c.command, do: func() {
				ds, _, err := other.Lease(t.Context(), []queue.LeaseRequest{{Endpoint: "t/a", Lease: time.Minute, Most: 1}})
				if err != nil {
					t.Error(err)
				}
				leased = len(ds)
			}})

			got, ok, err := s.Event(t.Context(), routed.Event.ID, "")
			if err != nil || !ok || string(got.Data) != string(routed.Event.Data) || leased != 1 {
				t.Errorf("%v, %v, and %d leased meanwhile", ok, err, leased)
			}
		})
	}
}
