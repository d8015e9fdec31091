-- Shared by every script of this folder: it is put in front of each (see scripts.go).
--
-- KEYS[1] is the store's prefix "{tag}:", which also routes the script to the one slot that holds all keys:
--   w:<waybill>        hash    record of a waybill (n:<id> for an event that has none):
--                              i:<id> -> "<sequence>" or "<sequence> <occurrences>", q last sequence, s:<brand> last status,
--                              h:<endpoint> -> open head, o open deliveries, p size at which to prune, k keep until (ms)
--   e:<id>             hash    state of an event: w record, q sequence, t accepted at (ms), c call that accepted it,
--                              o open deliveries, x dead ones, <endpoint> -> state of that delivery
--   b:<id>             string  body of an event
--   q:<endpoint>       zset    ready, retrying and leased deliveries: id by the time when it is due (a lease: when it lapses)
--   l:<endpoint> <rec> list    ids that wait behind the open head of a record at an endpoint
--   x:<endpoint>       zset    dead letters: id by the time when it was given up
--   a:<endpoint>       stream  the latest attempts
--   due                zset    endpoint by the earliest time in its q (never later than that; it may be earlier)
--   dead               zset    endpoint by the time of its latest dead letter
--   wait               hash    endpoint -> how many wait in its lists
--   ctl                hash    endpoint -> "<state> <since ms>" of a parked one
--
-- The state of a delivery is "<s><attempts> <reason> <token> <text>": s is q queued, l leased, w waiting, d delivered,
-- x dead; reason n new, r retry, d redrive; token names the lease that held it last; text is why it is dead, or when it was
-- redriven (ms).
local P = KEYS[1]
local rcall = redis.call

local function pack_state(s, attempts, reason, token, text)
  return s .. attempts .. ' ' .. reason .. ' ' .. token .. ' ' .. (text or '')
end

local function parse_state(v)
  local s, attempts, reason, token, text = string.match(v, '^(%a)(%d+) (%a) (%S*) (.*)$')
  return s, tonumber(attempts), reason, token, text
end

-- hmget and hset take any number of fields, in calls of at most 100 arguments.
local function hmget(key, fields)
  if #fields <= 100 then return rcall('HMGET', key, unpack(fields)) end
  local out = {}
  for from = 1, #fields, 100 do
    local part = rcall('HMGET', key, unpack(fields, from, math.min(from + 99, #fields)))
    for i = 1, math.min(100, #fields - from + 1) do out[from + i - 1] = part[i] end
  end
  return out
end

local function hset(key, pairs_)
  for from = 1, #pairs_, 100 do
    rcall('HSET', key, unpack(pairs_, from, math.min(from + 99, #pairs_)))
  end
end

local parked_known, parked_any = {}, nil
local function parked(ep)
  if parked_any == nil then parked_any = rcall('EXISTS', P .. 'ctl') == 1 end
  if not parked_any then return false end
  if parked_known[ep] == nil then parked_known[ep] = rcall('HEXISTS', P .. 'ctl', ep) == 1 end
  return parked_known[ep]
end

-- touch makes sure that the endpoint is looked at by the time given; a parked endpoint is not looked at.
local function touch(ep, at)
  if not parked(ep) then rcall('ZADD', P .. 'due', 'LT', at, ep) end
end

-- retouch sets the endpoint's entry in due to what its queue says.
local function retouch(ep)
  local first = rcall('ZRANGE', P .. 'q:' .. ep, 0, 0, 'WITHSCORES')
  if first[1] and not parked(ep) then
    rcall('ZADD', P .. 'due', first[2], ep)
  else
    rcall('ZREM', P .. 'due', ep)
  end
end

-- row is a leased delivery as lease.lua and settle.lua answer it: {endpoint, id, attempts, reason, sequence, accepted at,
-- open since, token, body}. A redriven delivery is open since then. The body is empty if Redis has lost it.
local function row(ep, id, attempts, reason, seq, at, token, text)
  local since = reason == 'd' and tonumber(text) or at
  return {ep, id, attempts, reason, seq, at, since, token, rcall('GET', P .. 'b:' .. id) or ''}
end

-- lease hands the delivery to the caller until the time given, and returns its row.
local function lease(ep, id, st, seq, at, token, till)
  local s, attempts, reason, held, text = parse_state(st)
  if s == 'l' and held ~= token and reason == 'n' then reason = 'r' end
  rcall('HSET', P .. 'e:' .. id, ep, pack_state('l', attempts, reason, token, text))
  rcall('ZADD', P .. 'q:' .. ep, till, id)
  return row(ep, id, attempts, reason, seq, at, token, text)
end

-- keep lets a record live on after its last open delivery was settled, as long as its events do, and as long as it has
-- to know duplicates. open is the number of open deliveries of the record, till its field k.
local function keep(rk, now, open, till, span)
  if open <= 0 then rcall('PEXPIRE', rk, math.max(span, (tonumber(till) or 0) - now)) end
end
