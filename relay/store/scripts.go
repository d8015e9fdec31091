package store

import (
	"embed"

	"github.com/redis/go-redis/v9"

	"kuairelay/relay/store/db"
)

//go:embed lua
var luaFiles embed.FS

// The scripts are the state changes of the store. Each file says its arguments, its answer, and why it has to be
// atomic. The other arguments of script are the files that it needs in addition to lib/base
// (see db.NewScript).
var (
	acceptScript = script("accept", "event", "control", "list", "rate", "ledger")
	leaseScript  = script("lease", "event", "control", "rate")
	settleScript = script("settle", "event", "control", "rate", "ledger", "log", "settle/call", "settle/breaker",
		"settle/line")
	redriveScript      = script("redrive", "event", "control", "record")
	resendScript       = script("resend", "event", "control", "record", "again")
	advanceScript      = script("advance", "event", "control", "record", "again")
	retryScript        = script("retry", "event", "control")
	parkScript         = script("park", "control", "log")
	noteScript         = script("note", "log")
	settingsScript     = script("settings", "log")
	quarantineScript   = script("quarantine")
	unquarantineScript = script("unquarantine")
	catchUpScript      = script("catchup", "event", "control", "list", "record")
	beatScript         = script("beat")
	eventsScript       = script("events")
	trimScript         = script("trim", "event", "list")
	replayScript       = script("replay", "event", "control", "list", "record", "again")
	dismissScript      = script("dismiss", "event")
	statsScript        = script("stats", "rows")
	auditScript        = script("audit")
)

func script(name string, parts ...string) *redis.Script {
	return db.NewScript(luaFiles, name, parts...)
}
