// Package ingest receives the provider's callbacks over HTTP. It answers success only after everything in a callback is
// durable: its events in the store, or what was not understood in quarantine, or all of it in the spool.
package ingest

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"kuairelay/relay/event"
	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/stats"
)

// Settings of a Receiver are what may change while it runs (see Use). A zero field means its default.
type Settings struct {
	// Tokens are the last segments of the callback paths that are accepted.
	Tokens []Token
	// AllowCIDRs are the addresses that may push; empty: all.
	AllowCIDRs []netip.Prefix
	// Ack is the body of a good answer. Default "success".
	Ack string
	// MaxBody of a callback in bytes. Default 4 MiB.
	MaxBody int64
}

// Token is one that callbacks may have.
type Token struct {
	Secret string
	Name   string    // empty: it has none
	Until  time.Time // from then on it is none; zero: it has no end
}

// Options of a Receiver. A zero field means its default.
type Options struct {
	Settings
	// Budget is how long a callback may take to become durable. Default 3 s.
	Budget time.Duration
	// Keep makes a callback durable: its events with their deliveries, and what was not understood. parsed is what the
	// callback was parsed to; with more, the first part of that.
	Keep func(ctx context.Context, cb *event.Callback, parsed kuaidihelp.Result, more bool) (event.Summary, error)
	// Parse parses a callback, or the first part of one that has more. Default: all of it.
	Parse func(cb *event.Callback) (parsed kuaidihelp.Result, more bool)
	// Replica names this relay, for the callbacks that it takes. Default: nothing.
	Replica string
	// Bytes bounds the bodies in memory, all together, while they are read, parsed and made durable. Default 64 MiB.
	Bytes int64
	// OnCallback is called for each callback with the right token and address. Default: nothing is called.
	OnCallback func()
	// Stats counts callbacks. Default: nothing does.
	Stats    *stats.Counters
	Logger   *zap.Logger
	Registry prometheus.Registerer
}

// Receiver is the handler of the callback paths.
type Receiver struct {
	o       Options
	current atomic.Pointer[settings]
	rooms   *rooms
	metrics *metrics
	refused atomic.Int64 // unix ms of the latest callback with a wrong token or address; 0: none
}

// Refused returns when the latest callback with a wrong token or address came; zero: none since the start.
func (r *Receiver) Refused() time.Time {
	if ms := r.refused.Load(); ms > 0 {
		return time.UnixMilli(ms)
	}
	return time.Time{}
}

// settings are Settings with their defaults, and what is compared of the tokens.
type settings struct {
	Settings
	tokens []token
}

// token is a Token with its digest.
type token struct {
	Token
	sum [sha256.Size]byte
}

// New makes a Receiver.
func New(o Options) *Receiver {
	o.Budget = cmp.Or(o.Budget, 3*time.Second)
	o.Bytes = cmp.Or(o.Bytes, 64<<20)
	o.Logger = cmp.Or(o.Logger, zap.NewNop())
	o.Stats = cmp.Or(o.Stats, stats.NewCounters(time.Now))
	if o.OnCallback == nil {
		o.OnCallback = func() {}
	}
	if o.Parse == nil {
		o.Parse = func(cb *event.Callback) (parsed kuaidihelp.Result, more bool) {
			return kuaidihelp.Parse(cb.Headers["Content-Type"], cb.Body, cb.ReceivedAt), false
		}
	}
	r := &Receiver{o: o, rooms: newRooms(o.Bytes), metrics: newMetrics(o.Registry)}
	r.Use(o.Settings)
	return r
}

// Use replaces the settings for callbacks that come from now on.
func (r *Receiver) Use(set Settings) {
	set.Ack = cmp.Or(set.Ack, "success")
	set.MaxBody = cmp.Or(set.MaxBody, 4<<20)
	now := &settings{Settings: set}
	used := make([]stats.Used, len(set.Tokens))
	for i, t := range set.Tokens {
		now.tokens = append(now.tokens, token{Token: t, sum: sha256.Sum256([]byte(t.Secret))})
		used[i] = stats.Used{Secret: t.Secret, Name: t.Name}
	}
	r.current.Store(now)
	r.metrics.used.Use(used)
}

// Register adds the path: POST /callback/{token}, and GET and HEAD for the provider's check of the URL. Extra slashes
// at its ends are ignored: people type the address into a form of the provider.
func (r *Receiver) Register(e *echo.Echo) {
	e.Pre(trimSlashes)
	e.POST("/callback/:token", r.receive)
	e.GET("/callback/:token", r.check)
	e.HEAD("/callback/:token", r.check)
}

// trimSlashes removes extra slashes from a callback's path, before it is routed.
func trimSlashes(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		u := c.Request().URL
		path := strings.Trim(u.Path, "/")
		if strings.HasPrefix(path, "callback/") {
			u.Path = "/" + path
			if u.RawPath != "" { // what echo routes by, then
				u.RawPath = "/" + strings.Trim(u.RawPath, "/")
			}
		}
		return next(c)
	}
}

// check answers the provider's check of the URL.
func (r *Receiver) check(c echo.Context) error {
	now := r.current.Load()
	if now.know(c) == 0 {
		return echo.ErrNotFound
	}
	return c.String(http.StatusOK, now.Ack)
}

// know returns the position of the callback's token in Tokens, from 1 on; 0: token or address are wrong. The answer
// does not tell a stranger which of them.
func (s *settings) know(c echo.Context) (place int) {
	sum := sha256.Sum256([]byte(c.Param("token")))
	for i, t := range s.tokens {
		good := t.Until.IsZero() || time.Now().Before(t.Until)
		if subtle.ConstantTimeCompare(sum[:], t.sum[:]) == 1 && good {
			place = i + 1
		}
	}
	if place == 0 || len(s.AllowCIDRs) == 0 {
		return place
	}
	ip, err := netip.ParseAddr(c.RealIP())
	if err != nil {
		return 0
	}
	for _, p := range s.AllowCIDRs {
		if p.Contains(ip.Unmap()) {
			return place
		}
	}
	return 0
}

// receive answers a callback, and writes one log line about it.
func (r *Receiver) receive(c echo.Context) error {
	started := time.Now()
	now := r.current.Load()
	token := now.know(c)
	if token == 0 {
		return r.refuse(c, started)
	}
	r.o.OnCallback()
	r.metrics.used.Mark(token-1, now.tokens[token-1].Name, started)

	// The body, and what is made of it, has memory reserved until the callback is answered.
	held := r.rooms.enter(func() { _ = http.NewResponseController(c.Response()).SetReadDeadline(time.Unix(1, 0)) })
	defer held.leave()
	packed, err := held.read(c.Request(), now.MaxBody)
	if err != nil {
		return r.unread(c, err)
	}
	about := headers(c.Request())
	body, err := held.unpack(packed, about, now.MaxBody)
	if err != nil {
		return r.unread(c, err)
	}

	// If the provider closes the connection, what is being written must not be cut short.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Request().Context()), r.o.Budget)
	defer cancel()
	if err := held.parse(ctx, len(body)); err != nil {
		return r.unread(c, err)
	}
	cb := &event.Callback{
		ID:         event.NewCallbackID(started),
		ReceivedAt: started,
		From:       address(c.RealIP()),
		Replica:    r.o.Replica,
		Headers:    about,
		Body:       body,
	}
	k := kept{callback: cb.ID, ip: c.RealIP(), bytes: len(body)}
	if len(now.tokens) > 1 {
		k.token = token
		k.tokenName = now.tokens[token-1].Name
	}
	k.parsed, k.more = r.o.Parse(cb)
	blameEncoding(cb, k.parsed)

	// After an error, or with a spooled callback, Keep may still change the events: the id is then the one from before.
	k.id = idOf(k.parsed)
	k.sum, err = r.o.Keep(ctx, cb, k.parsed, k.more)
	if err == nil && !k.sum.Spooled {
		k.id = idOf(k.parsed) // with the suffix of a recurrence
	}
	k.took = time.Since(started)
	r.metrics.duration.Observe(k.took.Seconds())
	return r.answer(c, now.Ack, k, err)
}

// address is the address that a text is; empty if it is none.
func address(text string) string {
	ip, err := netip.ParseAddr(text)
	if err != nil {
		return ""
	}
	return ip.Unmap().WithZone("").String()
}

// refuse answers a callback with a wrong token or address.
func (r *Receiver) refuse(c echo.Context, at time.Time) error {
	r.count(answerRefused, 0)
	r.refused.Store(at.UnixMilli())
	r.o.Logger.Warn("callback",
		zap.Int("answer", http.StatusNotFound), zap.String("ip", c.RealIP()), zap.String("why", "wrong token or address"))
	return echo.ErrNotFound
}

// blameEncoding adds the Content-Encoding to the reason why a callback was not understood, if it could not be unpacked.
func blameEncoding(cb *event.Callback, parsed kuaidihelp.Result) {
	encoding := cb.Headers["Content-Encoding"]
	if encoding == "" || len(parsed.Rejected) != 1 || len(parsed.Rejected[0].Raw) != len(cb.Body) {
		return
	}
	parsed.Rejected[0].Reason = fmt.Sprintf("its Content-Encoding is %.40q: %s", encoding, parsed.Rejected[0].Reason)
}

// idOf returns the id of the event of a callback that has one event, else nothing.
func idOf(parsed kuaidihelp.Result) string {
	if len(parsed.Events) != 1 {
		return ""
	}
	return parsed.Events[0].ID
}

// kept is the result of a callback that was read.
type kept struct {
	callback string // its id
	ip       string // who sent it
	bytes    int    // of its body
	token    int    // the place of its token, if there are several: while one is replaced
	// tokenName is the name of that token; empty: it has none.
	tokenName string
	parsed    kuaidihelp.Result // or its first part
	more      bool              // it has other parts
	id        string            // of its event, if it has one
	sum       event.Summary
	took      time.Duration
}

// answer answers a callback that Keep made durable, or failed to.
func (r *Receiver) answer(c echo.Context, ack string, k kept, err error) error {
	fields := k.fields()
	if err != nil {
		r.count(answerFailure, 0)
		r.o.Logger.Error("callback", append(fields, zap.Int("answer", http.StatusServiceUnavailable), zap.Error(err))...)
		return c.String(http.StatusServiceUnavailable, "failure")
	}

	r.count(answerSuccess, k.took)
	level := zap.InfoLevel
	if len(k.parsed.Rejected) > 0 {
		level = zap.WarnLevel
	}
	r.o.Logger.Log(level, "callback", append(fields, zap.Int("answer", http.StatusOK))...)
	return c.String(http.StatusOK, ack)
}

// fields are the fields of a callback's log line. Of its body they have only the waybill and the event's id.
func (k kept) fields() []zap.Field {
	fields := []zap.Field{
		zap.String("callback", k.callback),
		zap.String("ip", k.ip),
		zap.Int("bytes", k.bytes),
		zap.Int("events", len(k.parsed.Events)),
		zap.Int("new", k.sum.New),
		zap.Int("duplicates", k.sum.Duplicates),
		zap.Int("unrouted", k.sum.Unrouted),
		zap.Int("deliveries", k.sum.Deliveries),
		zap.Int("quarantined", len(k.parsed.Rejected)),
		zap.Duration("took", k.took),
	}

	if len(k.parsed.Events) == 1 {
		fields = append(fields, zap.String("event", k.id), zap.String("waybill", k.parsed.Events[0].WaybillCode))
	}
	if k.token > 0 {
		fields = append(fields, zap.Int("token", k.token))
	}
	if k.tokenName != "" {
		fields = append(fields, zap.String("token_name", k.tokenName))
	}
	if k.more {
		fields = append(fields, zap.Bool("large", true)) // events are those of its first part
	}
	if k.sum.Spooled {
		fields = append(fields, zap.Bool("spooled", true))
	}
	if len(k.parsed.Rejected) > 0 {
		// The reason may quote a key, and a key may have any text.
		why := quoted.ReplaceAllLiteralString(k.parsed.Rejected[0].Reason, `"…"`)
		fields = append(fields, zap.String("why", why))
	}
	return fields
}

var quoted = regexp.MustCompile(`"(\\.|[^"\\])*"`)

// unread answers a callback whose body could not be read as a whole.
func (r *Receiver) unread(c echo.Context, err error) error {
	status := http.StatusBadRequest
	answer := answerUnread
	if large, ok := errors.AsType[*http.MaxBytesError](err); ok {
		status = http.StatusRequestEntityTooLarge
		err = large
	}
	if errors.Is(err, errNoRoom) {
		status = http.StatusServiceUnavailable
		answer = answerNoRoom
	}

	r.count(answer, 0)
	r.o.Logger.Warn("callback", zap.Int("answer", status), zap.String("ip", c.RealIP()), zap.Error(err))
	return c.String(status, "failure")
}

// mostHeader bounds how much of a header is kept.
const mostHeader = 1 << 10

// headers returns the headers that say how to read the body, who sent it, and of which trace it is.
func headers(req *http.Request) map[string]string {
	out := map[string]string{}
	for _, name := range []string{"Content-Type", "Content-Encoding", "User-Agent", event.TraceHeader} {
		if v := req.Header.Get(name); v != "" {
			out[name] = strings.ToValidUTF8(v[:min(len(v), mostHeader)], "\uFFFD")
		}
	}
	return out
}

// The answers to callbacks, as metrics have them.
const (
	answerSuccess = "success"
	answerFailure = "failure"
	answerUnread  = "unread"
	answerNoRoom  = "no_room"
	answerRefused = "refused"
)

// measures are what the answers count as in the statistics.
var measures = map[string]stats.Measure{
	answerSuccess: stats.Success, answerFailure: stats.Failure, answerUnread: stats.Unread, answerNoRoom: stats.NoRoom,
	answerRefused: stats.Stranger,
}

// count counts an answer; took is how long the callback took to be durable, 0 if it is not.
func (r *Receiver) count(answer string, took time.Duration) {
	r.metrics.callbacks.WithLabelValues(answer).Inc()
	r.o.Stats.Add(stats.Callbacks, stats.Sample{What: measures[answer], Took: took})
}

type metrics struct {
	callbacks *prometheus.CounterVec
	duration  prometheus.Histogram
	used      *stats.Uses // of the tokens
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		callbacks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kuairelay_callbacks_total",
			Help: "Callbacks by answer: success; failure (not durable); unread (too large or cut off); " +
				"no_room (limits.parse_bytes is reached); refused (wrong token or address).",
		}, []string{"answer"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "kuairelay_callback_duration_seconds",
			Help:    "Time until callbacks were durable.",
			Buckets: []float64{.0005, .001, .002, .005, .01, .025, .05, .1, .3, .5, 1, 3},
		}),
		used: stats.NewUses("kuairelay_callback_token_used_timestamp_seconds",
			"Unix time at which a callback last came with a token, at this replica, by the token's name or, without one, "+
				"its place in callback.tokens; 0: none since the start."),
	}
	for answer := range measures {
		m.callbacks.WithLabelValues(answer)
	}
	if r != nil {
		r.MustRegister(m.callbacks, m.duration, m.used)
	}
	return m
}
