package store

import (
	_ "embed"

	"github.com/redis/go-redis/v9"
)

//go:embed lua/lib.lua
var libLua string

//go:embed lua/accept.lua
var acceptLua string

//go:embed lua/lease.lua
var leaseLua string

//go:embed lua/settle.lua
var settleLua string

//go:embed lua/redrive.lua
var redriveLua string

//go:embed lua/park.lua
var parkLua string

//go:embed lua/unquarantine.lua
var unquarantineLua string

//go:embed lua/quarantine.lua
var quarantineLua string

//go:embed lua/wish.lua
var wishLua string

//go:embed lua/claim.lua
var claimLua string

//go:embed lua/answer.lua
var answerLua string

//go:embed lua/catchup.lua
var catchUpLua string

//go:embed lua/unwish.lua
var unwishLua string

//go:embed lua/todo.lua
var todoLua string

//go:embed lua/admit.lua
var admitLua string

//go:embed lua/import.lua
var importLua string

//go:embed lua/ready.lua
var readyLua string

//go:embed lua/clock.lua
var clockLua string

//go:embed lua/events.lua
var eventsLua string

//go:embed lua/trim.lua
var trimLua string

//go:embed lua/replay.lua
var replayLua string

//go:embed lua/dismiss.lua
var dismissLua string

//go:embed lua/cancel.lua
var cancelLua string

//go:embed lua/newreplay.lua
var newReplayLua string

//go:embed lua/takereplay.lua
var takeReplayLua string

// scripts are the state changes of the store; each file says its arguments, its answer, and why it has to be atomic.
var (
	acceptScript       = script(acceptLua)
	leaseScript        = script(leaseLua)
	settleScript       = script(settleLua)
	redriveScript      = script(redriveLua)
	parkScript         = script(parkLua)
	quarantineScript   = script(quarantineLua)
	unquarantineScript = script(unquarantineLua)
	wishScript         = script(wishLua)
	claimScript        = script(claimLua)
	answerScript       = script(answerLua)
	catchUpScript      = script(catchUpLua)
	unwishScript       = script(unwishLua)
	todoScript         = script(todoLua)
	admitScript        = script(admitLua)
	importScript       = script(importLua)
	readyScript        = script(readyLua)
	clockScript        = script(clockLua)
	eventsScript       = script(eventsLua)
	trimScript         = script(trimLua)
	replayScript       = script(replayLua)
	dismissScript      = script(dismissLua)
	cancelScript       = script(cancelLua)
	newReplayScript    = script(newReplayLua)
	takeReplayScript   = script(takeReplayLua)
)

func script(body string) *redis.Script { return redis.NewScript(libLua + body) }
