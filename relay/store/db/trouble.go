package db

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"
)

// trouble is an error that ends by itself, or when an operator helps: the call can be made again.
type trouble struct {
	state Availability
	why   string // for everybody: it names no address
	hint  string // what may help; it names no address either
	cause error  // if it came from a call
	at    string // names the Redis, for operators
	// advice is the name of the advice to give, if the trouble only ends when somebody sets Redis up in another way.
	advice string
}

// reason is why, with what may help.
func (t *trouble) reason() string {
	if t.hint == "" {
		return t.why
	}
	return t.why + " (" + t.hint + ")"
}

// Trouble says that this error is reported elsewhere already: a caller need not log it.
func (t *trouble) Trouble() bool { return true }

func (t *trouble) Unwrap() error { return t.cause }

// Error names the Redis and the cause.
func (t *trouble) Error() string {
	text := "redis"
	if t.at != "" {
		text += " at " + t.at
	}
	if t.state == Down {
		return text + " is down: " + t.reason()
	}
	return text + " takes no events: " + t.reason()
}

const (
	whyTimeout = "no answer in time"
	whyClosed  = "the connection was closed"
	whyMoved   = "a slot has moved to another node"

	whyNoPassword    = "it wants a password"
	whyWrongPassword = "it refuses the password"
	whyNoSentinel    = "no Sentinel is of use"
)

// troubles by the code that an error of Redis begins with.
var troubles = map[string]trouble{
	"OOM":         {state: Full, why: "it is full (maxmemory)"},
	"LOADING":     {state: Down, why: "it is loading its data"},
	"READONLY":    {state: Down, why: "it is a read-only replica"},
	"MASTERDOWN":  {state: Down, why: "it is a replica without its master"},
	"NOREPLICAS":  {state: Down, why: "it has not enough replicas to write (min-replicas-to-write)"},
	"MISCONF":     {state: Down, why: "it cannot write its snapshot, and so takes no writes (MISCONF)"},
	"CLUSTERDOWN": {state: Down, why: "a part of the cluster is down"},
	"TRYAGAIN":    {state: Down, why: "a slot is being moved to another node"},
	"ASK":         {state: Down, why: "a slot is being moved to another node"},
	"MOVED":       {state: Down, why: whyMoved},
	"BUSY":        {state: Down, why: "it is busy with somebody's script"},
	"NOAUTH":      {state: Down, why: whyNoPassword},
	"WRONGPASS":   {state: Down, why: whyWrongPassword},
	"DENIED":      {state: Down, why: "it is in protected mode, and answers its own host only"},
}

// plainTroubles by the beginning of errors of Redis that have no code of their own.
var plainTroubles = []struct{ text, why string }{
	{"ERR max number of clients", "it has too many clients"},
	{"ERR DB index is out of range", "it has no database of the number in redis.url"},
	{"ERR SELECT is not allowed in cluster mode", "it is a node of a Cluster, which has no databases by number"},
	{"ERR This instance has cluster support disabled",
		"it is no node of a Cluster, and redis.url (addr=) says that it is"},
	{"ERR Client sent AUTH", "it knows no password, and redis.url has one"},
	{"ERR AUTH <password> called without any password", "it knows no password, and redis.url has one"},
	{"ERR unknown command 'evalsha'", "it runs no scripts: it is no redis that keeps data (a Sentinel?)"},
	{"ERR unknown command `evalsha`", "it runs no scripts: it is no redis that keeps data (a Sentinel?)"},
}

// troubleOf returns the trouble that an error means; nil if it is an ordinary answer of Redis.
func troubleOf(err error) *trouble {
	if err == nil {
		return nil
	}
	if why := troubleOfSentinels(err); why != "" {
		return &trouble{state: Down, why: why, cause: err}
	}
	var answer redis.Error
	switch t, ok := errors.AsType[*trouble](err); {
	case errors.Is(err, redis.Nil), errors.Is(err, context.Canceled):
		return nil
	case ok:
		return t
	case errors.As(err, &answer):
		return troubleOfAnswer(answer, err)
	}
	return &trouble{state: Down, why: whyNoAnswer(err), cause: err}
}

// troubleOfAnswer is troubleOf for an error that Redis itself has answered.
func troubleOfAnswer(answer redis.Error, err error) *trouble {
	code, _, _ := strings.Cut(answer.Error(), " ")
	if t, known := troubles[code]; known {
		t.cause = err
		return &t
	}
	for _, p := range plainTroubles {
		if strings.HasPrefix(answer.Error(), p.text) {
			return &trouble{state: Down, why: p.why, cause: err}
		}
	}
	return refusalOf(answer.Error(), err)
}

// troubleOfSentinels returns what is wrong with the Sentinels; empty if the error is not about them. go-redis has no
// type for these errors.
func troubleOfSentinels(err error) string {
	const unreachable = "redis: all sentinels specified in configuration are unreachable"
	if !strings.HasPrefix(err.Error(), unreachable) {
		return ""
	}
	var answer redis.Error
	switch {
	case errors.Is(err, redis.Nil):
		return "no Sentinel knows a master of the name in redis.url (master_name)"
	case errors.As(err, &answer) && strings.Contains(answer.Error(), "unknown command"):
		return "what answers at the addresses of the Sentinels is no Sentinel"
	case errors.As(err, &answer):
		if t := troubleOfAnswer(answer, err); t != nil {
			return whyNoSentinel + ": " + t.why
		}
		return whyNoSentinel
	}
	return "no Sentinel answers: " + whyNoAnswer(err)
}

// whyNoAnswer returns why there was no answer, without addresses.
func whyNoAnswer(err error) string {
	var timeout net.Error
	var number syscall.Errno
	var name *net.DNSError
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var alert tls.AlertError

	// The order matters: a name that cannot be resolved may also be a timeout, and a timeout a system call's error.
	switch {
	case errors.As(err, &name) && name.IsNotFound:
		return "no such host"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return whyTimeout
	case errors.As(err, &name):
		return "the name of its host cannot be resolved"
	case errors.As(err, &certificate):
		return "its certificate is not trusted, or for another name"
	case errors.As(err, &record):
		return "it does not speak TLS"
	case errors.As(err, &alert):
		return "it refuses the TLS connection (" + alert.Error() + ")"
	case errors.As(err, &number):
		return number.Error()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return whyClosed
	case errors.Is(err, redis.ErrClosed):
		return "the client is closed"
	case errors.Is(err, redis.ErrPoolTimeout):
		return "no connection to it was free in time"
	case strings.HasPrefix(err.Error(), "redis: can't parse"):
		return "what answers there is no redis"
	}
	return "no connection to it"
}

// server is the Redis of a URL, as operators know it.
type server struct {
	address           string // host:port, or more of them, without user and password; empty: embedded
	tls               bool
	sentinel, cluster bool
}

func serverOf(rawURL string) server {
	u, err := url.Parse(rawURL)
	if err != nil || rawURL == "" {
		return server{}
	}
	q := u.Query()
	s := server{tls: u.Scheme == "rediss", sentinel: q.Has("master_name")}
	s.cluster = !s.sentinel && q.Has("addr")
	if u.Scheme == "unix" {
		s.address = u.Path
		return s
	}
	port := "6379"
	if s.sentinel {
		port = "26379"
	}
	var hosts []string
	for i, host := range append([]string{u.Host}, q["addr"]...) {
		if i == 0 && u.Port() == "" {
			host = net.JoinHostPort(cmp.Or(u.Hostname(), "localhost"), port)
		}
		hosts = append(hosts, host)
	}
	s.address = strings.Join(hosts, ", ")
	return s
}

// trouble returns the trouble that an error means for this Redis; nil: none. never says that Redis has not answered
// yet, so that the URL may be wrong.
func (s server) trouble(err error, never bool) *trouble {
	found := troubleOf(err)
	if found == nil || found.at != "" {
		return found
	}
	t := *found
	t.at = s.address
	var dialed *net.OpError
	if (s.sentinel || s.cluster) && errors.As(err, &dialed) && dialed.Addr != nil &&
		!strings.Contains(s.address, dialed.Addr.String()) {
		t.at = dialed.Addr.String() + ", of " + s.address
	}
	refused := strings.TrimPrefix(t.why, whyNoSentinel+": ")
	switch {
	case s.sentinel && (refused == whyNoPassword || refused == whyWrongPassword):
		t.hint = "password= behind the ? is that of the servers; what stands before the @ is for the Sentinels alone"
	case t.why == whyMoved && !s.cluster:
		t.hint = "it is a node of a Cluster, which is written redis://HOST:PORT?addr=HOST:PORT"
	case t.why == whyTimeout && s.tls && never:
		t.hint = "rediss:// speaks TLS: does that port?"
	case t.why == whyClosed && !s.tls && never:
		t.hint = "does that port want TLS? rediss:// speaks it"
	}
	return &t
}

// Address is where Redis is, for operators: host:port, or several of them, without user and password. Empty: embedded.
func (d *DB) Address() string { return d.health.server.address }

// Trouble returns which state of Redis an error of a Store comes from, why Redis is in it, and what may help, all
// without addresses.
func Trouble(err error) (s Availability, why string) {
	if t := troubleOf(err); t != nil {
		return t.state, t.reason()
	}
	return Down, "it refuses what it is asked"
}

// Permanent says that Redis has refused a call because of the call or of the data in Redis, so that the same call fails
// again.
func Permanent(err error) bool {
	var answer redis.Error
	if errors.Is(err, ErrShape) {
		return true
	}
	return errors.As(err, &answer) && slices.ContainsFunc([]string{"WRONGTYPE", "ERR accept: ", "attempt to "},
		func(s string) bool { return strings.Contains(answer.Error(), s) })
}
