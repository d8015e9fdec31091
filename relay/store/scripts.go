package store

import (
	"embed"
	"strings"

	"github.com/redis/go-redis/v9"
)

//go:embed lua
var luaFiles embed.FS

// The scripts are the state changes of the store. Each file says its arguments, its answer, and why it has to be
// atomic. The other arguments of script are the files that it needs in addition to lib/base.
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
	subscribeScript    = script("subscribe", "ledger")
	claimScript        = script("claim", "rate", "ledger")
	answerScript       = script("answer", "ledger")
	catchUpScript      = script("catchup", "state", "control", "list")
	unsubscribeScript  = script("unsubscribe", "ledger")
	takeOverScript     = script("takeover")
	listenScript       = script("listen", "silent")
	silentScript       = script("silent", "silent")
	heardScript        = script("heard", "silent")
	admitScript        = script("admit", "rate")
	importScript       = script("import", "ledger")
	readyScript        = script("ready")
	beatScript         = script("beat")
	clockScript        = script("clock")
	eventsScript       = script("events")
	trimScript         = script("trim")
	replayScript       = script("replay", "state", "control", "list", "again")
	dismissScript      = script("dismiss", "state", "ledger")
	cancelScript       = script("cancel")
	newReplayScript    = script("newreplay")
	claimReplayScript  = script("claimreplay")
	releaseScript      = script("release")
	statsScript        = script("stats")
	auditScript        = script("audit")
)

// script joins the files of a script: lib/base, what it needs of lua/lib, its own parts (those with a folder in their
// names), and its end.
func script(name string, parts ...string) *redis.Script {
	text := luaFile("lib/base")
	for _, part := range parts {
		if !strings.Contains(part, "/") {
			part = "lib/" + part
		}
		text += luaFile(part)
	}
	return redis.NewScript(text + luaFile(name))
}

func luaFile(name string) string {
	text, err := luaFiles.ReadFile("lua/" + name + ".lua")
	if err != nil {
		panic(err) // the files are embedded, so a name above is wrong
	}
	return string(text)
}
