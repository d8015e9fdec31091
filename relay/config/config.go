// Package config reads the relay's YAML files into plain values, or reports every mistake in them at once, each with
// its file and line.
//
// yaml.v3 is only the parser here. Its decoder is not used: how it treats unknown keys, lines and the text of numbers
// depends on the Go types (go-yaml #460), and its errors print values, which may be secrets. Instead, schema.go is a
// table of every key, reader.go has the pieces that it is made of, and node.go walks the parsed nodes.
//
// A new key is a line of that table, a field and its default in this file, a line of config.example.yaml, and one of
// describe.go, from which docs/reference/config.md is made (go run ./test/docs); relay/settings.go hands it to its
// part, and relay/reload.go says if only a restart changes it.
//
// These rules hold for every value: a scalar is its text as written (no octal numbers, no "no" that means false);
// ${VAR}, ${VAR:-default} and file:PATH are expanded inside the scalar after parsing (expand.go); anchors, aliases,
// tags and empty values are mistakes. A message may repeat keys, paths, and the names of variables and endpoints as
// they are written. It never repeats another value, an expansion, or the content of a file:PATH.
package config

import (
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"
)

// Config is the whole configuration, checked and with its defaults filled in. It is not changed after Load.
type Config struct {
	// Server is the public listener.
	Server struct {
		Listen         string         // host:port
		TrustedProxies []netip.Prefix // X-Forwarded-For counts if it comes from these
	}
	// Admin is the private listener.
	Admin struct {
		Listen string // host:port
		Token  Secret // the operator's, for the API; empty and no Tokens: the API is off
		Tokens []APIKey
	}
	// Redis is the store. Without a URL the relay keeps an embedded one, which lives as long as the process.
	Redis struct {
		URL          Secret // redis://, rediss:// or unix://, in the forms of go-redis; it may hold a password
		WaitReplicas int    // how many replicas must have a write before it counts; 0: none
	}
	// Kuaidihelp is the shared account, and how it may be used. Without an APIKey nothing can be subscribed.
	Kuaidihelp Kuaidihelp
	// Subscriptions says how waybills are subscribed. Its Limits are the defaults that the tenants' limits already
	// hold.
	Subscriptions Subscriptions
	// Spool keeps callbacks that Redis does not take. With an embedded store, it keeps every callback until it is
	// delivered.
	Spool struct {
		Dir      string // relative to the working directory
		MaxBytes int64
	}
	// Callback is the address that kuaidihelp calls.
	Callback struct {
		Tokens     []APIKey       // each a last segment of the callback's path; at least one, and one without an end
		AllowCIDRs []netip.Prefix // who may call; empty: anyone who knows a token
		Ack        string         // the body of the answer to an accepted callback
		MaxBody    int64          // bytes
		Silence    time.Duration  // without a callback for longer, kuaidihelp is silent; 0: it never is
	}
	// Dedupe says for how long an event that comes again is a duplicate.
	Dedupe struct {
		Window     time.Duration // of an event with track times
		BareWindow time.Duration // of an event without any
	}
	// Retention is how long delivered events are kept.
	Retention time.Duration
	// DeadLetterRetention is how long dead letters are kept.
	DeadLetterRetention time.Duration
	// Delivery holds the defaults of every endpoint, which Endpoint.Delivery already holds.
	Delivery Delivery
	// Egress says where deliveries may go.
	Egress struct {
		AllowCIDRs []netip.Prefix // networks that endpoints may be in though they are not public
		// TenantCIDRs are the networks that a file of TenantsDir may allow its own endpoints.
		TenantCIDRs []netip.Prefix
		Proxy       Secret // http://, https:// or socks5://; it may hold a password; empty: none
	}
	// Limits bound shared resources. Each tenant's Allowance already has the defaults.
	Limits struct {
		Allowance // the default of every tenant
		// ParseBytes is how many bytes the bodies of all callbacks may have together that are read, parsed and made durable
		// at the same time.
		ParseBytes int64
		// Connections is how many connections each listener has at the same time.
		Connections int
	}
	// Console is for people: the pages, and the private listener.
	Console struct {
		Tenants  bool           // whether tenants have pages on the public listener
		Session  time.Duration  // that a login lasts at most
		Timezone *time.Location // of readers who have not chosen one; nil: their browser's
		Language string         // of readers whose browser asks for none that there is: en or zh
		// Hosts are more names by which the private listener is reached: loopback, addresses and its own are known.
		Hosts   []string
		History time.Duration // how long statistics are kept by minutes; 0: there are none
	}
	// Notices are the receivers that tell the operator of problems.
	Notices []Notice
	// TenantsDir is a folder with more tenants, one in each .yaml or .yml file. It is relative to the config file.
	TenantsDir string
	// TenantsEnv are variables that the files of TenantsDir may use, apart from those that begin with their tenant's
	// name.
	TenantsEnv []string
	// TenantsFiles are files and folders that they may read, apart from those below TenantsDir. They are relative to
	// the config file.
	TenantsFiles []string
	// Tenants in file order: those of the config file itself, then those of TenantsDir by file name.
	Tenants []Tenant
	// Fingerprint is a hash, in hex, of everything that was read. Equal names and contents of files have the same, on any
	// machine.
	Fingerprint string
	// Warnings are about what is legal, but probably a mistake, in file order.
	Warnings []Mistake
	// Production knows what should not go into production.
	Production Production
	// Files are what was read.
	Files Files
}

// Delivery says how the deliveries of an endpoint are made.
type Delivery struct {
	Timeout     time.Duration   // of a whole attempt
	Retry       []time.Duration // Retry[i] is the pause after failed attempt i+1
	MaxInFlight int             // attempts at one time, per endpoint and relay
	Rate        float64         // attempts a second, of all relays together; 0: no limit
	MaxAge      time.Duration   // since acceptance; then a delivery becomes a dead letter
	MaxBacklog  int             // deliveries that a parked endpoint keeps; what is above becomes dead letters
	Breaker     Breaker
	OrphanGrace time.Duration // how long a delivery waits for its endpoint to come back into a config
	Order       string        // OrderWaybill or OrderNone
}

// The orders in which updates of a waybill go to an endpoint.
const (
	OrderWaybill = "waybill" // one at a time, in order
	OrderNone    = "none"
)

// Breaker says when deliveries to a failing endpoint pause, and for how long.
type Breaker struct {
	// So many Failures in a row open it. So many within Window also do, if they are at least the share Ratio (0 to 1)
	// of all attempts in it. 0: it never opens.
	Failures int
	Ratio    float64
	Window   time.Duration
	// CoolOff is the first pause; each failed probe doubles it, up to MaxCoolOff.
	CoolOff, MaxCoolOff time.Duration
}

// SigningSecret signs requests until a time; zero: without an end.
type SigningSecret struct {
	Secret Secret // "whsec_…"
	Until  time.Time
}

// APIKey lets its tenant in until a time; zero: without an end. So do tokens of the operator, and of callbacks.
type APIKey struct {
	Key   Secret
	Name  string // unique in its list: it is shown where the key itself must not be; empty: it has none
	Until time.Time
}

// Header is a header of every request to an endpoint.
type Header struct {
	Name  string
	Value Secret // it may be a token
}

// Tenant is an internal application. Names are unique.
type Tenant struct {
	Name      string
	APIKeys   []APIKey // each of which is the tenant's; none: it cannot call the API
	Limits    Limits   // the defaults, overridden by the tenant's own keys
	Allowance Allowance
	Watch     Watch
	Notices   []Notice
	Endpoints []Endpoint
	Routes    []Route
	Tests     []Test
	Pos       Position
}

// Test is an event with the endpoints of its tenant that it has to reach, and no others.
type Test struct {
	Tenant string
	Name   string // for people, as written; may be empty
	// Event is an item of a callback, or a whole callback, as JSON.
	Event []byte
	// Reaches are endpoint IDs; none: the event must reach no endpoint.
	Reaches []string
	// Expanded says that Event holds text from a variable or a file, so nothing of it may be shown.
	Expanded bool
	Pos      Position
	lacks    bool // something of the event is not here: it cannot be run
}

// Endpoint is one URL of a tenant.
type Endpoint struct {
	Name       string          // as written, unique in its tenant
	ID         string          // "tenant/endpoint"
	URL        string          // absolute, http or https
	Shown      string          // the URL as written, which is what may be shown of it
	Secrets    []SigningSecret // each signs every request while it lasts; at least one lasts for good
	Format     string          // "standard" or "kuaidihelp"
	Headers    []Header        // in file order, each name once
	AllowCIDRs []netip.Prefix  // as Egress.AllowCIDRs, for this endpoint alone
	TLS        *tls.Config     // nil: the system's authorities, and no certificate of ours
	Delivery   Delivery        // the defaults, overridden by the endpoint's own keys
	Pos        Position
}

// Route says which events go to which endpoints of its tenant. An event must satisfy Match and When.
type Route struct {
	Tenant string
	To     []string // endpoint IDs; at least one
	Match  *Match   // nil: every event
	When   string   // an expression; empty: always
	Pos    Position
	Index  int // in Tenant.Routes
	// Expanded says that When holds text from a variable or a file, so it may not be shown.
	Expanded bool
}

// Match lists the values that an event's fields may have, with * as a glob. A nil list allows every value.
type Match struct {
	Type, CPCode, Status, WaybillCode []string
	Changed                           string // "status": only if the status is not the waybill's last one; or ""
	Subscribed                        bool   // only waybills that the tenant has subscribed
	// Written has the lists as they may be shown, if text in them came from a variable or a file; nil: the lists may
	// be shown.
	Written *Match
}

// Options are what Load needs in addition to the file.
type Options struct {
	// CheckWhen returns what is wrong with a when expression. The first line of its error is shown if nothing in the
	// expression was expanded. Nil checks nothing.
	CheckWhen func(expr string) error
	// CheckRedisURL returns what is wrong with redis.url apart from its scheme, and repeats nothing of it. Nil checks
	// nothing.
	CheckRedisURL func(url string) error
	// CheckEndpointURL returns an error if an endpoint's URL leads to an address that is not allowed, with these
	// networks allowed. The error is shown if nothing in the URL was expanded. Nil checks nothing.
	CheckEndpointURL func(url string, allow []netip.Prefix) error
	// MatchMeans checks a value of match's status or cp_code. If no event can have the value, meant is the value that is
	// probably meant. Values that are close to one of known may be slips. Nil checks nothing.
	MatchMeans func(field, value string) (meant string, known []string)
	// ProblemCodes are the codes of problems that notices may name, and TenantProblemCodes those of them that tenants are
	// told of. Nil: every code is taken.
	ProblemCodes, TenantProblemCodes []string
	// LookupEnv looks up a variable of the environment; nil is os.LookupEnv.
	LookupEnv func(name string) (string, bool)
	// Placeholder is called for every value that needs a variable that is not set, or a file that is missing: it has a
	// placeholder then, and what only the value itself could tell is not checked. Nil: such a value is a mistake.
	Placeholder func()
	// OnRead is called with every file and folder that the config depends on, also if it is wrong or cannot be read:
	// the config file, TenantsDir and its files, and each file:PATH. Nil: it is not called.
	OnRead func(path string)
}

// Load reads and checks the file at path. If the file could be read, the error is Mistakes, in file order; otherwise
// it is the I/O error. Neither ever holds a secret or an expanded value.
func Load(path string, o Options) (*Config, error) {
	if o.LookupEnv == nil {
		o.LookupEnv = os.LookupEnv
	}

	text, err := os.ReadFile(path)
	if err != nil {
		if o.OnRead != nil {
			o.OnRead(path)
		}
		return nil, fmt.Errorf("read config: %w", err)
	}
	return load(path, text, o)
}

func load(path string, text []byte, o Options) (*Config, error) {
	c := defaults()

	l := &loading{
		config:  c,
		options: o,
		names:   map[string]Position{},
		apiKeys: map[Secret]Position{},
		sum:     sha256.New(),
	}

	// The operator's file is read first: it says what those of the tenants may use.
	l.file(path, text, nil, schema(l))
	l.readTenantsDir(filepath.Dir(path))
	l.judgeExamples()
	l.judgeLogins()

	files := l.files()
	var mistakes, noted []found
	for _, src := range l.sources {
		mistakes = append(mistakes, src.mistakes...)
		noted = append(noted, src.warnings...)
	}

	if len(mistakes) > 0 {
		return nil, Mistakes(inOrderOf(files, mistakes))
	}

	l.judgeForProduction()
	c.Limits.ParseBytes = max(c.Limits.ParseBytes, parseBodies*c.Callback.MaxBody) // the default is for a usual max_body
	c.Fingerprint = fingerprint(l.sum)
	c.Files.parseBytes = c.Limits.ParseBytes
	c.Warnings = inOrderOf(files, append(noted, warnings(c)...))
	return c, nil
}

// Operators are all tokens of the operator: admin.token first, and those of admin.tokens.
func (c *Config) Operators() (all []APIKey) {
	if c.Admin.Token != "" {
		all = append(all, APIKey{Key: c.Admin.Token})
	}
	return append(all, c.Admin.Tokens...)
}

// defaults are the values of the keys that a file leaves out.
func defaults() *Config {
	c := &Config{
		Retention:           48 * time.Hour,
		DeadLetterRetention: 720 * time.Hour,
		Delivery: Delivery{
			Timeout: 15 * time.Second,
			Retry: []time.Duration{
				5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour,
				10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
			},
			MaxInFlight: 32,
			MaxAge:      168 * time.Hour,
			MaxBacklog:  1_000_000,
			Breaker: Breaker{
				Failures: 10, Ratio: 0.5, Window: time.Minute, CoolOff: 5 * time.Second, MaxCoolOff: 15 * time.Minute,
			},
			OrphanGrace: 24 * time.Hour,
			Order:       OrderWaybill,
		},
	}

	c.Limits.Allowance = Allowance{Reads: 20, Tests: 2, Replays: 2}
	c.Limits.ParseBytes = 64 << 20
	c.Limits.Connections = 4096
	c.Console.Tenants = true
	c.Console.Session = 12 * time.Hour
	c.Console.Language = "en"
	c.TenantsDir = defaultTenantsDir

	// The public listener is open to everybody, the private one only to this machine.
	c.Server.Listen = ":8080"
	c.Admin.Listen = "127.0.0.1:8081"

	c.Kuaidihelp, c.Subscriptions = subscribeDefaults()
	c.Spool.Dir = "./spool"
	c.Spool.MaxBytes = 1 << 30
	c.Callback.Ack = "success"
	c.Callback.MaxBody = 4 << 20
	c.Callback.Silence = 6 * time.Hour
	c.Dedupe.Window = 72 * time.Hour
	c.Dedupe.BareWindow = 2 * time.Hour
	c.Console.History = 24 * time.Hour
	return c
}
