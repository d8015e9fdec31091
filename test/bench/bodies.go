package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"kuairelay/relay/kuaidihelp/fake"
	"kuairelay/test/process"
)

// The cases with callbacks as large as the relay takes them, beside small ones at a low rate. Calm is what those get
// without.
const (
	bodies       = "bodies"
	large        = "large"
	largeAtStart = "large at a start"

	bodyBytes    = 4 << 20 // the default of callback.max_body
	bodiesAtOnce = 64
	largeOnes    = 4
	besideRate   = 50 // small callbacks a second
)

// body is a callback that costs more than its bytes.
type body struct {
	name, contentType string
	text              []byte
}

// worstBodies are those of 4 MiB that cost the relay most to read, or are in the most pieces.
func worstBodies() []body {
	const form, parts, asJSON = "application/x-www-form-urlencoded", "multipart/form-data; boundary=b", "application/json"
	fill := func(head, piece, tail string) []byte {
		n := (bodyBytes - len(head) - len(tail)) / len(piece)
		return []byte(head + strings.Repeat(piece, n) + tail)
	}
	const items = `{"type":"express_sub_msg","data":[`
	return []body{
		{name: "parts of nothing", contentType: parts, text: fill("", "--b\r\n\r\n\r\n", "")},
		{name: "fields of nothing", contentType: form, text: fill("type=express_sub_msg&", "a&", "")},
		{name: "brackets", contentType: form, text: fill("type=express_sub_msg&", "data[7][no]=1&", "")},
		{name: "items of nothing", contentType: asJSON, text: fill(items, "{},", "{}]}")},
		{name: "one item of many tracks", contentType: asJSON, text: fill(items+`{"no":1,"data":[`, "{},", "{}]}]}")},
		{name: "items of one waybill", contentType: asJSON, text: manyItems()},
	}
}

// manyItems is a callback of 466,000 updates, which are all the same.
func manyItems() []byte {
	const head, piece, tail = `{"type":"express_sub_msg","data":[`, `{"no":1},`, `{"no":1}]}`
	return []byte(head + strings.Repeat(piece, (bodyBytes-len(head)-len(tail))/len(piece)) + tail)
}

// small is a config with one endpoint, which gets what the small callbacks have.
func (s *session) small() string {
	return fmt.Sprintf("tenants:\n  - name: bench\n    endpoints: [{name: e0, secrets: [%s], url: '%s'}]\n"+
		"    routes: [{to: e0, match: {waybill_code: \"77*\"}}]\n",
		secret, s.urls(1)[0])
}

// beside measures small callbacks, each of which has to be answered success, and delivered once.
func (s *session) beside(ctx context.Context, st *stand) (figures, error) {
	return s.measure(ctx, st, 1, loadOptions{Rate: besideRate, Duration: 2 * s.Duration})
}

// calm starts a relay, and measures small callbacks while nothing else is asked of it. The caller closes the stand.
func (s *session) calm(ctx context.Context, name string) (st *stand, f figures, err error) {
	st, err = s.newRelay(ctx, name, "everysec", s.small())
	if err != nil {
		return nil, f, err
	}
	err = s.warm(ctx, st, 1)
	if err == nil {
		f, err = s.beside(ctx, st)
	}
	if err != nil {
		st.close()
		return nil, f, err
	}
	return st, f, nil
}

// measureBodies pushes each of the worst bodies 64 times at once. Latency and Answer are those beside the body where
// the latency was longest.
func measureBodies(ctx context.Context, s *session) (f figures, err error) {
	st, calm, err := s.calm(ctx, bodies)
	if err != nil {
		return f, err
	}
	defer st.close()
	for _, b := range worstBodies() {
		answers := st.pushAll(ctx, b, bodiesAtOnce)
		one, err := s.beside(ctx, st)
		if err := errors.Join(err, <-answers); err != nil {
			return f, fmt.Errorf("%s: %w", b.name, err)
		}
		if one.Latency.P99 > f.Latency.P99 {
			f = one
		}
	}
	f.Calm = calm.Latency
	_, f.RSS, err = process.MemoryOf(st.process.PID())
	return f, err
}

// measureLarge pushes four callbacks of 466,000 items each. At a start, a relay finds them in its spool.
func measureLarge(name string, atStart bool) measurement {
	return func(ctx context.Context, s *session) (f figures, err error) {
		st, calm, err := s.calm(ctx, name)
		if err != nil {
			return f, err
		}
		defer st.close()

		if atStart {
			st.redis.Kill()
		}
		answers := st.pushAll(ctx, body{contentType: "application/json", text: manyItems()}, largeOnes)
		if atStart {
			if err := <-answers; err != nil {
				return f, err
			}
			st.process.Kill()
			if err := errors.Join(st.redis.Restart(), st.launch(ctx, s.small())); err != nil {
				return f, err
			}
		}
		f, err = s.beside(ctx, st)
		if !atStart {
			err = errors.Join(err, <-answers)
		}
		f.Calm = calm.Latency
		return f, err
	}
}

// pushAll pushes a body n times at once. Each has to be answered, with success or for lack of room; the channel says
// when all are.
func (st *stand) pushAll(ctx context.Context, b body, n int) <-chan error {
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxConnsPerHost: n}}
	each := make(chan error, n)
	for range n {
		go func() {
			status, answer, err := fake.Push(ctx, client, st.push, b.contentType, b.text)
			if err == nil && status != http.StatusOK && status != http.StatusServiceUnavailable {
				err = fmt.Errorf("a large callback was answered %d %q", status, answer)
			}
			each <- err
		}()
	}
	all := make(chan error, 1)
	go func() {
		var errs []error
		for range n {
			errs = append(errs, <-each)
		}
		client.CloseIdleConnections()
		all <- errors.Join(errs...)
	}()
	return all
}

// bodyBars are those of the cases above.
func (r results) bodyBars() (bars []bar) {
	if r.has(bodies) {
		bars = append(bars, bar{name: bodies, what: "RSS, 64 of the worst body of 4 MiB at once",
			value: r.most(func(f figures) float64 {
				return f.RSS
			}, bodies),
			limit: 512e6, most: true, show: megabytes})
	}
	for _, name := range []string{large, largeAtStart} {
		if !r.has(name) {
			continue
		}
		p99, calm := r.of(name, func(f figures) float64 {
			return f.Latency.P99
		}), r.of(name, func(f figures) float64 { return f.Calm.P99 })
		bars = append(bars, bar{name: name, what: "p99 of small callbacks beside four of 466,000 items, by that before",
			measured: millis(p99), reference: millis(calm),
			value: r.of(name, func(f figures) float64 { return f.Latency.P99 / f.Calm.P99 }), limit: 3, most: true, show: plain})
	}
	return bars
}
