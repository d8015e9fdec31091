package config

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// Point is something that should not go into production: no mistake, because a relay that is tried may well have it.
type Point struct {
	Code string // a word for programs
	Pos  Position
	Why  string // what it is, and what may come of it
	Do   string
	// Warning is the message of the warning at Pos that says the same; empty: no warning does.
	Warning string
}

// Production is what should not go into production of a config, and what is needed to say the same of its Redis.
type Production struct {
	Points []Point // in file order

	redisAt, retentionAt, spoolAt Position
	retention, window             time.Duration
}

// The codes of points.
const (
	pointExample     = "example_secret"
	pointGuessable   = "guessable_secret"
	pointShort       = "short_key"
	pointPlain       = "plain_secret"
	pointServerOpen  = "server_open"
	pointAdminOpen   = "admin_open"
	pointAnyCaller   = "no_allow_cidrs"
	pointLoopback    = "egress_loopback"
	PointEmbedded    = "embedded_redis"
	pointNoMaxMemory = "no_maxmemory"
	pointRetention   = "retention_memory"
	pointOneReplica  = "one_replica"
	pointSpoolDisk   = "spool_disk"
)

// What several points say to do.
const (
	makeSecret  = "kuairelay keygen, or openssl rand -hex 24"
	makeToken   = "make a longer one: openssl rand -hex 24"
	installPage = "docs/operator/install.md"
)

// othersMayRead is the mode of a file that its group, or everybody on the machine, can read.
const othersMayRead = 0o044

// places are the values that points are about, as far as the file has them.
type places struct {
	file                                  value
	server, listen, admin, adminListen    value
	redis, redisURL, callback, allowCIDRs value
	retention, egress, spool, spoolMax    value
}

// point notes a point at the first of several values that the file has.
func (l *loading) point(code, why, do string, at ...value) *Point {
	l.points = append(l.points, Point{Code: code, Pos: l.first(at...).position(), Why: why, Do: do})
	return &l.points[len(l.points)-1]
}

// first is the first of several values that the file has; if it has none, it is the file's root.
func (l *loading) first(at ...value) value {
	for _, v := range at {
		if v.node != nil {
			return v
		}
	}
	return l.places.file
}

// warnedPoint is a warning that is a point, too.
func (l *loading) warnedPoint(v value, code, why, do, warning string) {
	v.warn("%s", warning)
	l.point(code, v.path+": "+why, do, v).Warning = v.path + ": " + warning
}

// shortKey is the point of a key that has few characters, and that no warning names.
func (l *loading) shortKey(v value) {
	l.point(pointShort, fmt.Sprintf("%s: it has fewer than %d characters", v.path, loginLetters), makeToken, v)
}

// judgeForProduction finds the points of a config. Call it when everything is read, and nothing is wrong.
func (l *loading) judgeForProduction() {
	c, at := l.config, &l.places
	l.judgePlain()
	if !onLoopback(c.Server.Listen) && len(c.Server.TrustedProxies) == 0 {
		l.point(pointServerOpen, "server.listen: it is not on loopback, and server.trusted_proxies names no proxy: "+
			"the relay has no TLS of its own, so keys and the callback token can be read on the way",
			"put a proxy with TLS in front ("+installPage+"), and name it in server.trusted_proxies", at.listen, at.server)
	}
	if !onLoopback(c.Admin.Listen) && len(c.Console.Hosts) == 0 {
		l.point(pointAdminOpen, "admin.listen: it is not on loopback: metrics, profiles and reloads ask for no token there",
			"listen on 127.0.0.1:8081; where only Prometheus and operators reach it, as in the network of containers, "+
				"say so by the name that they use: console.hosts: [relay]", at.adminListen, at.admin)
	}
	if len(c.Callback.AllowCIDRs) == 0 {
		l.point(pointAnyCaller, "callback.allow_cidrs: it is empty: "+
			"whoever has come to know a callback token can make up updates of parcels",
			`list the networks that kuaidihelp calls from; where they are not known, say so: [0.0.0.0/0, "::/0"]`,
			at.allowCIDRs, at.callback)
	}
	if slices.ContainsFunc(slices.Concat(c.Egress.AllowCIDRs, c.Egress.TenantCIDRs), reachesLoopback) {
		l.point(pointLoopback, "egress: loopback is allowed: "+
			"an endpoint may lead to other programs of this machine, such as the private listener",
			"take it out of egress.allow_cidrs and egress.tenant_cidrs", at.egress)
	}
	if c.Redis.URL == "" {
		l.point(PointEmbedded, "redis.url: it is empty: Redis is embedded, and a restart loses the ledger, the history "+
			"and the record of duplicates; there can be one replica only",
			"run a Redis ("+installPage+"), and set redis.url", at.redisURL, at.redis)
	}

	rank := rankOf(l.files())
	slices.SortStableFunc(l.points, func(a, b Point) int {
		return cmp.Or(comparePlaces(rank, a.Pos, b.Pos), cmp.Compare(a.Code, b.Code))
	})
	c.Production = Production{
		Points:      l.points,
		redisAt:     l.first(at.redisURL, at.redis).position(),
		retentionAt: l.first(at.retention).position(),
		spoolAt:     l.first(at.spoolMax, at.spool).position(),
		retention:   c.Retention,
		window:      c.Dedupe.Window,
	}
}

func reachesLoopback(p netip.Prefix) bool {
	return p.Overlaps(netip.MustParsePrefix("127.0.0.0/8")) || p.Contains(netip.IPv6Loopback())
}

// notePlain notes a secret that stands in a file in plain text, so far as it is nobody's but the file's.
func (l *loading) notePlain(v value, secret string) {
	if secret != "" && !slices.Contains(exampleSecrets, secret) && holds(v.node, secret) {
		l.plain = append(l.plain, v)
	}
}

// holds says whether a text stands in a node as it is written.
func holds(n *yaml.Node, text string) bool {
	return strings.Contains(n.Value, text) ||
		slices.ContainsFunc(n.Content, func(n *yaml.Node) bool { return holds(n, text) })
}

// notePassword is notePlain for the password of a URL.
func (l *loading) notePassword(v value, rawURL Secret) {
	u, err := url.Parse(rawURL.Reveal())
	if err != nil {
		return
	}
	l.notePlain(v, u.Query().Get("password"))
	if password, has := u.User.Password(); has {
		l.notePlain(v, password)
		if _, escaped, _ := strings.Cut(u.User.String(), ":"); escaped != password {
			l.notePlain(v, escaped)
		}
	}
}

// judgePlain makes one point of the plain secrets of each file that others on this machine can read.
func (l *loading) judgePlain() {
	for _, src := range l.sources {
		var here []value
		for _, v := range l.plain {
			if v.src == src {
				here = append(here, v)
			}
		}
		info, err := os.Stat(src.path)
		if len(here) == 0 || err != nil || info.Mode().Perm()&othersMayRead == 0 {
			continue
		}

		what := "a secret stands"
		if len(here) > 1 {
			what = fmt.Sprintf("%d secrets stand", len(here))
		}
		l.point(pointPlain, fmt.Sprintf("%s: %s in this file in plain text, and its mode %04o lets others on this machine "+
			"read it", here[0].path, what, info.Mode().Perm()),
			"write file:PATH in its place, or ${VAR}; or chmod 600", here[0])
	}
}

// Redis is what is known of a running Redis.
type Redis struct {
	// Advice is what puts accepted events at risk.
	Advice []Point
	// Told says that it has told how much memory it may take: MaxMemory, 0: all there is.
	Told      bool
	MaxMemory int64
	// Replicas of the relay are alive, and take so many callbacks a second.
	Replicas  int
	Callbacks float64
	// Events is how many it holds.
	Events int64
}

// OfRedis finds what of a running Redis should not go into production, and what cannot be known.
func (p Production) OfRedis(r Redis) (points []Point, unknown []string) {
	for _, a := range r.Advice {
		a.Pos = p.redisAt
		points = append(points, a)
	}
	if r.Replicas == 1 {
		points = append(points, Point{
			Code: pointOneReplica, Pos: p.redisAt, Why: "one replica is alive: while it restarts, nobody takes callbacks",
			Do: "run a second one on the same Redis, behind the proxy (" + installPage + ")",
		})
	} else if r.Replicas == 0 {
		unknown = append(unknown, "whether there are two replicas: none is alive")
	}

	rate := max(r.Callbacks, float64(r.Events)/p.retention.Seconds())
	fits := float64(r.MaxMemory) / RedisMemory(1, p.retention, p.window)
	switch {
	case !r.Told:
		unknown = append(unknown, "whether retention fits into the memory of Redis: it does not tell its INFO")
	case r.MaxMemory == 0:
		points = append(points, Point{
			Code: pointNoMaxMemory, Pos: p.redisAt,
			Why: "Redis has no maxmemory: when memory ends, the kernel ends it, instead of the spool taking callbacks",
			Do:  "set maxmemory (docs/operator/sizing.md)",
		})
	case rate > fits:
		points = append(points, Point{
			Code: pointRetention, Pos: p.retentionAt,
			Why: fmt.Sprintf("retention: %s of %s events a second take about %s of Redis, and maxmemory is %s",
				span(p.retention), figure(rate), gigabytes(RedisMemory(rate, p.retention, p.window)),
				gigabytes(float64(r.MaxMemory))),
			Do: "raise maxmemory, or lower retention (docs/operator/sizing.md)",
		})
	case rate < fits/busy:
		unknown = append(unknown, fmt.Sprintf("whether retention fits into the memory of Redis: there are %s events a "+
			"second so far; its maxmemory of %s has room for %s, each with one endpoint (docs/operator/sizing.md)",
			figure(rate), gigabytes(float64(r.MaxMemory)), figure(fits)))
	}
	return points, unknown
}

// OfSpoolDisk finds what is wrong with the disk of the spool, which has so many bytes free of those that the spool may
// still take.
func (p Production) OfSpoolDisk(free, want int64) []Point {
	if free >= want {
		return nil
	}
	return []Point{{
		Code: pointSpoolDisk, Pos: p.spoolAt,
		Why: fmt.Sprintf("spool: its disk has %d MiB free, and the spool may take %d MiB more: "+
			"while Redis is down it is full sooner than spool.max_bytes says", free>>20, want>>20),
		Do: "make room on the disk, or lower spool.max_bytes, which counts for each replica",
	}}
}

// busy is how many times fewer events than fit are too few to tell.
const busy = 100

// The bytes that Redis needs of an event that is delivered to one endpoint, as docs/benchmarks.md has them.
const (
	bytesOfEvent  = 1103 + 550 // its body of the usual size, and what is kept beside it, for retention
	bytesOfRecord = 169        // of its waybill, from then on to the end of dedupe.window
)

// RedisMemory is how many bytes Redis needs for so many events a second, each delivered to one endpoint. It is on the
// safe side. docs/operator/sizing.md shows it as a table.
func RedisMemory(perSecond float64, retention, window time.Duration) float64 {
	return perSecond * (bytesOfEvent*retention.Seconds() + bytesOfRecord*max(0, window-retention).Seconds())
}

// figure is a number with two digits that count.
func figure(x float64) string {
	if x >= 10 {
		return fmt.Sprintf("%.0f", math.Floor(x))
	}
	return fmt.Sprintf("%.2g", x)
}

func gigabytes(bytes float64) string { return fmt.Sprintf("%.1f GB", bytes/1e9) }

// span is a duration in whole hours, if it is some.
func span(d time.Duration) string {
	if d%time.Hour == 0 {
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return d.String()
}
