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
-- command costs. An event has
--   states     state by endpoint; false: the event is not owed to that one
--   w, open, dead, entry  its fields w, o, x, s, if it has outcomes here
--   [1], …     the endpoints of these outcomes
--   set, span  what is to be written, and for how long the event lives after that
local events, every = {}, {}
local function event(id)
  local v = events[id]
  if not v then
    v = {key = P .. 'e:' .. id, states = {}, set = {}}
    events[id], every[#every + 1] = v, v
  end
  return v
end

local function set_state(v, ep, st)
  v.states[ep], v.set[#v.set + 1], v.set[#v.set + 2] = st, ep, st
end

-- A record has
--   closed     how many of its events were closed here
--   done       fields of heads that are not needed any more
--   [1], …     the endpoints with a line that have outcomes here; n has how many of each
--   open, keep, h, heads  its fields o, k, h, h:<endpoint>, read when they are needed; moved: which heads have changed
local records, all_records = {}, {}
local function record(name)
  local r = records[name]
  if not r then
    r = {name = name, key = P .. name, closed = 0, done = {'o', 'h'}, n = {}, moved = {}}
    records[name], all_records[#all_records + 1] = r, r
  end
  return r
end

local function read(r)
  if r.heads then return end
  local fields = {'o', 'k', 'h'}
  for i = 1, #r do fields[i + 3] = r[i].head end
  local f = rcall('HMGET', r.key, unpack(fields))
  r.open, r.keep, r.h, r.heads = tonumber(f[1] or 1), f[2], f[3], {}
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
local function remember(e, id, n, o, kind, what)
  if kind == 'd' then
    e.delivered[#e.delivered + 1] = what .. ' ' .. int(n) .. ' ' .. id
    return
  end
  local ep, status, took = e.name, ARGV[o + STATUS], ARGV[o + TOOK]
  local text, origin = text_of(o)
  e.failed = P .. 'a:' .. ep
  local at = rcall('XADD', e.failed, 'MAXLEN', '~', history, '*',
    'i', id, 'n', n, 'k', kind, 's', status, 'd', took, 'm', text, 'o', origin)
  local before = rcall('HGET', P .. 'e:' .. id, '@' .. ep) or ''
  if #before > 1000 then before = string.sub(before, string.find(before, ';', -900, true) + 1) end
  rcall('HSET', P .. 'e:' .. id, '@' .. ep, before .. at .. ' ' .. status .. ' ' .. took .. ';')
end

-- What every call needs is read here, with one command for all endpoints, and one for each event.
local names = {}
for i = 1, ne do names[i] = eps[i].name end
local waiting = hmget(P .. 'wait', names)
for i = 1, ne do eps[i].lined = tonumber(waiting[i] or 0) end

for o = first, #ARGV, PLACES do
  local v = event(ARGV[o + ID])
  v[#v + 1] = by[ARGV[o + ENDPOINT]].name
end

for i = 1, #every do
  local v = every[i]
  local f = rcall('HMGET', v.key, 'w', 'o', 'x', 's', unpack(v))
  v.w, v.open, v.dead, v.entry = f[1], tonumber(f[2] or 1), tonumber(f[3] or 0), f[4]
  for j = 1, #v do v.states[v[j]] = f[j + 4] end
end

-- Lines that may move on: how many outcomes of its record this call has.
for o = first, #ARGV, PLACES do
  local v, e = events[ARGV[o + ID]], by[ARGV[o + ENDPOINT]]
  local r = v.w and record(v.w)
  if r and e.lined > 0 then
    if not r.n[e] then r[#r + 1] = e end
    r.n[e] = (r.n[e] or 0) + 1
  end
end
