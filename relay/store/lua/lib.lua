-- Shared by every script of this folder: it is put in front of each (see scripts.go).
--
-- KEYS[1] is the store's prefix "{tag}:", which also routes the script to the one slot that holds all keys:
--   w:<waybill>        hash    record of a waybill (n:<id> for an event that has none):
--                              i:<id> -> "<sequence>" or "<sequence> <occurrences>", q last sequence, s:<brand> last status,
--                              h:<endpoint> -> open head, o open deliveries, p size at which to prune, k keep until (ms)
--   e:<id>             hash    state of an event: w record, q sequence, t accepted at (ms), c call that accepted it,
--                              o open deliveries, x dead ones, s entry of the ledger, <endpoint> -> state of that delivery
--   b:<id>             string  body of an event
--   q:<endpoint>       zset    ready, retrying and leased deliveries: id by the time when it is due (a lease: when it lapses)
--   l:<endpoint> <rec> list    ids that wait behind the open head of a record at an endpoint
--   x:<endpoint>       zset    dead letters: id by the time when it was given up
--   a:<endpoint>       stream  the latest attempts
--   due                zset    endpoint by the earliest time in its q (never later than that; it may be earlier)
--   dead               zset    endpoint by the time of its latest dead letter
--   wait               hash    endpoint -> how many wait in its lists
--   ctl                hash    endpoint -> "<state> <since ms>" of a parked one
--   s:<entry>          hash    entry of the ledger, named "<brand> <waybill>": u upstream state (p pending, l live, f failed),
--                              c code, m text and i uid of the provider's answer, t token of the claim, x when it lapses (ms),
--                              e last event of the waybill, z 1 if it was signed for, @<tenant> -> since (ms)
--   t:<tenant>         zset    entries that a tenant has subscribed, by the time when they expire
--   ledger             zset    tenants that have subscribed anything, by the time when the last of it expires
--   todo               zset    what is to be taken over by then (ms): " <entry>" is to be subscribed upstream, "<tenant> <entry>"
--                              is a tenant to be caught up
--   g:<tenant>         string  when the tenant's next request may come (ms), of "*" the next call to the provider; see reserve()
--
-- The state of a delivery is "<s><attempts> <reason> <token> <text>": s is q queued, l leased, w waiting, d delivered,
-- x dead; reason n new, r retry, d redrive, c catch-up; token names the lease that held it last; text is why it is dead, or
-- when it was redriven, or caught up with (ms).
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

-- open_since says when the age of a delivery began: with its event, unless it was redriven, or caught up with, later.
local function open_since(reason, text, at)
  return (reason == 'd' or reason == 'c') and tonumber(text) or tonumber(at)
end

-- row is a leased delivery as lease.lua and settle.lua answer it: {endpoint, id, attempts, reason, sequence, accepted at,
-- open since, token, body}. The body is empty if Redis has lost it.
local function row(ep, id, attempts, reason, seq, at, token, text)
  return {ep, id, attempts, reason, seq, at, open_since(reason, text, at), token, rcall('GET', P .. 'b:' .. id) or ''}
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

-- last lets a key live at least for so long from now.
local function last(key, span)
  if rcall('PTTL', key) < span then rcall('PEXPIRE', key, span) end
end

-- retain lets an entry of the ledger live for so long from now, and with it the last event of the waybill, unless that is
-- open and so lives anyway.
local function retain(entry, now, span)
  rcall('PEXPIRE', P .. 's:' .. entry, span)
  local fields = rcall('HKEYS', P .. 's:' .. entry)
  for _, field in ipairs(fields) do
    local tenant = string.match(field, '^@(.*)$')
    if tenant then
      rcall('ZADD', P .. 't:' .. tenant, now + span, entry)
      rcall('ZADD', P .. 'ledger', 'GT', now + span, tenant)
      last(P .. 't:' .. tenant, span)
    end
  end
  last(P .. 'ledger', span)
  local id = rcall('HGET', P .. 's:' .. entry, 'e')
  if id and rcall('PTTL', P .. 'e:' .. id) > 0 then
    last(P .. 'e:' .. id, span)
    last(P .. 'b:' .. id, span)
  end
end

-- outlive is how long an event lives that is closed: as long as the entry of the ledger whose last event it is, or the span given.
local function outlive(entry, id, span)
  if not entry or rcall('HGET', P .. 's:' .. entry, 'e') ~= id then return span end
  return math.max(span, rcall('PTTL', P .. 's:' .. entry))
end

-- reserve gives a place in a line that moves on once per interval (ms, may be a fraction): the time to wait for it (ms), or, where
-- that would be longer than most, the same and false. After a pause so many ms of places may be taken at once as burst says.
local function reserve(name, now, interval, burst, most)
  local key = P .. 'g:' .. name
  local at = math.max(tonumber(rcall('GET', key)) or 0, now - burst)
  local wait = math.max(0, math.ceil(at - now))
  if wait > most then return wait, false end
  -- %.3f: as a string, a large number would lose its last digits
  rcall('SET', key, string.format('%.3f', at + interval), 'PX', math.max(1000, math.ceil(at + interval - now)))
  return wait, true
end
