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

//go:embed lua/quarantine.lua
var quarantineLua string

// scripts are the state changes of the store; each file says its arguments, its answer, and why it has to be atomic.
var (
	acceptScript     = script(acceptLua)
	leaseScript      = script(leaseLua)
	settleScript     = script(settleLua)
	redriveScript    = script(redriveLua)
	parkScript       = script(parkLua)
	quarantineScript = script(quarantineLua)
)

func script(body string) *redis.Script { return redis.NewScript(libLua + body) }
