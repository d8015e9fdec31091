package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/redis/go-redis/v9"

	"kuairelay/relay/signature"
)

// The durable forwarder is the third reference: what a relay that keeps its promises cannot do without. It answers a callback when Redis
// has its body and knows that it is to be delivered, knows a duplicate by its content, signs, and tells Redis of what was delivered, each
// in one script for many. It does not read what it relays, and so knows neither waybills nor their order, routes, tenants, or brands; it
// keeps no state of a delivery, no history, no list of events, and no log; it leases nothing, and retries nothing.

// durableOptions say where the durable forwarder posts to, and where its Redis is.
type durableOptions struct {
	URL   string `json:"url"`
	Redis string `json:"redis"`
}

const (
	durableAccept = `
local P, new, due = KEYS[1], {}, {}
for i = 2, #ARGV, 2 do
  new[#new + 1] = redis.call('SET', P .. 'b:' .. ARGV[i], ARGV[i + 1], 'NX') and 1 or 0
  if new[#new] == 1 then due[#due + 1], due[#due + 2] = ARGV[1], ARGV[i] end
end
if #due > 0 then redis.call('ZADD', P .. 'q', unpack(due)) end
return new`
	durableSettle = `
local P = KEYS[1]
for i = 2, #ARGV do redis.call('PEXPIRE', P .. 'b:' .. ARGV[i], ARGV[1]) end
redis.call('ZREM', P .. 'q', unpack(ARGV, 2))
return 1`
	// durableBatch is how many one script has, at most, and durableCalls how many of each are under way at once.
	durableBatch = 64
	durableCalls = 2
)

// relayed is a callback on its way through the durable forwarder.
type relayed struct {
	id      string
	body    []byte
	durable chan struct{} // closed when it is
}

// gather waits for one, and takes what else there is, up to most.
func gather(from <-chan *relayed, most int) []*relayed {
	batch := []*relayed{<-from}
	for len(batch) < most {
		select {
		case r := <-from:
			batch = append(batch, r)
		default:
			return batch
		}
	}
	return batch
}

// runDurable is the part "durable".
func runDurable(ctx context.Context, text []byte, out io.Writer) error {
	var o durableOptions
	if err := json.Unmarshal(text, &o); err != nil {
		return err
	}
	at, err := redis.ParseURL(o.Redis)
	if err != nil {
		return err
	}
	key, err := signature.ParseKey(secret)
	if err != nil {
		return err
	}
	server, keys, client := redis.NewClient(at), []signature.Key{key}, newClient(forwarderWorkers)
	prefix, accept, settle := []string{"{durable}:"}, redis.NewScript(durableAccept), redis.NewScript(durableSettle)
	came, posts, done := make(chan *relayed, forwarderQueue), make(chan *relayed, forwarderQueue), make(chan *relayed, forwarderQueue)
	fail := func(err error) {
		if err != nil && ctx.Err() == nil {
			panic(err) // the benchmark fails: a delivery is lost
		}
	}
	for range durableCalls {
		go func() {
			for {
				batch := gather(came, durableBatch)
				args := []any{time.Now().UnixMilli()}
				for _, r := range batch {
					args = append(args, r.id, r.body)
				}
				fresh, err := accept.Run(ctx, server, prefix, args...).Int64Slice()
				fail(err)
				for i, r := range batch {
					close(r.durable)
					if i < len(fresh) && fresh[i] == 1 {
						posts <- r
					}
				}
			}
		}()
		go func() {
			for {
				args := []any{(48 * time.Hour).Milliseconds()}
				for _, r := range gather(done, durableBatch) {
					args = append(args, r.id)
				}
				fail(settle.Run(ctx, server, prefix, args...).Err())
			}
		}()
	}
	for range forwarderWorkers {
		go func() {
			for r := range posts {
				fail(post(ctx, client, o.URL, r.body, signed(keys, r.id, time.Now(), r.body)))
				done <- r
			}
		}()
	}
	e := echo.New()
	e.POST("/callback/:token", func(c echo.Context) error {
		body, err := bodyOf(c)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(body)
		r := &relayed{id: "evt_" + hex.EncodeToString(sum[:]), body: body, durable: make(chan struct{})}
		came <- r
		<-r.durable
		return c.String(http.StatusOK, "success")
	})
	return serve(ctx, e, out)
}

// newDurable starts a Redis as a relay's, and a durable forwarder with it, which posts everything to the first endpoint.
func (s *session) newDurable(ctx context.Context) (*stand, error) {
	st, err := s.newStand("durable forwarder", "everysec")
	if err != nil {
		return nil, err
	}
	var url string
	if st.process, url, err = startServer(ctx, "durable", durableOptions{URL: s.urls(1)[0], Redis: st.redis.URL()}); err != nil {
		st.close()
		return nil, fmt.Errorf("durable forwarder: %w", err)
	}
	st.push = url + "/callback/" + token
	return st, nil
}

// measureDurable pushes callbacks to the durable forwarder.
func measureDurable(ctx context.Context, s *session) (figures, error) {
	st, err := s.newDurable(ctx)
	if err != nil {
		return figures{}, err
	}
	defer st.close()
	return s.flood(ctx, st, 1)
}
