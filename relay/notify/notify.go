// Package notify tells people when something needs them, and when it is over: by messages to a chat of WeCom, Feishu,
// DingTalk or Slack, or by a signed webhook. It makes no rules of its own: what is a problem it is told, by the same
// rules as the pages, the status and the alerts.
//
// One replica at a time tells for all (see Store): it looks at what is wrong, compares that with what each receiver was
// told, and sends the difference. What a message says is written down after it was taken: a replica that is killed in
// between has it sent again, and no message is lost. While Redis is down, each replica tells what it sees itself.
package notify

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// Problem is something that needs a person. Its texts are in English; times in them are in the form of RFC 3339.
type Problem struct {
	Code     string
	Severity string    // critical, warning or notice
	Since    time.Time // zero: it is not known
	Subject  string    // what has it
	What     string
	Why      string // empty: it is not known
	Do       string
	// Key tells it from others of its code, for as long as it lasts. The subject may change meanwhile.
	Key string
	// By are the replicas that see it, if that depends on the replica.
	By []string
}

func (p *Problem) key() string { return p.Code + " " + p.Key }

// Receiver is where messages go.
type Receiver struct {
	Name   string // what may be shown of it: FORMAT-N, or TENANT/FORMAT-N
	Tenant string // who is told; empty: the operator
	Format Format
	URL    string // a secret: it holds a token
	Secret string // to sign with; empty: it signs nothing
	// On has the codes and severities that it is told of; "all" is all of them.
	On []string
	// Every is the least time between two messages that a problem has begun, and between two that it is over.
	Every    time.Duration
	Language Language
	Zone     *time.Location // of the times in texts
	// Client makes the requests. It keeps them to addresses that are allowed, and follows no redirect.
	Client *http.Client
}

// Everything is the word of Receiver.On for all problems.
const Everything = "all"

func (r *Receiver) wants(p *Problem) bool {
	return slices.Contains(r.On, Everything) || slices.Contains(r.On, p.Code) || slices.Contains(r.On, p.Severity)
}

// id names the receiver in what is written down about it. It outlives a restart and another order in the config.
func (r *Receiver) id() string {
	sum := sha256.Sum256([]byte(r.Tenant + "\x00" + string(r.Format) + "\x00" + r.URL))
	return hex.EncodeToString(sum[:8])
}

// Store remembers what people were told. Its records are texts: whether a notice is open (0 or 1), when it was told,
// and when it was told to be over (0: never), in ms, with spaces between; what is behind them is for this package.
type Store interface {
	// LeadNotices asks whether a replica is the one that tells, for the span. anew says that it reads all notices again.
	LeadNotices(ctx context.Context, replica string, span time.Duration) (leads, anew bool, err error)
	// Notices reads all of them.
	Notices(ctx context.Context) (map[string]string, error)
	// TellNotices writes some; an empty record is forgotten. It returns false if another replica tells now.
	TellNotices(ctx context.Context, replica string, records map[string]string) (still bool, err error)
	// AdoptNotices adds what a replica has told by itself, unless it is open, or was over since.
	AdoptNotices(ctx context.Context, records map[string]string) error
	// EndNotices lets another replica tell.
	EndNotices(ctx context.Context, replica string)
}

// Options of a Notifier. Store, Own and All are required. Another zero field means its default.
type Options struct {
	Store Store
	// Own gives the problems that this replica sees without asking Redis.
	Own func() []Problem
	// All gives those that any replica sees, for the operator ("") and for tenants. whole says that none is missing.
	All func(ctx context.Context, tenants []string) (all map[string][]Problem, whole bool)
	// Say translates a text. Of the code of a problem it gives the name. Nil: it stays as it is.
	Say func(to Language, text string) string
	// Replica is the name of this one.
	Replica   string
	UserAgent string
	// Now is the time of the store. Default time.Now.
	Now func() time.Time
	// Look is how often it looks what is wrong. Default 15 s.
	Look     time.Duration
	Logger   *zap.Logger
	Registry prometheus.Registerer
}

// Notifier tells people. All methods may be called at the same time.
type Notifier struct {
	o       Options
	sent    *prometheus.CounterVec
	pace    pace
	slots   chan struct{} // one for each message that is under way
	sending sync.WaitGroup

	mu        sync.Mutex
	receivers []*receiver
	lead      leading
	own       alone
}

// sendingMost is how many messages of all receivers are under way at the same time.
const sendingMost = 16

// New makes a Notifier that tells nobody, until Use.
func New(o Options) *Notifier {
	o.Look = cmp.Or(o.Look, 15*time.Second)
	o.Logger = cmp.Or(o.Logger, zap.NewNop())
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Say == nil {
		o.Say = func(_ Language, text string) string { return text }
	}

	n := &Notifier{
		o: o,
		sent: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kuairelay_notices_total",
			Help: "Messages to people, by the format of their receiver and result: sent, or failed " +
				"(it is tried again while it is due).",
		}, []string{"format", "result"}),
		slots: make(chan struct{}, sendingMost),
	}
	n.pace.least = n.o.Look / paceShare

	for _, format := range Formats() {
		for _, result := range []string{resultSent, resultFailed} {
			n.sent.WithLabelValues(string(format), result)
		}
	}
	if o.Registry != nil {
		o.Registry.MustRegister(n.sent)
	}
	return n
}

// The results of messages.
const (
	resultSent   = "sent"
	resultFailed = "failed"
)

// receiver is one with what is known of it.
type receiver struct {
	Receiver
	id string

	busy bool // a message to it is under way
	// A message that failed is tried again after next; the pauses grow with the number of failures in a row.
	failures int
	next     time.Time
	since    time.Time // of the first of these failures
	why      string    // of the last
}

// Use has these receivers told from now on. What is known of one that stays is kept.
func (n *Notifier) Use(all []Receiver) {
	n.mu.Lock()
	defer n.mu.Unlock()
	before := make(map[string]*receiver)
	for _, r := range n.receivers {
		before[r.id] = r
	}
	n.receivers = nil
	for _, r := range all {
		now := &receiver{Receiver: r, id: r.id()}
		if was := before[now.id]; was != nil && was.Secret == r.Secret {
			now.failures, now.next, now.since, now.why = was.failures, was.next, was.since, was.why
		}
		n.receivers = append(n.receivers, now)
	}
}

// Failure is a receiver that gets no messages.
type Failure struct {
	Receiver string
	Tenant   string
	Since    time.Time
	Why      string
}

// Failures lists the receivers to which several messages in a row have failed.
func (n *Notifier) Failures() (all []Failure) {
	const several = 2
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range n.receivers {
		if r.failures >= several {
			all = append(all, Failure{Receiver: r.Name, Tenant: r.Tenant, Since: r.since, Why: r.why})
		}
	}
	return all
}

// Tested is what became of a test message.
type Tested struct {
	Receiver string
	Format   Format
	Host     string
	Err      error
}

// Test sends a message at once, to the receiver of a name, or to all of a tenant (empty: the operator's). The operator
// may name those of tenants.
func (n *Notifier) Test(ctx context.Context, tenant, name string) []Tested {
	n.mu.Lock()
	var to []*receiver
	for _, r := range n.receivers {
		named := name == r.Name || name == strings.TrimPrefix(r.Name, r.Tenant+"/") && tenant == r.Tenant
		if name == "" && r.Tenant == tenant || named && (tenant == "" || tenant == r.Tenant) {
			to = append(to, r)
		}
	}
	n.mu.Unlock()

	out := make([]Tested, len(to))
	var tests sync.WaitGroup
	for i, r := range to {
		out[i] = Tested{Receiver: r.Name, Format: r.Format, Host: hostOf(r.URL)}
		tests.Go(func() { out[i].Err = n.send(ctx, r, n.testMessage(&r.Receiver)) })
	}
	tests.Wait()
	return out
}

// Names are those of the receivers that a tenant (empty: the operator) may try, in their order.
func (n *Notifier) Names(tenant string) (names []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range n.receivers {
		if tenant == "" || tenant == r.Tenant {
			names = append(names, r.Name)
		}
	}
	return names
}

// Run looks what is wrong, and tells it, until ctx ends.
func (n *Notifier) Run(ctx context.Context) {
	tick := time.NewTicker(n.o.Look)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			n.sending.Wait()
			n.retire(context.WithoutCancel(ctx))
			return
		case <-tick.C:
			n.look(ctx)
		}
	}
}
