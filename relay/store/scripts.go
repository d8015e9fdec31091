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
	acceptScript = script("accept", "state", "control", "list", "rate", "ledger")
	leaseScript  = script("lease", "state", "control", "rate")
	settleScript = script("settle", "state", "control", "rate", "ledger", "log", "settle/call", "settle/breaker",
		"settle/line")
	redriveScript      = script("redrive", "state", "control")
	resendScript       = script("resend", "state", "control", "again")
	advanceScript      = script("advance", "state", "control", "again")
	retryScript        = script("retry", "control")
	parkScript         = script("park", "control", "log")
	noteScript         = script("note", "log")
	settingsScript     = script("settings", "log")
	quarantineScript   = script("quarantine")
	unquarantineScript = script("unquarantine")
	catchUpScript      = script("catchup", "state", "control", "list")
	beatScript         = script("beat")
	eventsScript       = script("events")
	trimScript         = script("trim")
	replayScript       = script("replay", "state", "control", "list", "again")
	dismissScript      = script("dismiss", "state", "ledger")
	statsScript        = script("stats")
	auditScript        = script("audit")
)

func script(name string, parts ...string) *redis.Script {
	return db.NewScript(luaFiles, name, parts...)
}
