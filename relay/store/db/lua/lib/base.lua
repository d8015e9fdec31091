-- The beginning of every script (see NewScript): all keys of the store, and how to write to them.
--
-- KEYS[1] is the store's prefix "{tag}2:", which also routes the script to the one slot that holds all keys:
--   w:<waybill>        hash    record of a waybill (n:<id> for an event that has none):
--                              i:<id> -> "<sequence>" or "<sequence> <occurrences>", q last sequence,
--                              s:<brand> what is known of it under that brand: when the newest track was (ms, 6 bytes),
--                              sequence of the update with that track (6 bytes), last status,
--                              h, h:<endpoint> the head, see in_order(),
--                              o open events that are counted (see lib/record.lua), p size at which to prune,
--                              k keep until (ms)
--   e:<id>             string  an event: its head, with the states of its deliveries, see lib/event.lua, and then its
--                              body
--   f:<id>             hash    what only few events have: r "<how often> <last time, ms> <call> <how often in that
--                              call>" it came again, r0 to r9 the callbacks of the last ten times, by the last digit of
--                              how often, !<endpoint> -> why that delivery was given up, @<endpoint> -> its attempts
--                              that failed, each "<entry in a:<endpoint>> <status> <ms>;"
--   q:<endpoint>       zset    ready, retrying and leased deliveries: id by the time when it is due (a lease: when it
--                              lapses)
--   l:<endpoint> <rec> list    ids that wait behind the open head of a record (<rec> is its key, w:<waybill>) at an
--                              endpoint
--   x:<endpoint>       zset    dead letters: id by the time when it was given up
--   a:<endpoint>       stream  the latest attempts that failed: i event, n number, k kind of the outcome, s status,
--                              d ms, m text, o origin: replica, reason, headers of the answer, with tabs between them
--   d:<endpoint>       list    the latest attempts that delivered, the latest first:
--                              "<when, ms> <status> <ms> <attempt> <id>"
--   h:<endpoint>       list    the log of an endpoint for people, the latest first: JSON, see endpointlog.go
--   settings           hash    endpoint -> its settings, as the replica that saw them change last wrote them down
--   log                zset    chunks of the list of all events, each named by the time when it began (ms)
--   logt               zset    chunks by the time when they are to be trimmed (ms), see trim.lua
--   v:<chunk>          list    events in the order in which they came: "<id> <codes of the endpoints>", see code(). An
--                              event is listed again, with "+" before it, for endpoints that it was owed to later.
--                              One that was deleted is empty
--   c:<chunk>          string  codes of all endpoints in a chunk that is full
--   d:<tenant>         string  how many waybills a tenant has subscribed today, until the day ends; a tenant's name has
--                              no "/", an endpoint's has
--   ready              string  written to see whether Redis takes events, see ready.lua
--   try                string  of each type in turn, and gone at the end of the script that tries commands, see
--                              commands.lua
--   clock              hash    the store's time, as that of Redis may go back: offset (ms), moves (how often it was
--                              moved), last time that was told, see clock.lua
--   orphans            hash    endpoint that no replica knows -> since when (ms)
--   quarantine         zset    what was not understood: id by the time when it came (ms)
--   quarantined        hash    id -> its size in bytes, "+" -> of all; without what an older version has kept
--   z:<id>             string  what was not understood, with its headers and the reason, as JSON
--   replays            zset    all replays by the time when they were asked for (ms)
--   yopen              zset    replays that are to be worked off, by the same
--   y:<replay>         hash    the request of a replay, its state, cursor, call, and counts: looked at, matched,
--                              queued, skipped
--   yl:<replay>        string  who works a replay off
--   yh:<rec>           hash    h:<endpoint> -> which update of a record is being sent again; others that are to be sent
--                              again wait for it, in l:<endpoint> yh:<rec>
--   ylined             zset    these lines, "<endpoint> yh:<rec>", by when to look whether they go on (ms), see
--                              advance.lua
--   r:<call>           list    what a leasing call has answered, for when it is asked again, see lease.lua
--   due                zset    endpoint by the earliest time in its q (never later than that; it may be earlier)
--   dead               zset    endpoint by the time of its latest dead letter
--   wait               hash    endpoint -> how many wait in its lists
--   marker             string  a random text, to notice a Redis that was emptied; see Store.Marker
--   heard              zset    "callback" by the time when the latest one came (ms)
--   reps               zset    replicas that are alive, by the time when each last said so (ms)
--   rep:<replica>      hash    what a replica said of itself, see Store.Beat
--   ctl                hash    endpoint -> what holds it back, as control() has it; absent: nothing
--   by                 hash    endpoint that a person has paused -> who: "operator", or the tenant
--   twice              hash    endpoint -> since when (ms) it is known to answer twice, until it is resumed
--   fail               hash    endpoint -> "<failures in a row> <window since ms> <attempts in it> <failures in it>"
--   s:<entry>          hash    entry of the ledger, named "<brand> <waybill>": u upstream state (p pending, l live,
--                              f failed), c code, m text and i uid of the provider's answer,
--                              t token of the claim, x when it lapses (ms),
--                              r that the provider has no record of it yet, see lib/ledger.lua,
--                              e last event of the waybill, n when its newest track was (ms), if that is known,
--                              z 1 if it was signed for, q when it was asked for, see lib/silent.lua,
--                              w until when tenants were told of it (ms), see lib/watch.lua,
--                              @<tenant> -> since (ms)
--   t:<tenant>         zset    entries that a tenant has subscribed, by the time when they expire
--   ledger             zset    tenants that have subscribed anything, by the time when the last of it expires
--   todo               zset    unfinished work, by the time when another replica takes it over (ms): " <entry>" is to
--                              be subscribed upstream, "<tenant> <entry>" is a tenant to be caught up
--   norecord           zset    entries of which the provider has no record yet, by the time when they are asked for
--                              again (ms)
--   silent             zset    entries that are live, by when to look whether something was heard of them (ms), see
--                              lib/silent.lua
--   toask              zset    those that the provider is to be asked for, by since when (ms); they are in silent, too
--   watch              hash    tenant -> what it is told of its parcels, see lib/watch.lua
--   queries            string  "<day> <n>": how many waybills the provider was asked for on that day, see
--                              lib/silent.lua
--   lost               zset    entries that failed after that, of which tenants are to be told, by the time when
--                              another replica tells of them (ms): "<since (ms)> <how often it was asked for> <code>
--                              <entry> <text>"
--   only:<what>        string  call of the replica that does this alone; of notices the replica itself
--   notices            hash    what people were told of problems: "<receiver> <code> <subject>" -> "<open, 0 or 1>
--                              <when it was told, ms> <when it was told to be over, ms; 0: never> <text>"
--   m:<subject>:<n>    hash    statistics of minutes n * 360 to n * 360 + 359 since the epoch: minute of these -> row
--                              of counts (see stats.Measure). A row has numbers in base 36, each behind the letter of
--                              its place ("A3C1"). A subject is an endpoint, a tenant with "/" behind it, "/" for all,
--                              or "callbacks"
--   m5:<subject>:<n>   hash    the same of 144 times five minutes: <cell> -> row of counts, a<cell> -> histogram of how
--                              long attempts took, or callbacks to be durable, d<cell> -> histogram of the time from
--                              acceptance to delivery
--   mh:<subject>:<n>   hash    the same of 120 hours
--   mc:<replica>       string  number of the latest call that has added to these, see stats.lua
--   yt:<tenant>        zset    replays of a tenant by the time when they were asked for, see newreplay.lua
--   audit              stream  what people did through the API, see audit.lua: b who did it, a tenant or operator,
--                              a the act as JSON, t when it was first done and l last (ms), n how often, m how many
--                              things it changed, c call
--   au:<name>          list    the entries of a tenant, or of the operator, in it, the oldest first
--   g:<limiter>        string  when the next request of a rate limiter may begin (ms), see next_at(). A limiter is
--                              "<tenant> reads", "<tenant> acts", "<tenant> states", "<tenant> tests",
--                              "<tenant> explanations" or <tenant> for its requests, "*" for calls to the provider,
--                              "* queries" for those that ask how waybills stand, an endpoint for its attempts
--
-- The key {tag}:form says in which form the data are, see form.lua.
--
-- An <id> is the first 14 characters of base64url of the hash in an event id, 84 bits, and "-2", "-3", … of a
-- recurrence; e:<id> has the other 29. In a: and d:, which outlive the events, an id has all 43.
local P = KEYS[1]
local rcall, max, min = redis.call, math.max, math.min

-- int writes a whole number as a command takes it: Redis would write each anew as a fraction of 17 digits, and most
-- come many times. The embedded Redis' Lua would make an array as long as a positive index.
local ints = {}
local function int(n)
  local s = ints[-n]
  if not s then
    s = string.format('%.0f', n)
    ints[-n] = s
  end
  return s
end

-- num is tonumber for texts that are in the arguments many times.
local nums = {}
local function num(s)
  local n = nums[s]
  if n == nil then
    n = tonumber(s) or false
    nums[s] = n
  end
  return n
end

-- hmget, hset, and many for other commands, take any number of arguments, in calls of at most 100.
local function hmget(key, fields)
  if #fields <= 100 then return rcall('HMGET', key, unpack(fields)) end
  local out = {}
  for from = 1, #fields, 100 do
    local part = rcall('HMGET', key, unpack(fields, from, min(from + 99, #fields)))
    for i = 1, min(100, #fields - from + 1) do out[from + i - 1] = part[i] end
  end
  return out
end

local function many(command, key, args)
  if #args <= 100 then
    if #args > 0 then rcall(command, key, unpack(args)) end
    return
  end
  for from = 1, #args, 100 do
    rcall(command, key, unpack(args, from, min(from + 99, #args)))
  end
end

local function hset(key, pairs_) many('HSET', key, pairs_) end
