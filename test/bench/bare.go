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
	bareToken    = "0123456789ab"
	bareID       = "evt_" // and the hash in hexadecimal; Redis has it in base64
	bareShort    = 14     // characters of that in a key
	barePrefix   = "{kuairelay}2:"
	// bareBatch is how many one script has, at most, and bareCalls how many settle at once.
	bareBatch = 64
	bareCalls = 2
	bareDay   = 24 * time.Hour

	// bareBytes writes a number as six bytes.
	bareBytes = `
local char, floor, sub = string.char, math.floor, string.sub
local function six(n)
  local high, low = floor(n / 16777216), n % 16777216
  return char(floor(high / 65536), floor(high / 256) % 256, high % 256, floor(low / 65536), floor(low / 256) % 256,
    low % 256)
end`
	// ARGV: now (ms), lease (ms), endpoint, for each event: hash of its id, record, body. Returns for each 1, or 0 for a
	// duplicate.
	bareAccept = bareBytes + `
local call, P, now, ep, new, due, listed = redis.call, KEYS[1], ARGV[1], ARGV[3], {}, {}, {}
local time, token = six(tonumber(now)), '` + bareToken + `'
for i = 4, #ARGV, 3 do
  local id, record = sub(ARGV[i], 1, 14), P .. ARGV[i + 1]
  local known = call('HMGET', record, 'q', 'o', 'k', 'h', 'i:' .. id, 's:zt', 'h:' .. ep)
  new[#new + 1] = known[5] and 0 or 1
  if not known[5] then
    local text = ARGV[i + 1] .. '\t' .. ep .. '\t'
    local length = 89 + #text
    call('SET', P .. 'e:' .. id, char(0, floor(length / 256), length % 256, 0, 1) .. 'w-' .. time .. time .. token
      .. sub(ARGV[i], 15) .. char(0, 0, #ARGV[i + 1]) .. 'ln\0\0' .. token .. '\0\0\0\0\0\0\0\0\0\0' .. text
      .. ARGV[i + 2], 'NX')
    call('HSET', record, 'i:' .. id, now, 's:zt', time .. time .. 'sending', 'q', now, 'h', id)
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
	// ARGV: now (ms), lease (ms), endpoint, most. Returns {hash of its id, body} of each.
	bareLease = `
local call, P, ep, rows, keys, due, sub = redis.call, KEYS[1], ARGV[3], {}, {}, {}, string.sub
local ids = call('ZRANGEBYSCORE', P .. 'q:' .. ep, '-inf', ARGV[1], 'LIMIT', 0, ARGV[4])
if #ids == 0 then return rows end
for i = 1, #ids do keys[i], due[#due + 1], due[#due + 2] = P .. 'e:' .. ids[i], ARGV[2], ids[i] end
local values = call('MGET', unpack(keys))
for i = 1, #ids do
  local value = values[i]
  local _, high, low = string.byte(value, 1, 3)
  local length, state = high * 256 + low, 'ln\0\0` + bareToken + `\0\0\0\0\0\0\0\0\0\0'
  call('SETRANGE', keys[i], '63', state)
  rows[i] = {ids[i] .. sub(value, 32, 60), sub(value, length + 1)}
end
call('ZADD', P .. 'q:' .. ep, unpack(due))
return rows`
	// ARGV: now (ms), dedupe.window (ms), endpoint, for each event: id in its key.
	bareSettle = bareBytes + `
local call, P, ep, ids, delivered, time = redis.call, KEYS[1], ARGV[3], {}, {}, six(tonumber(ARGV[1]))
for i = 4, #ARGV do
  local id = ARGV[i]
  local head = call('GETRANGE', P .. 'e:' .. id, '0', '255')
  local record = sub(head, 90, 89 + string.byte(head, 63))
  call('SETRANGE', P .. 'e:' .. id, '63', 'dn\0\1` + bareToken + `' .. time .. '\0\0\0\1')
  call('PEXPIRE', P .. record, ARGV[2])
  ids[#ids + 1], delivered[#delivered + 1] = id, ARGV[1] .. ' 200 1 1 ' .. id .. sub(head, 32, 60)
end
call('ZREM', P .. 'q:' .. ep, unpack(ids))
call('LPUSH', P .. 'd:' .. ep, unpack(delivered))
call('LTRIM', P .. 'd:' .. ep, 0, 499)
return 1`
	leastSettle = `
for i = 4, #ARGV do redis.call('PEXPIRE', KEYS[1] .. 'b:' .. ARGV[i], ARGV[2]) end
redis.call('ZREM', KEYS[1] .. 'q:' .. ARGV[3], unpack(ARGV, 4))
return 1`
)

// bareDelivery is an event on its way through the bare relay.
type bareDelivery struct {
	hash, record string
	event        *event.Event
	kept         chan struct{} // closed when Redis has it
}

// key is the event's id in its key, which the durable forwarder does not shorten.
func (d *bareDelivery) key(least bool) string {
	if least {
		return d.hash
	}
	return d.hash[:bareShort]
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
		return func(args ...any) *redis.Cmd { return s.Run(ctx, client, []string{barePrefix}, args...) }
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
				hash, _ := r[0].(string)
				body, _ := r[1].(string)
				_, data, _ := strings.Cut(body, "\n")
				sum, err := base64.RawURLEncoding.DecodeString(hash)
				fail(err)
				posts <- &bareDelivery{hash: hash, event: &event.Event{ID: bareID + hex.EncodeToString(sum),
					Type: event.TypeWaybill, Data: []byte(data)}}
			}
		}
	}()
	go func() {
		for {
			batch := gather(came)
			args := []any{time.Now().UnixMilli(), leaseEnds(), bareEndpoint}
			for _, d := range batch {
				args = append(args, d.hash, d.record, d.event.Data)
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
				args := []any{time.Now().UnixMilli(), (3 * bareDay).Milliseconds(), bareEndpoint}
				for _, d := range gather(done) {
					args = append(args, d.key(o.Least))
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
			d := &bareDelivery{hash: base64.RawURLEncoding.EncodeToString(sum), record: "w:" + e.WaybillCode, event: e,
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
