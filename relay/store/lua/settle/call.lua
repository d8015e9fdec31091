-- The arguments of a call of settle, and the endpoints, events and records that they name. What outcomes have in common
-- is read once here, and written once at the end.

-- The places of an outcome's arguments, counted from its first: settleArgs of settle.go writes them in this order.
local ID, ENDPOINT, TOKEN, KIND, DUE, REASON, WANTED = 0, 1, 2, 3, 4, 5, 6
local SIGN, RETRY_AFTER, ATTEMPT, STATUS, TOOK, TEXT, HELD = 7, 8, 9, 10, 11, 12, 13
local PLACES = 14

local now, retention, dead_retention = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local window, history = tonumber(ARGV[4]), ARGV[5]
local ne, nv = tonumber(ARGV[6]), tonumber(ARGV[7]) -- numbers of endpoints and outcomes
if not (now and retention and dead_retention and window and ne and nv) or #ARGV ~= 7 + 4 * ne + PLACES * nv then
  return redis.error_reply('ERR settle: wrong arguments')
end

-- An endpoint of this call has its arguments, and
--   add, drop  what enters its queue and what leaves it; due is the earliest of add
--   delivered  attempts that delivered
--   lined      how many wait in its lines, once that was asked; moved: it has changed since
local eps, by, first = {}, {}, 8 + 4 * ne
for i = 1, ne do
  local at = 4 + 4 * i
  eps[i] = {name = ARGV[at], lease = tonumber(ARGV[at + 1]), rate = ARGV[at + 2], breaker = ARGV[at + 3],
    head = 'h:' .. ARGV[at], queue = P .. 'q:' .. ARGV[at], add = {}, drop = {}, delivered = {}}
  by[int(i)] = eps[i]
end
for o = first, #ARGV, PLACES do
  if not by[ARGV[o + ENDPOINT]] then
    return redis.error_reply('ERR settle: bad endpoint of outcome ' .. (o - first) / PLACES + 1)
  end
end

-- A write that Redis allows at maxmemory opens the way for those that it would not.
rcall('ZREM', P .. 'due', '')

-- What outcomes of one call have in common is read once and written once, because the call itself is most of what a
-- command costs. An event is as lib/event.lua has it, false if it is not there; here has the endpoints with a line of
-- which it has outcomes in this call.
local events, every = {}, {}
local function event(id)
  local v = events[id]
  if v == nil then
    v = read_event(id) or false
    events[id], every[#every + 1] = v, v or nil
  end
  return v
end

-- A record has
--   closed     how many of its events were closed here that it counts; counted: how many it counts from now on
--   done       fields of heads that are not needed any more; again: it is that of what is sent again
--   [1], …     the endpoints with a line that have outcomes here; n has how many of each
--   open, keep, h, heads  its fields o, k, h, h:<endpoint>, read when they are needed; moved: which heads have changed
-- alone has the keys of those whose only open event was closed here.
local records, all_records, alone = {}, {}, {}
local function record(name)
  local r = records[name]
  if not r then
    r = {name = name, key = P .. name, again = sub(name, 1, 3) == 'yh:', closed = 0, counted = 0, done = {'o', 'h'},
      n = {}, moved = {}}
    records[name], all_records[#all_records + 1] = r, r
  end
  return r
end

local function read(r)
  if r.heads then return end
  local fields = {'o', 'k', 'h'}
  for i = 1, #r do fields[i + 3] = r[i].head end
  local f = rcall('HMGET', r.key, unpack(fields))
  r.open, r.keep, r.h, r.heads = tonumber(f[1] or 0), f[2], f[3], {}
  for i = 1, #r do r.heads[r[i]] = f[i + 3] end
end

local function head_of(r, e)
  read(r)
  if r.heads[e] == nil then r.heads[e] = rcall('HGET', r.key, e.head) end
  return r.heads[e] or r.h
end

local function set_head(r, e, id)
  if r.heads[e] or id then r.heads[e], r.moved[e] = id, true end
end

local function enqueue(e, id, due)
  local add = e.add
  add[#add + 1], add[#add + 2] = int(due), id
  e.due = min(e.due or due, due)
end

-- text_of splits the TEXT of an outcome that is not delivered: the answer or error, and the origin before it.
local function text_of(o)
  local all = ARGV[o + TEXT]
  local origin = string.match(all, '^[^\n]*')
  return string.sub(all, #origin + 2), origin
end

-- remember puts an attempt into the history of its endpoint. Those that delivered have a list of their own, so that
-- they do not push out the others. Of those that failed, the event keeps time, status and duration for as long as it
-- lives.
local function remember(e, v, n, o, kind)
  local ep, status, took = e.name, ARGV[o + STATUS], ARGV[o + TOOK]
  if kind == 'd' then
    e.delivered[#e.delivered + 1] = ARGV[1] .. ' ' .. status .. ' ' .. took .. ' ' .. int(n) .. ' ' .. full_id(v)
    return
  end
  local text, origin = text_of(o)
  e.failed = P .. 'a:' .. ep
  local at = rcall('XADD', e.failed, 'MAXLEN', '~', history, '*',
    'i', full_id(v), 'n', n, 'k', kind, 's', status, 'd', took, 'm', text, 'o', origin)
  local key, field = P .. 'f:' .. v.id, '@' .. ep
  local before = rcall('HGET', key, field) or ''
  if #before > 1000 then before = string.sub(before, string.find(before, ';', -900, true) + 1) end
  rcall('HSET', key, field, before .. at .. ' ' .. status .. ' ' .. took .. ';')
end

-- What every call needs is read here, with one command for all endpoints, and one for each event.
local names = {}
for i = 1, ne do names[i] = eps[i].name end
local waiting = hmget(P .. 'wait', names)
for i = 1, ne do eps[i].lined = tonumber(waiting[i] or 0) end

for o = first, #ARGV, PLACES do
  local v, e = event(ARGV[o + ID]), by[ARGV[o + ENDPOINT]]
  if v and e.lined > 0 then -- lines that may move on: how many outcomes of its record this call has
    local r = record(v.record)
    v.here = v.here or {}
    v.here[e.name] = true
    if not r.n[e] then r[#r + 1] = e end
    r.n[e] = (r.n[e] or 0) + 1
  end
end
