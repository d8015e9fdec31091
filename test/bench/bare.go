package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/redis/go-redis/v9"

	"kuairelay/relay/deliver"
	"kuairelay/relay/event"
	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/signature"
)

// The bare relay is the third reference: what the relay's promises cost without its logic. It parses callbacks as the
// relay does, answers them when Redis has their events, and posts these with the relay's client; a backlog it leases
// from Redis. In Redis it keeps what the relay keeps of a new event that goes to one endpoint, by the same commands on
// the same keys, each in one script for many. But its scripts decide nothing: it matches no routes, keeps no order,
// checks no lease, counts no failures, and tries nothing again, and it writes no log and no metrics. So no relay that
// keeps its state like this is faster.
//
// The durable forwarder is the same with the least that is durable: it does not parse, Redis has a body and that it is
// to be delivered, and a duplicate is known by its bytes. So no relay with these libraries is faster, however it keeps
// its state.

// bareOptions say where the bare relay posts to, where its Redis is, and whether it is only the durable forwarder.
type bareOptions struct {
	URL   string `json:"url"`
	Redis string `json:"redis"`
	Least bool   `json:"least"`
}

const (
	bareEndpoint = "bench/e0" // as oneTenant names it
	bareToken    = "0123456789abcdef"
	bareID       = "evt_" // and the hash in hexadecimal; Redis has it in base64
	// bareBatch is how many one script has, at most, and bareCalls how many settle at once.
	bareBatch = 64
	bareCalls = 2
	bareDay   = 24 * time.Hour

	// ARGV: now (ms), lease (ms), endpoint, for each event: id, record, body. Returns for each 1, or 0 for a duplicate.
	bareAccept = `
local call, P, now, ep, new, due, listed = redis.call, KEYS[1], ARGV[1], ARGV[3], {}, {}, {}
for i = 4, #ARGV, 3 do
  local id, record = ARGV[i], P .. ARGV[i + 1]
  local known = call('HMGET', record, 'q', 'o', 'p', 'k', 'h', 'i:' .. id, 's:zt', 'h:' .. ep)
  new[#new + 1] = known[6] and 0 or 1
  if not known[6] then
    call('SET', P .. 'b:' .. id, ARGV[i + 2], 'NX')
    call('HSET', P .. 'e:' .. id, 'w', ARGV[i + 1], 'q', now, 't', now, 'c', '` + bareToken + `', 'o', '1',
      ep, 'l0 n ` + bareToken + ` ')
    call('HSET', record, 'i:' .. id, now, 'q', now, 's:zt', 'sending', 'o', '1', 'h', id)
    due[#due + 1], due[#due + 2], listed[#listed + 1] = ARGV[2], id, id .. ' xx'
  end
end
if #due > 0 then
  call('ZADD', P .. 'q:' .. ep, unpack(due))
  call('RPUSH', P .. 'v:1', unpack(listed))
end
return new`
	leastAccept = `
local call, P, new, due = redis.call, KEYS[1], {}, {}
for i = 4, #ARGV, 3 do
  new[#new + 1] = call('SET', P .. 'b:' .. ARGV[i], ARGV[i + 2], 'NX') and 1 or 0
  if new[#new] == 1 then due[#due + 1], due[#due + 2] = ARGV[2], ARGV[i] end
end
if #due > 0 then call('ZADD', P .. 'q:' .. ARGV[3], unpack(due)) end
return new`
	// ARGV: now (ms), lease (ms), endpoint, most. Returns {id, body} of each.
	bareLease = `
local call, P, ep, rows, bodies, due = redis.call, KEYS[1], ARGV[3], {}, {}, {}
local ids = call('ZRANGEBYSCORE', P .. 'q:' .. ep, '-inf', ARGV[1], 'LIMIT', 0, ARGV[4])
if #ids == 0 then return rows end
for i = 1, #ids do
  call('HMGET', P .. 'e:' .. ids[i], ep, 'q', 't')
  call('HSET', P .. 'e:' .. ids[i], ep, 'l0 n ` + bareToken + ` ')
  bodies[i], due[#due + 1], due[#due + 2] = P .. 'b:' .. ids[i], ARGV[2], ids[i]
end
bodies = call('MGET', unpack(bodies))
for i = 1, #ids do rows[i] = {ids[i], bodies[i]} end
call('ZADD', P .. 'q:' .. ep, unpack(due))
return rows`
	// ARGV: now (ms), retention (ms), dedupe.window (ms), endpoint, for each event: id.
	bareSettle = `
local call, P, ep, ids, delivered = redis.call, KEYS[1], ARGV[4], {}, {}
for i = 5, #ARGV do
  local id = ARGV[i]
  local record = P .. call('HMGET', P .. 'e:' .. id, 'w', 'o', 'x', 's', ep)[1]
  call('HMGET', record, 'o', 'k', 'h')
  call('PEXPIRE', P .. 'b:' .. id, ARGV[2])
  call('HSET', P .. 'e:' .. id, ep, 'd0 n ` + bareToken + ` ' .. ARGV[1] .. ' 200 1', 'o', '0')
  call('PEXPIRE', P .. 'e:' .. id, ARGV[2])
  call('PEXPIRE', record, ARGV[3])
  call('HDEL', record, 'o', 'h')
  ids[#ids + 1], delivered[#delivered + 1] = id, ARGV[1] .. ' 200 1 1 ' .. id
end
call('ZREM', P .. 'q:' .. ep, unpack(ids))
call('LPUSH', P .. 'd:' .. ep, unpack(delivered))
call('LTRIM', P .. 'd:' .. ep, 0, 199)
return 1`
	leastSettle = `
for i = 5, #ARGV do redis.call('PEXPIRE', KEYS[1] .. 'b:' .. ARGV[i], ARGV[2]) end
redis.call('ZREM', KEYS[1] .. 'q:' .. ARGV[4], unpack(ARGV, 5))
return 1`
)

// bareDelivery is an event on its way through the bare relay.
type bareDelivery struct {
	id, record string
	event      *event.Event
	kept       chan struct{} // closed when Redis has it
}

// wallClock is what a Pool needs of a store to make a test delivery.
type wallClock struct{ deliver.Store }

func (wallClock) Now() time.Time { return time.Now() }

// gather waits for one, and takes what else there is, up to bareBatch.
func gather(from <-chan *bareDelivery) []*bareDelivery {
	batch := []*bareDelivery{<-from}
	for len(batch) < bareBatch {
		select {
		case d := <-from:
			batch = append(batch, d)
		default:
			return batch
		}
	}
	return batch
}

// eventsOf is what a callback has: its bytes, for the durable forwarder.
func (o bareOptions) eventsOf(contentType string, body []byte) []*event.Event {
	if !o.Least {
		return kuaidihelp.Parse(contentType, body, time.Now()).Events
	}
	sum := sha256.Sum256(body)
	return []*event.Event{{ID: bareID + hex.EncodeToString(sum[:]), Type: event.TypeWaybill, Data: body}}
}

// runBare is the part "bare": it delivers the backlog that it finds, and takes callbacks.
func runBare(ctx context.Context, text []byte, out io.Writer) error {
	var o bareOptions
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
	pool, err := deliver.New(deliver.Options{Store: wallClock{}, Settings: deliver.Settings{
		Endpoints: []*deliver.Endpoint{{Name: bareEndpoint, URL: o.URL, Keys: []deliver.Key{{Key: key}},
			Timeout: time.Minute}},
		Egress: deliver.Egress{AllowCIDRs: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
	}})
	if err != nil {
		return err
	}
	fail := func(err error) {
		if err != nil && ctx.Err() == nil {
			panic(err) // the benchmark fails: a delivery is lost
		}
	}
	client := redis.NewClient(at)
	script := func(text string) func(args ...any) *redis.Cmd {
		s := redis.NewScript(text)
		return func(args ...any) *redis.Cmd { return s.Run(ctx, client, []string{"{kuairelay}:"}, args...) }
	}
	accept, lease, settle := script(bareAccept), script(bareLease), script(bareSettle)
	if o.Least {
		accept, settle = script(leastAccept), script(leastSettle)
	}
	came, posts, done := make(chan *bareDelivery, forwarderQueue), make(chan *bareDelivery, 4*callers),
		make(chan *bareDelivery, callers)
	leaseEnds := func() int64 { return time.Now().Add(time.Minute).UnixMilli() }

	go func() {
		for {
			rows, err := lease(time.Now().UnixMilli(), leaseEnds(), bareEndpoint, bareBatch).Slice()
			fail(err)
			if len(rows) == 0 {
				return
			}
			for _, row := range rows {
				r, _ := row.([]any)
				id, _ := r[0].(string)
				body, _ := r[1].(string)
				_, data, _ := strings.Cut(body, "\n")
				sum, err := base64.RawURLEncoding.DecodeString(id)
				fail(err)
				posts <- &bareDelivery{id: id, event: &event.Event{ID: bareID + hex.EncodeToString(sum), Type: event.TypeWaybill,
					Data: []byte(data)}}
			}
		}
	}()
	go func() {
		for {
			batch := gather(came)
			args := []any{time.Now().UnixMilli(), leaseEnds(), bareEndpoint}
			for _, d := range batch {
				args = append(args, d.id, d.record, d.event.Data)
			}
			fresh, err := accept(args...).Int64Slice()
			fail(err)
			for i, d := range batch {
				close(d.kept)
				if i < len(fresh) && fresh[i] == 1 {
					posts <- d
				}
			}
		}
	}()
	for range bareCalls {
		go func() {
			for {
				args := []any{time.Now().UnixMilli(), (2 * bareDay).Milliseconds(), (3 * bareDay).Milliseconds(), bareEndpoint}
				for _, d := range gather(done) {
					args = append(args, d.id)
				}
				fail(settle(args...).Err())
			}
		}()
	}
	for range callers {
		go func() {
			for d := range posts {
				a, err := pool.SendTest(context.Background(), bareEndpoint, d.event)
				if err == nil && a.Status != http.StatusOK {
					err = fmt.Errorf("a delivery was answered %d %s", a.Status, a.Err)
				}
				fail(err)
				done <- d
			}
		}()
	}
	e := echo.New()
	e.POST("/callback/:token", func(c echo.Context) error {
		body, err := bodyOf(c)
		if err != nil {
			return err
		}
		for _, e := range o.eventsOf(c.Request().Header.Get("Content-Type"), body) {
			sum, err := hex.DecodeString(strings.TrimPrefix(e.ID, bareID))
			if err != nil {
				return err
			}
			d := &bareDelivery{id: base64.RawURLEncoding.EncodeToString(sum), record: "w:" + e.WaybillCode, event: e,
				kept: make(chan struct{})}
			came <- d
			<-d.kept
		}
		return c.String(http.StatusOK, "success")
	})
	return serve(ctx, e, out)
}

// launchBare starts a bare relay, or a durable forwarder, on a stand's Redis, which posts everything to the first
// endpoint.
func launchBare(least bool) func(*stand, context.Context) error {
	return func(st *stand, ctx context.Context) error {
		p, url, err := startServer(ctx, "bare", bareOptions{URL: st.s.urls(1)[0], Redis: st.redis.URL(), Least: least})
		if err != nil {
			return fmt.Errorf("%s: %w", st.name, err)
		}
		st.process, st.push, st.admin = p, url+"/callback/"+token, ""
		return nil
	}
}

// measureBare pushes callbacks to the bare relay, or to the durable forwarder.
func measureBare(name string, least bool) measurement {
	return func(ctx context.Context, s *session) (figures, error) {
		st, err := s.newStand(name, "everysec")
		if err != nil {
			return figures{}, err
		}
		defer st.close()
		if err := launchBare(least)(st, ctx); err != nil {
			return figures{}, err
		}
		return s.flood(ctx, st, 1)
	}
}
