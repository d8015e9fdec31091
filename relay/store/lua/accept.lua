-- accept: drop duplicates, keep new events, queue or line up each delivery that they owe. One script, because an event
-- must never be remembered as seen while it is not queued.
--
-- ARGV   now (ms), call id, dedupe.window, dedupe.bare_window, retention (ms),
--        life of an entry of the ledger (ms), the same after the parcel was signed for (ms),
--        brands that an event without one may be of (separated by spaces), number of endpoints E, number of events N,
--        E times: name, lease (ms), slots that the caller has free, ordered (1 or 0), rate,
--        N times: id with all of the hash, record, brand, status, when its newest track was (ms, 0 if unknown, empty if
--                 it is bare, - if it is no update of the parcel), body, number of candidates C,
--                 C times: index of the endpoint (from 1), and conditions of which one is enough, as a sum:
--                          1 always, 2 the status changed, 4 the tenant has subscribed the waybill, 8 both
-- Returns N times {1 new or 0 duplicate, id, sequence, accepted at (ms), number of deliveries, indexes of endpoints…}:
--        an index is positive if the delivery is leased to the caller, negative if it is due at once and not held back
-- Asked again with the same call id, it gives the same answer: an event names the call that accepted it.

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
    ordered = ARGV[at + 3] == '1', rate = ARGV[at + 4], head = 'h:' .. name, label = name .. '\t', code = code(name),
    spent = 0, queued = {}}
  if not (e.lease and e.slots) then return redis.error_reply('ERR accept: bad endpoint ' .. i) end
  eps[i], by[int(i)], at = e, e, at + 5
end

-- An event is known by where its arguments begin; ends has where the last of its candidates does, and shorts its id as
-- keys have it.
local ends, shorts = {}, {}
for i = 1, nv do
  local n, id = num(ARGV[at + CANDIDATES]), ARGV[at + ID]
  if not (n and id) then return redis.error_reply('ERR accept: bad event ' .. i) end
  local last = at + FIRST + 2 * (n - 1)
  events[i], ends[at], shorts[at] = at, last, #id == 43 and sub(id, 1, SHORT) or sub(id, 1, SHORT) .. sub(id, 44)
  for j = at + FIRST, last, 2 do
    if not (by[ARGV[j]] and num(ARGV[j + 1])) then
      return redis.error_reply('ERR accept: bad candidate of event ' .. i)
    end
  end
  at = last + 2
end
if at ~= #ARGV + 1 then return redis.error_reply('ERR accept: wrong number of arguments') end

local none = {}

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

-- opens says of an event at which endpoints it is open in order, whether it is open anywhere (any), and whether its
-- record counts it (more).
local opens = {}
local function open_at(id, ep)
  local at = opens[id]
  if not at then
    at = {event = read_event(id)}
    opens[id] = at
  end
  if at[ep] == nil then at[ep] = at.event and in_order(state_of(at.event, ep)) or false end
  return at[ep]
end

-- prune forgets the ids of a record that are older than the window, once it has reached the size in its field p. It
-- runs each time the record has doubled: that costs next to nothing per event.
local function prune(rk, size)
  if size < 32 or size < tonumber(rcall('HGET', rk, 'p') or 32) then return end
  local all, gone = rcall('HGETALL', rk), {}
  for i = 1, #all, 2 do
    if string.sub(all[i], 1, 2) == 'i:' then
      if now - tonumber(string.match(all[i + 1], '^%d+')) >= window then gone[#gone + 1] = all[i] end
    end
  end
  for _, field in ipairs(gone) do rcall('HDEL', rk, field) end
  rcall('HSET', rk, 'p', max(32, 2 * (size - #gone)))
end

-- entries_of lists the brands of the entries of the ledger that an event belongs to, and the tenants in them. Without
-- a ledger it asks Redis nothing. An event that names no brand may belong to any.
local ledger = rcall('EXISTS', P .. 'ledger') == 1
local function entries_of(record, brand)
  local waybill = ledger and string.match(record, '^w:(.*)$')
  if not waybill then return none, none end
  local found, tenants = {}, {}
  local function look(of)
    local fields = rcall('HKEYS', P .. 's:' .. of .. ' ' .. waybill)
    if #fields > 0 then found[#found + 1] = of end
    for _, field in ipairs(fields) do tenants[field] = true end
  end
  if brand ~= '' then look(brand) else string.gsub(brands, '%S+', look) end
  return found, tenants
end

-- note writes an update into an entry. Unless it is late, it becomes the entry's last event.
--
-- An entry becomes live again, for as long as a new one, if its parcel moves after it was signed for, or if the
-- provider pushes a waybill that it had refused. It becomes live if the provider pushes one of which it had no record.
local function note(entry, id, signed, tracked, late)
  local key = P .. 's:' .. entry
  local f = rcall('HMGET', key, 'n', 'u', 'z', 'r')
  local newest, revived = tonumber(f[1]), false
  if (f[2] == 'f' and not signed) or (f[2] == 'p' and f[4]) then
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
    elseif f[3] then
      rcall('HDEL', key, 'z')
      revived = true
    end
  end
  if revived then retain(entry, now, max(ttl, rcall('PTTL', key))) end
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
local function repeated(id, body)
  local r, key = repeats[id], P .. 'f:' .. id
  if not r then
    local n, call, k = string.match(rcall('HGET', key, 'r') or '0 0 - 0', '^(%d+) %d+ (%S+) (%d+)$')
    r = {before = call == me and n - k or tonumber(n), here = 0}
    repeats[id] = r
  end
  r.here = r.here + 1
  local n = r.before + r.here
  redis.pcall('HSET', key, 'r', n .. ' ' .. now .. ' ' .. me .. ' ' .. r.here,
    'r' .. n % 10, string.match(body, '^{"cb":"(%w+)') or '-')
end

local mine, listed = {}, {}
local function again(o, v, seq)
  mine[v.id] = true
  local answer = {1, v.id, seq, accepted_at(v), 0}
  for j = o + FIRST, ends[o], 2 do
    local d = state_of(v, by[ARGV[j]].name)
    if d then
      answer[5] = answer[5] + 1
      if d.s == 'q' and free(by[ARGV[j]]) then answer[#answer + 1] = -tonumber(ARGV[j]) end
      if d.s == 'l' and d.token == me then answer[#answer + 1] = tonumber(ARGV[j]) end
    end
  end
  return answer
end

-- Of each record, has holds the fields that the events of the call need, with their present values, and h the one of
-- that name; set collects what is written at the end, once for all events of the call. Most calls have one event of a
-- record, and nothing is noted there for a next one.
local records = {}
local function want(r, field)
  if not r.wanted then
    r.wanted = {}
    for _, f in ipairs(r.fields) do r.wanted[f] = true end
  end
  if not r.wanted[field] then r.wanted[field], r.fields[#r.fields + 1] = true, field end
end

for i = 1, nv do
  local o = events[i]
  local record = ARGV[o + RECORD]
  local r = records[record]
  local ordered = sub(record, 1, 2) == 'w:'
  local from, id, brand = o + FIRST, 'i:' .. shorts[o], 's:' .. ARGV[o + BRAND]
  if not r then
    local e = ordered and ends[o] >= from and by[ARGV[from]]
    r = {fields = {'q', 'o', 'k', 'h', id, brand, e and e.ordered and e.head or 'h'}, has = none, h = false,
      set = false, events = 1, new = 0, moved = false, ordered = ordered, last = 0, open = 0, keep = false,
      before = false, lives = false, lived = false}
    records[record], from = r, from + 2
  else
    r.events = r.events + 1
    want(r, id)
    want(r, brand)
  end
  for j = from, ordered and ends[o] or 0, 2 do
    if by[ARGV[j]].ordered then want(r, by[ARGV[j]].head) end
  end
end

for record, r in pairs(records) do
  local fields = r.fields
  local values = hmget(P .. record, fields)
  if values[1] then -- q: there is such a record
    local has = {q = values[1], o = values[2], k = values[3], h = values[4], [fields[5]] = values[5],
      [fields[6]] = values[6]}
    for i = 7, #fields do has[fields[i]] = values[i] end
    r.has, r.h, r.last, r.open, r.keep = has, has.h, tonumber(has.q), tonumber(has.o or 0), has.k
    if r.h then
      local v = read_event(r.h)
      opens[r.h] = {event = v, any = v and open_of(v) > 0, more = v and v.more}
    end
    r.before = r.open
    r.lives = r.open > 0 or (r.h and opens[r.h].any) or false
    r.lived = r.lives
  elseif r.events > 1 then
    r.has = {}
  end
end

-- put notes what becomes of one or two fields of a record.
local function put(r, field, value, field2, value2)
  local set = r.set
  if not set then
    r.set = field2 and {field, value, field2, value2} or {field, value}
  else
    set[#set + 1], set[#set + 2] = field, value
    if field2 then set[#set + 1], set[#set + 2] = field2, value2 end
  end
  if r.events > 1 then
    r.has[field] = value
    if field2 then r.has[field2] = value2 end
  end
end

-- move notes that a head of a record changes; false: there is none any more.
local function move(r, field, id)
  r.has[field], r.moved = id, r.moved or {}
  r.moved[field] = true
end

-- The first states of a delivery, in the form that has them all.
local wide_states = {l = pack_state('l', 0, 'n', me, 0), q = pack_state('q', 0, 'n', '', 0),
  w = pack_state('w', 0, 'n', '', 0)}

-- accept handles the event whose arguments begin at o, and returns its answer. Of its k deliveries, to has the endpoint
-- and letters the letter; of their m that the caller is told of, marks has the index.
local to, letters, marks = {}, {}, {}
local function accept(o)
  local given, record, brand, status = shorts[o], ARGV[o + RECORD], ARGV[o + BRAND], ARGV[o + STATUS]
  local rest = sub(ARGV[o + ID], SHORT + 1, 43)
  local bare, tracked = ARGV[o + TRACKED] == '', tonumber(ARGV[o + TRACKED]) or 0
  local update = ARGV[o + TRACKED] ~= '-'
  local r = records[record]
  local has, last, occurrence = r.has, r.last, 1

  -- A known id within its window is a duplicate, or this call asked again. An older one makes a new occurrence.
  local known = has['i:' .. given]
  if known then
    local seq, times = string.match(known, '^(%d+) ?(%d*)$')
    seq, times = tonumber(seq), tonumber(times) or 1
    local id = times == 1 and given or given .. '-' .. times
    local v = read_event(id)
    local same = not v or rest_of(v) == rest
    if v and same and not mine[id] and call_of(v) == me then return again(o, v, seq) end
    local age = now - seq
    if not same then age = window + bare_window end -- another one, whose hash begins alike
    if (bare and (age < bare_window or (seq == last and age < window))) or (not bare and age < window) then
      if v then repeated(id, ARGV[o + BODY]) end
      return {0, id, seq, v and accepted_at(v) or seq, 0}
    end
    occurrence = times + 1
  end

  -- The last known status follows the tracks, not the order of arrival: a late update does not change it.
  local seq = max(last + 1, now)
  local was = has['s:' .. brand]
  local newest, last_status = was and read6(was, 1) or 0, was and sub(was, 13) or ''
  local late = tracked > 0 and tracked < newest
  local changed = update and not late and status ~= '' and status ~= last_status
  local moved = update and not late and max(tracked, newest) > 0

  -- Each endpoint that is owed the event gets a delivery: it waits behind the open head of its record, or is leased to
  -- the caller, or is queued.
  local brands_of, tenants = entries_of(record, brand)
  local k, m, wide = 0, 0, false -- wide: the form of its head, see lib/event.lua
  for j = o + FIRST, ends[o], 2 do
    local e, cond = by[ARGV[j]], nums[ARGV[j + 1]]
    if cond == 1 or holds(cond, changed, cond >= 4 and tenants['@' .. string.match(e.name, '^[^/]*')]) then
      local s = 'q'
      local head = r.ordered and e.ordered and (has[e.head] or r.h)
      if head and open_at(head, e.name) then
        s = 'w'
      elseif take_slot(e) then
        s, wide, m = 'l', true, m + 1
        marks[m] = e.index
      else
        e.open = false
        if free(e) then
          m = m + 1
          marks[m] = -e.index
        end
      end
      k = k + 1
      to[k], letters[k] = e, s
    end
  end

  local states, names, codes = '', '', ''
  if k == 1 then
    wide, states, names, codes = true, wide_states[letters[1]], to[1].label, to[1].code
  elseif k > 1 then
    states, names, codes = {}, {}, {}
    for i = 1, k do
      states[i] = wide and wide_states[letters[i]] or letters[i]
      names[i], codes[i] = to[i].label, to[i].code
    end
    states, names, codes = table.concat(states), table.concat(names), table.concat(codes)
  end

  -- If others of its record are open, or are dead letters, the record counts it.
  local alone = r.h and opens[r.h].any and opens[r.h] or nil
  local more = k > 0 and (alone or r.open > 0 or r.keep) and true or false
  local value = pack_event(states, k, wide, more, now, seq, me, rest, names, brands_of[1] or '', record, ARGV[o + BODY])

  -- Redis refuses this first write at maxmemory, so that a full Redis accepts nothing, rather than a part. If the event
  -- is still there, although the record has forgotten it, this is its next occurrence.
  local id = occurrence == 1 and given or given .. '-' .. occurrence
  while not rcall('SET', P .. 'e:' .. id, value, 'NX') do
    occurrence = occurrence + 1
    id = given .. '-' .. occurrence
  end
  mine[id] = true

  local sequence = int(seq)
  local field, entry = 'i:' .. given, occurrence == 1 and sequence or sequence .. ' ' .. occurrence
  r.last, r.new = seq, r.new + 1
  if changed or moved then
    local tracks = moved and bytes6(max(tracked, newest)) .. bytes6(seq) or was and sub(was, 1, 12) or NOBODY
    put(r, field, entry, 's:' .. brand, tracks .. (changed and status or last_status))
  else
    put(r, field, entry)
  end

  if more then
    r.open = r.open + 1
    if alone and not alone.more then
      rcall('SETRANGE', P .. 'e:' .. r.h, MORE, 'm')
      alone.more, r.open = true, r.open + 1
    end
  end

  -- The event becomes the head at all endpoints where it is the first: with the one field h, if that is free. Later
  -- events of this call have to know where it is open.
  local open = r.events > 1 and {any = true, more = more} or nil
  for i = 1, k do
    local e, s = to[i], letters[i]
    if s == 'w' then
      line_up(e.name, record, id)
    else
      enqueue(e, id, s == 'l' and now + e.lease or now)
      if r.ordered and e.ordered and (alone or has[e.head]) then move(r, e.head, alone and id or false) end
    end
    if open then open[e.name] = true end
  end
  if k > 0 then
    r.lives, opens[id] = true, open
    if not alone then r.h = id end
  end

  listed[#listed + 1] = id .. ' ' .. codes
  if update then
    for _, of in ipairs(brands_of) do
      note(of .. ' ' .. sub(record, 3), id, status == 'signed', tracked, late)
    end
  end
  local answer = {1, id, seq, now, k, m > 0 and marks[1] or nil}
  for i = 2, m do answer[i + 5] = marks[i] end
  return answer
end

local out = {}
for i = 1, nv do out[i] = accept(events[i]) end

-- What they have changed is written: first the records,
for record, r in pairs(records) do
  local key, set = P .. record, r.set
  if set then
    local del = none
    if r.open ~= (r.before or 0) then set[#set + 1], set[#set + 2] = 'o', int(r.open) end
    if r.moved then
      del = {}
      for field in pairs(r.moved) do
        local head = r.has[field]
        if head then set[#set + 1], set[#set + 2] = field, head else del[#del + 1] = field end
      end
    end
    if #set > 90 then
      hset(key, set)
      set = none
    end
    if r.h and r.h ~= r.has.h then
      rcall('HSET', key, 'q', int(r.last), 'h', r.h, unpack(set))
    else
      rcall('HSET', key, 'q', int(r.last), unpack(set))
    end
    many('HDEL', key, del)

    if not r.lives then
      rcall('PEXPIRE', key, int(kept(now, r.keep, max(window, retention))))
    elseif not r.lived and r.before then
      rcall('PERSIST', key)
    end
    if r.before or r.new > 1 then prune(key, rcall('HLEN', key)) end
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
