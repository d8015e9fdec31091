-- accept: drop duplicates, keep new events, queue or line up each delivery that they owe. One script, because an event
-- must never be remembered as seen while it is not queued.
--
-- ARGV   now (ms), call id, dedupe.window, dedupe.bare_window, retention (ms),
--        life of an entry of the ledger (ms), the same after the parcel was signed for (ms),
--        brands that an event without one may be of (separated by spaces), number of endpoints E, number of events N,
--        E times: name, lease (ms), slots that the caller has free, ordered (1 or 0), rate,
--        N times: id, record, brand, status, when its newest track was (ms, 0 if unknown, empty if it is bare, - if it
--                 is no update of the parcel), body, number of candidates C,
--                 C times: index of the endpoint (from 1), and conditions of which one is enough, as a sum:
--                          1 always, 2 the status changed, 4 the tenant has subscribed the waybill, 8 both
-- Returns N times {1 new or 0 duplicate, id, sequence, accepted at (ms), number of deliveries, indexes of endpoints…}:
--        an index is positive if the delivery is leased to the caller, negative if it is due at once and not held back
-- Asked again with the same call id, it gives the same answer: field c of an event names the call that accepted it.

-- The places of an event's arguments, counted from its first: acceptArgs of accept.go writes them in this order.
local ID, RECORD, BRAND, STATUS, TRACKED, BODY, CANDIDATES, FIRST = 0, 1, 2, 3, 4, 5, 6, 7

local now, me = tonumber(ARGV[1]), ARGV[2]
local window, bare_window, retention = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local ttl, signed_ttl, brands = tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8]
local ne, nv = tonumber(ARGV[9]), tonumber(ARGV[10])
if not (now and window and bare_window and retention and ttl and signed_ttl and ne and nv) then
  return redis.error_reply('ERR accept: bad header')
end

local eps, by, events, at = {}, {}, {}, 11
for i = 1, ne do
  local name = ARGV[at]
  local e = {index = i, name = name, lease = tonumber(ARGV[at + 1]), slots = tonumber(ARGV[at + 2]),
    ordered = ARGV[at + 3] == '1', rate = ARGV[at + 4], head = 'h:' .. name, code = code(name), spent = 0, queued = {}}
  if not (e.lease and e.slots) then return redis.error_reply('ERR accept: bad endpoint ' .. i) end
  eps[i], by[int(i)], at = e, e, at + 5
end

for i = 1, nv do -- an event is known by where its arguments begin
  local n = num(ARGV[at + CANDIDATES])
  if not n then return redis.error_reply('ERR accept: bad event ' .. i) end
  events[i] = at
  for j = at + FIRST, at + FIRST + 2 * (n - 1), 2 do
    if not (by[ARGV[j]] and num(ARGV[j + 1])) then
      return redis.error_reply('ERR accept: bad candidate of event ' .. i)
    end
  end
  at = at + FIRST + 2 * n
end
if at ~= #ARGV + 1 then return redis.error_reply('ERR accept: wrong number of arguments') end

-- take_slot says whether the caller may lease a new delivery of the endpoint, and notes that it does. It may not while
-- something is overdue there: what has waited longer goes first.
local function take_slot(e)
  if e.open == nil then
    e.open = e.slots > 0 and not control(e.name)
      and #rcall('ZRANGEBYSCORE', P .. 'q:' .. e.name, '-inf', now, 'LIMIT', 0, 1) == 0
    if e.open and e.rate ~= '' then e.slots = min(e.slots, (allowance(e.name, e.rate, now))) end
  end
  if not e.open or e.slots == 0 then return false end
  e.slots, e.spent = e.slots - 1, e.spent + 1
  return true
end

-- free says whether a delivery that is due may be leased now, or as soon as another attempt has ended. If not, nobody
-- needs to ask for a lease yet.
local function free(e)
  local c = control(e.name)
  return not c or c.state == 'ramp' or gate(e.name, now) == now
end

local function enqueue(e, id, due)
  e.queued[#e.queued + 1], e.queued[#e.queued + 2] = int(due), id
  e.due = min(e.due or due, due)
end

-- lines has the ids that this call lines up, by list; lined has how many these are, by endpoint.
local lines, lined = {}, {}
local function line_up(ep, record, id)
  local key = P .. 'l:' .. ep .. ' ' .. record
  local l = lines[key]
  if not l then
    l = {}
    lines[key] = l
  end
  l[#l + 1] = id
  lined[ep] = (lined[ep] or 0) + 1
end

-- opens says of an event at which endpoints it is open in order, and whether it is open anywhere (any).
local opens = {}
local function open_at(id, ep)
  local at = opens[id]
  if not at then
    at = {}
    opens[id] = at
  end
  if at[ep] == nil then at[ep] = in_order(rcall('HGET', P .. 'e:' .. id, ep)) end
  return at[ep]
end

-- prune forgets the ids of a record that are older than the window. It runs each time the record has doubled: that
-- costs next to nothing per event.
local function prune(rk, size)
  local all, gone = rcall('HGETALL', rk), {}
  for i = 1, #all, 2 do
    if string.sub(all[i], 1, 2) == 'i:' then
      if now - tonumber(string.match(all[i + 1], '^%d+')) >= window then gone[#gone + 1] = all[i] end
    end
  end
  for _, field in ipairs(gone) do rcall('HDEL', rk, field) end
  rcall('HSET', rk, 'p', max(32, 2 * (size - #gone)))
end

-- entries_of lists the entries of the ledger that an event belongs to, and the tenants in them. Without a ledger it
-- asks Redis nothing. An event that names no brand may belong to any.
local ledger = rcall('EXISTS', P .. 'ledger') == 1
local function entries_of(record, brand)
  local entries, tenants = {}, {}
  local waybill = ledger and string.match(record, '^w:(.*)$')
  if not waybill then return entries, tenants end
  local function look(of)
    local fields = rcall('HKEYS', P .. 's:' .. of .. ' ' .. waybill)
    if #fields > 0 then entries[#entries + 1] = of .. ' ' .. waybill end
    for _, field in ipairs(fields) do tenants[field] = true end
  end
  if brand ~= '' then look(brand) else string.gsub(brands, '%S+', look) end
  return entries, tenants
end

-- note writes an update into an entry. Unless it is late, it becomes the entry's last event, and the one before expires
-- like any other.
--
-- An entry becomes live again, for as long as a new one, if its parcel moves after it was signed for, or if the
-- provider pushes a waybill that it had refused. It becomes live if the provider pushes one of which it had no record.
local function note(entry, id, signed, tracked, late)
  local key = P .. 's:' .. entry
  local f = rcall('HMGET', key, 'e', 'n', 'u', 'z', 'r')
  local before, newest, revived = f[1], tonumber(f[2]), false
  if (f[3] == 'f' and not signed) or (f[3] == 'p' and f[5]) then
    rcall('HSET', key, 'u', 'l')
    rcall('HDEL', key, 'c', 'm', 'i')
    stop_asking(entry)
    revived = not signed
  end

  late = late or (newest and tracked > 0 and tracked < newest)
  if not late then
    rcall('HSET', key, 'e', id)
    if tracked > 0 then rcall('HSET', key, 'n', int(tracked)) end
    if signed then
      rcall('HSET', key, 'z', 1)
      retain(entry, now, signed_ttl)
    elseif f[4] then
      rcall('HDEL', key, 'z')
      revived = true
    end
  end
  if revived then retain(entry, now, max(ttl, rcall('PTTL', key))) end
  if late then return end

  if before and rcall('PTTL', P .. 'e:' .. before) > retention and not rcall('HGET', P .. 'e:' .. before, 'x') then
    rcall('PEXPIRE', P .. 'e:' .. before, retention)
    rcall('PEXPIRE', P .. 'b:' .. before, retention)
  end
end

-- holds says whether one of a candidate's conditions holds.
local function holds(conditions, changed, subscribed)
  return conditions % 2 >= 1 or (changed and conditions % 4 >= 2) or (subscribed and conditions % 8 >= 4)
    or (changed and subscribed and conditions >= 8)
end

-- repeated counts how often an event came again, and notes its callback in one of ten fields, by turns: a single field
-- of more than 64 bytes would have Redis keep the whole hash in four times the memory. A call that is asked again does
-- not count twice. Only people read this, so a full Redis need not write it.
local repeats = {}
local function repeated(id, known, body)
  local r = repeats[id]
  if not r then
    local n, call, k = string.match(known or '0 0 - 0', '^(%d+) %d+ (%S+) (%d+)$')
    r = {before = call == me and n - k or tonumber(n), here = 0}
    repeats[id] = r
  end
  r.here = r.here + 1
  local n = r.before + r.here
  redis.pcall('HSET', P .. 'e:' .. id, 'r', n .. ' ' .. now .. ' ' .. me .. ' ' .. r.here,
    'r' .. n % 10, string.match(body, '^{"cb":"(%w+)') or '-')
end

local mine, listed = {}, {}
local function again(o, id, seq)
  mine[id] = true
  local e = P .. 'e:' .. id
  local answer = {1, id, seq, tonumber(rcall('HGET', e, 't')), 0}
  for j = o + FIRST, o + FIRST + 2 * (num(ARGV[o + CANDIDATES]) - 1), 2 do
    local st = rcall('HGET', e, by[ARGV[j]].name)
    if st then
      answer[5] = answer[5] + 1
      local s, _, _, token = parse_state(st)
      if s == 'q' and free(by[ARGV[j]]) then answer[#answer + 1] = -tonumber(ARGV[j]) end
      if s == 'l' and token == me then answer[#answer + 1] = tonumber(ARGV[j]) end
    end
  end
  return answer
end

-- Of each record, has holds the fields that the events of the call need, with their present values; set collects what
-- is written at the end, once for all events of the call.
local records = {}
local function want(r, field)
  if r.has[field] == nil then r.has[field], r.fields[#r.fields + 1] = false, field end
end

for i = 1, nv do
  local o = events[i]
  local key, n = P .. ARGV[o + RECORD], num(ARGV[o + CANDIDATES])
  local r = records[key]
  if not r then
    r = {has = {}, set = {}, new = 0, fields = {'q', 'o', 'p', 'k', 'h'}, at = {'o'}, moved = {},
      ordered = string.sub(ARGV[o + RECORD], 1, 2) == 'w:'}
    records[key] = r
  end
  want(r, 'i:' .. ARGV[o + ID])
  want(r, 's:' .. ARGV[o + BRAND])
  want(r, 'n:' .. ARGV[o + BRAND])
  for j = o + FIRST, r.ordered and o + FIRST + 2 * (n - 1) or 0, 2 do
    local e = by[ARGV[j]]
    if e.ordered and r.has[e.head] == nil then
      want(r, e.head)
      r.at[#r.at + 1] = e.name
    end
  end
end

for key, r in pairs(records) do
  local has, fields = r.has, r.fields
  local values = hmget(key, fields)
  for i = 1, #fields do has[fields[i]] = values[i] end
  if has.h then
    local states = hmget(P .. 'e:' .. has.h, r.at)
    local at = {any = tonumber(states[1] or 0) > 0}
    for i = 2, #r.at do at[r.at[i]] = in_order(states[i]) end
    opens[has.h] = at
  end
  r.last, r.open, r.prune, r.keep = tonumber(has.q or 0), tonumber(has.o or 0), tonumber(has.p or 32), has.k
  r.last_before, r.open_before, r.h_before = r.last, r.open, has.h
end

local function put(r, field, value)
  local set = r.set
  r.has[field], set[#set + 1], set[#set + 2] = value, field, value
end

local leased, waiting, queued = pack_state('l', 0, 'n', me), pack_state('w', 0, 'n', ''), pack_state('q', 0, 'n', '')

-- accept handles the event whose arguments begin at o, and returns its answer.
local function accept(o)
  local given, record, brand = ARGV[o + ID], ARGV[o + RECORD], ARGV[o + BRAND]
  local status, n = ARGV[o + STATUS], num(ARGV[o + CANDIDATES])
  local bare, tracked = ARGV[o + TRACKED] == '', tonumber(ARGV[o + TRACKED]) or 0
  local update = ARGV[o + TRACKED] ~= '-'
  local r = records[P .. record]
  local has, last, occurrence = r.has, r.last, 1

  -- A known id within its window is a duplicate, or this call asked again. An older one makes a new occurrence.
  local known = has['i:' .. given]
  if known then
    local seq, times = string.match(known, '^(%d+) ?(%d*)$')
    seq, times = tonumber(seq), tonumber(times) or 1
    local id = times == 1 and given or given .. '-' .. times
    if not mine[id] and rcall('HGET', P .. 'e:' .. id, 'c') == me then return again(o, id, seq) end
    local age = now - seq
    if (bare and (age < bare_window or (seq == last and age < window))) or (not bare and age < window) then
      local e = rcall('HMGET', P .. 'e:' .. id, 't', 'r')
      if e[1] then repeated(id, e[2], ARGV[o + BODY]) end
      return {0, id, seq, tonumber(e[1] or seq), 0}
    end
    occurrence = times + 1
  end

  -- Redis refuses this first write at maxmemory, so that a full Redis accepts nothing, rather than a part. If the event
  -- is still there, although the record has forgotten it, this is its next occurrence.
  local id = occurrence == 1 and given or given .. '-' .. occurrence
  while not rcall('SET', P .. 'b:' .. id, ARGV[o + BODY], 'NX') do
    occurrence = occurrence + 1
    id = given .. '-' .. occurrence
  end
  mine[id] = true
  local seq = max(last + 1, now)
  local sequence = int(seq)

  local answer = {1, id, seq, now, 0}
  local state = {'w', record, 'q', sequence, 't', ARGV[1], 'c', me}
  local entries, tenants = entries_of(record, brand)
  if entries[1] then state[#state + 1], state[#state + 2] = 's', entries[1] end
  r.last, r.new = seq, r.new + 1
  put(r, 'i:' .. given, occurrence == 1 and sequence or sequence .. ' ' .. occurrence)

  -- The last known status follows the tracks, not the order of arrival: a late update does not change it.
  local newest = tonumber(string.match(has['n:' .. brand] or '0', '^%d+'))
  local late = tracked > 0 and tracked < newest
  if update and not late and max(tracked, newest) > 0 then
    put(r, 'n:' .. brand, int(max(tracked, newest)) .. ' ' .. sequence)
  end
  local changed, codes, added = update and not late and status ~= '' and status ~= has['s:' .. brand], '', 0

  -- Each endpoint that is owed the event gets a delivery: it waits behind the open head of its record, or is leased to
  -- the caller, or is queued.
  local open, first = {}, {}
  if changed then put(r, 's:' .. brand, status) end
  for j = o + FIRST, o + FIRST + 2 * (n - 1), 2 do
    local e, cond = by[ARGV[j]], num(ARGV[j + 1])
    if holds(cond, changed, cond >= 4 and tenants['@' .. string.match(e.name, '^[^/]*')]) then
      added = added + 1
      codes = codes .. e.code
      local ordered = r.ordered and e.ordered
      local head, st = ordered and (has[e.head] or has.h), nil
      open[e.name] = true

      if head and open_at(head, e.name) then
        line_up(e.name, record, id)
        st = waiting
      else
        if ordered then first[#first + 1] = e end
        if take_slot(e) then
          enqueue(e, id, now + e.lease)
          answer[#answer + 1] = e.index
          st = leased
        else
          enqueue(e, id, now)
          e.open = false
          if free(e) then answer[#answer + 1] = -e.index end
          st = queued
        end
      end
      state[#state + 1], state[#state + 2] = e.name, st
    end
  end

  answer[5] = added
  if added > 0 then
    state[#state + 1], state[#state + 2] = 'o', int(added)
    r.open, open.any, opens[id] = r.open + 1, true, open
  end

  -- The event becomes the head at all endpoints where it is the first: with the one field h, if that is free.
  local one = not (has.h and opens[has.h].any)
  if one and first[1] then has.h = id end
  for i = 1, #first do
    local field = first[i].head
    if not one or has[field] then has[field], r.moved[field] = not one and id, true end
  end

  listed[#listed + 1] = id .. ' ' .. codes
  hset(P .. 'e:' .. id, state)
  for _, entry in ipairs(update and entries or {}) do note(entry, id, status == 'signed', tracked, late) end
  if added == 0 then
    local span = outlive(entries[1], id, retention)
    rcall('PEXPIRE', P .. 'e:' .. id, int(span))
    rcall('PEXPIRE', P .. 'b:' .. id, int(span))
  end
  return answer
end

local out = {}
for i = 1, nv do out[i] = accept(events[i]) end

-- What they have changed is written: first the records,
for key, r in pairs(records) do
  local set = r.set
  if r.new > 0 then
    set[#set + 1], set[#set + 2] = 'q', int(r.last)
    if r.open > 0 then set[#set + 1], set[#set + 2] = 'o', int(r.open) end
    local del = {}
    r.moved.h = r.has.h ~= r.h_before
    for field, moved in pairs(r.moved) do
      local head = r.has[field]
      if moved and head then set[#set + 1], set[#set + 2] = field, head elseif moved then del[#del + 1] = field end
    end
    hset(key, set)
    many('HDEL', key, del)

    if r.open <= 0 then
      rcall('PEXPIRE', key, int(kept(now, r.keep, max(window, retention))))
    elseif r.open_before == 0 and r.last_before > 0 then
      rcall('PERSIST', key)
    end
    local size = (r.last_before > 0 or r.new > 1) and rcall('HLEN', key) or 0
    if size >= r.prune then prune(key, size) end
  end
end

-- then the lines, the list of all events, and the queues.
for key, ids in pairs(lines) do many('RPUSH', key, ids) end
for ep, n in pairs(lined) do rcall('HINCRBY', P .. 'wait', ep, n) end
list(now, listed, retention)
for i = 1, ne do
  local e = eps[i]
  many('ZADD', P .. 'q:' .. e.name, e.queued)
  if e.due then touch(e.name, e.due) end
  if e.spent > 0 and e.rate ~= '' then spend(e.name, e.rate, now, e.spent) end
end
return out
