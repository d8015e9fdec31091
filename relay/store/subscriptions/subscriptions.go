// Package subscriptions keeps the ledger in Redis: which tenants have subscribed which waybills, how each stands at the
// provider, and whose turn it is to ask. Its nouns are those of package ledger. Scripts of package store know the
// entries of the ledger, too: an update is owed to those who have subscribed its waybill, and becomes the last event of
// its entry.
package subscriptions

import (
	"cmp"
	"embed"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"kuairelay/relay/event"
	"kuairelay/relay/ledger"
	"kuairelay/relay/store/db"
)

//go:embed lua
var luaFiles embed.FS

// The scripts are the state changes of the ledger; see those of package store.
var (
	subscribeScript   = script("subscribe", "event", "ledger")
	claimScript       = script("claim", "rate", "ledger")
	answerScript      = script("answer", "ledger")
	unsubscribeScript = script("unsubscribe", "ledger")
	takeOverScript    = script("takeover")
	listenScript      = script("listen", "event", "silent", "watch")
	lookScript        = script("look", "event", "silent", "watch")
	silentScript      = script("silent", "event", "silent", "watch")
	queryScript       = script("query", "event", "silent")
	heardScript       = script("heard", "event", "silent", "watch")
	toldScript        = script("told", "event", "silent", "watch")
	watchScript       = script("watch")
	admitScript       = script("admit", "rate")
	importScript      = script("import", "ledger")
)

func script(name string, parts ...string) *redis.Script {
	return db.NewScript(luaFiles, name, parts...)
}

// TTL and SignedTTL are the defaults of Settings.
const (
	TTL       = 60 * 24 * time.Hour
	SignedTTL = 7 * 24 * time.Hour
)

// Settings of a Ledger are what may change while it runs (see Use). A zero field means its default. All replicas should
// have the same.
type Settings struct {
	// TTL is how long the ledger keeps a waybill after it was last subscribed. SignedTTL is how long it keeps one after
	// the parcel was signed for, or after the provider refused it. Defaults 60 and 7 days.
	TTL, SignedTTL time.Duration
	// NoRecord is when the provider is asked again for a waybill of which it has no record yet: the pause after each such
	// answer. When it ends, the waybill fails. Default: it fails at once.
	NoRecord []time.Duration
	// Max is how many waybills a tenant may have in the ledger at one time. Default 1,000,000.
	Max int
	// ClaimTTL is how long a replica may take for a call to the provider and for writing down the answer, before another
	// replica takes the work over. If a replica is killed, its work waits for that time, so it is short. Default 10 s.
	ClaimTTL time.Duration
	// UpstreamRate bounds the calls to the provider per second, over all replicas. Default 10.
	UpstreamRate float64
	// Silence says when the provider is asked how waybills stand, and QueryRate bounds these calls per second, over all
	// replicas. Default: it is not asked.
	Silence   ledger.Silence
	QueryRate float64
	// Watches is what each tenant is told of its parcels, by its name. A relay says it to all of them (see Ledger.Watch).
	// Default: nothing.
	Watches map[string]ledger.Watch
}

// settings are Settings with their defaults.
type settings struct {
	Settings
	// schedule is NoRecord as lua/answer.lua reads it.
	schedule string
	// watch are the arguments of lua/watch.lua, without the first.
	watch []any
}

// Ledger is one replica's access to the ledger. All methods may be called at the same time.
type Ledger struct {
	db  *db.DB
	set atomic.Pointer[settings]
}

// New makes a Ledger in a Redis. It starts nothing.
func New(d *db.DB, set Settings) *Ledger {
	l := &Ledger{db: d}
	l.Use(set)
	return l
}

// Use replaces the settings for all that begins from now on.
func (l *Ledger) Use(set Settings) {
	set.TTL = cmp.Or(set.TTL, TTL)
	set.SignedTTL = cmp.Or(set.SignedTTL, SignedTTL)
	set.Max = cmp.Or(set.Max, 1_000_000)
	set.ClaimTTL = cmp.Or(set.ClaimTTL, 10*time.Second)
	set.UpstreamRate = cmp.Or(set.UpstreamRate, 10)
	var waits []string
	for _, wait := range set.NoRecord {
		waits = append(waits, strconv.FormatInt(max(1, wait.Milliseconds()), 10))
	}
	l.set.Store(&settings{Settings: set, schedule: strings.Join(waits, " "), watch: watchArgs(&set)})
}

func (l *Ledger) settings() *settings { return l.set.Load() }

// Entry names a waybill in the ledger.
func Entry(w event.Waybill) string { return w.CPCode + " " + w.Code }

func readEntry(entry string) event.Waybill {
	brand, code, _ := strings.Cut(entry, " ")
	return event.Waybill{CPCode: brand, Code: code}
}

// The keys of the ledger; db/lua/lib/base.lua says what each holds.
func (l *Ledger) entryKey(entry string) string       { return l.db.Key("s:" + entry) }
func (l *Ledger) subscribedKey(tenant string) string { return l.db.Key("t:" + tenant) }
