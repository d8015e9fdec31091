-- accept: drop duplicates, keep new events, queue or line up each delivery that they owe. One script, because an event must
-- never be remembered as seen while it is not queued.
--
-- ARGV   now (ms), call id, dedupe.window, dedupe.bare_window, retention (ms), life of a ledger's entry after the parcel was
--        signed for (ms), brands that an event without one may be of (separated by spaces), number of endpoints E, number of events N,
--        E times: name, lease (ms), slots that the caller has free, ordered (1 or 0), rate,
--        N times: id, record, brand, status, bare (1 or 0), body, number of candidates C,
--                 C times: index of the endpoint (from 1), conditions, of which any suffices (the sum of: 1 always, 2 if the
--                          status changed, 4 if the tenant has subscribed the waybill, 8 if both)
-- Returns N times {1 new or 0 duplicate, id, sequence, accepted at (ms), deliveries, then indexes of endpoints: as it is where the
--        delivery is leased to the caller, negative where it is due at once and not held back…}
-- Asked again with the same call id, it gives the same answer: events that this call accepted are known by their field c.
local now, me = tonumber(ARGV[1]), ARGV[2]
local window, bare_window, retention = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local signed_ttl, brands = tonumber(ARGV[6]), ARGV[7]
local ne, nv = tonumber(ARGV[8]), tonumber(ARGV[9])
if not (now and window and bare_window and retention and signed_ttl and ne and nv) then return redis.error_reply('ERR accept: bad header') end

local eps, events, at = {}, {}, 10
for i = 1, ne do
  local e = {name = ARGV[at], lease = tonumber(ARGV[at + 1]), slots = tonumber(ARGV[at + 2]), ordered = ARGV[at + 3] == '1',
    rate = ARGV[at + 4], spent = 0, queued = {}}
  if not (e.lease and e.slots) then return redis.error_reply('ERR accept: bad endpoint ' .. i) end
  eps[i], at = e, at + 5
end
for i = 1, nv do
  local v = {id = ARGV[at], record = ARGV[at + 1], brand = ARGV[at + 2], status = ARGV[at + 3], bare = ARGV[at + 4] == '1',
    body = ARGV[at + 5], n = num(ARGV[at + 6]), from = at + 7}
  if not v.n then return redis.error_reply('ERR accept: bad event ' .. i) end
  at = at + 7 + 2 * v.n
  for j = v.from, at - 1, 2 do
    if not (eps[num(ARGV[j])] and num(ARGV[j + 1])) then return redis.error_reply('ERR accept: bad candidate of event ' .. i) end
  end
  events[i] = v
end
if at ~= #ARGV + 1 then return redis.error_reply('ERR accept: wrong number of arguments') end

-- A slot is used only where nothing is overdue: what waits longer goes first.
local function may_lease(e)
  if e.open == nil then
    e.open = e.slots > 0 and not control(e.name) and #rcall('ZRANGEBYSCORE', P .. 'q:' .. e.name, '-inf', now, 'LIMIT', 0, 1) == 0
    if e.open and e.rate ~= '' then e.slots = math.min(e.slots, (allowance(e.name, e.rate, now))) end
  end
  if not e.open or e.slots == 0 then return false end
  e.slots, e.spent = e.slots - 1, e.spent + 1
  return true
end

-- free says whether a delivery that is due may be leased now, or as soon as another attempt has ended. Where the endpoint is held
-- back, nobody need ask.
local function free(e)
  local c = control(e.name)
  return not c or c.state == 'ramp' or gate(e.name, now) == now
end

local function enqueue(e, id, due)
  e.queued[#e.queued + 1], e.queued[#e.queued + 2] = int(due), id
  e.due = math.min(e.due or due, due)
end

-- lines and heads: what is lined up in this call, by list, and how many by endpoint; and which heads are known to be there, or not.
local lines, lined, heads = {}, {}, {}
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

local function open_head(id)
  if heads[id] == nil then heads[id] = rcall('EXISTS', P .. 'e:' .. id) == 1 end
  return heads[id]
end

-- prune forgets the ids of a record that are past the window. It runs each time the record has doubled, so that it costs
-- nothing per event.
local function prune(rk, size)
  local all, gone = rcall('HGETALL', rk), {}
  for i = 1, #all, 2 do
    if string.sub(all[i], 1, 2) == 'i:' then
      if now - tonumber(string.match(all[i + 1], '^%d+')) >= window then gone[#gone + 1] = all[i] end
    end
  end
  for _, field in ipairs(gone) do rcall('HDEL', rk, field) end
  rcall('HSET', rk, 'p', math.max(32, 2 * (size - #gone)))
end

-- entries_of lists the entries of the ledger that an event belongs to, and the tenants in them. It asks nothing where there is
-- no ledger. An event that names no brand may be of any.
local ledger = rcall('EXISTS', P .. 'ledger') == 1
local function entries_of(v)
  local entries, tenants = {}, {}
  local waybill = ledger and string.match(v.record, '^w:(.*)$')
  if not waybill then return entries, tenants end
  local function look(brand)
    local fields = rcall('HKEYS', P .. 's:' .. brand .. ' ' .. waybill)
    if #fields > 0 then entries[#entries + 1] = brand .. ' ' .. waybill end
    for _, field in ipairs(fields) do tenants[field] = true end
  end
  if v.brand ~= '' then look(v.brand) else string.gsub(brands, '%S+', look) end
  return entries, tenants
end

-- note tells an entry of its new last event; the one before lives on as any other.
local function note(entry, id, signed)
  local key = P .. 's:' .. entry
  local before = rcall('HGET', key, 'e')
  rcall('HSET', key, 'e', id)
  if signed then
    rcall('HSET', key, 'z', 1)
    retain(entry, now, signed_ttl)
  end
  if before and rcall('PTTL', P .. 'e:' .. before) > retention and not rcall('HGET', P .. 'e:' .. before, 'x') then
    rcall('PEXPIRE', P .. 'e:' .. before, retention)
    rcall('PEXPIRE', P .. 'b:' .. before, retention)
  end
end

-- holds says whether any of a candidate's conditions does.
local function holds(conditions, changed, wished)
  return conditions % 2 >= 1 or (changed and conditions % 4 >= 2) or (wished and conditions % 8 >= 4)
    or (changed and wished and conditions >= 8)
end

-- repeated counts how often an event came again: what this call has counted before, when it was asked the first time, is not
-- counted twice. It is of use to people only, so a full Redis does without.
local repeats = {}
local function repeated(id, known)
  local r = repeats[id]
  if not r then
    local n, call, k = string.match(known or '0 0 - 0', '^(%d+) %d+ (%S+) (%d+)$')
    r = {before = call == me and n - k or tonumber(n), here = 0}
    repeats[id] = r
  end
  r.here = r.here + 1
  redis.pcall('HSET', P .. 'e:' .. id, 'r', r.before + r.here .. ' ' .. now .. ' ' .. me .. ' ' .. r.here)
end

local mine, listed = {}, {}
local function again(v, id, seq)
  mine[id] = true
  local e = P .. 'e:' .. id
  local answer = {1, id, seq, tonumber(rcall('HGET', e, 't')), 0}
  for j = v.from, v.from + 2 * v.n - 1, 2 do
    local st = rcall('HGET', e, eps[num(ARGV[j])].name)
    if st then
      answer[5] = answer[5] + 1
      local s, _, _, token = parse_state(st)
      if s == 'q' and free(eps[num(ARGV[j])]) then answer[#answer + 1] = -tonumber(ARGV[j]) end
      if s == 'l' and token == me then answer[#answer + 1] = tonumber(ARGV[j]) end
    end
  end
  return answer
end

-- record_of returns the record of an event, of which it reads what the event needs and is not known: ids, statuses and heads as they are
-- by now, the latter as set_head of lib.lua has them, and set, which is written at the end, once for all events of the call.
local records = {}
local function record_of(v)
  local rk = P .. v.record
  local r, fields, into, as, n = records[rk], {}, {}, {}, 0
  if not r then
    r = {ids = {}, statuses = {}, heads = {}, set = {}, new = 0}
    records[rk] = r
    fields, into, as, n = {'q', 'o', 'p', 'k', 'h'}, {r, r, r, r, r.heads}, {'last', 'open', 'prune', 'keep', 'h'}, 5
  end
  if r.ids[v.id] == nil then
    n = n + 1
    fields[n], into[n], as[n] = 'i:' .. v.id, r.ids, v.id
  end
  if r.statuses[v.brand] == nil then
    n = n + 1
    fields[n], into[n], as[n] = 's:' .. v.brand, r.statuses, v.brand
  end
  for j = v.from, v.from + 2 * v.n - 1, 2 do
    local name = eps[num(ARGV[j])].name
    if r.heads[name] == nil then
      n = n + 1
      fields[n], into[n], as[n] = 'h:' .. name, r.heads, name
    end
  end
  local values = n > 0 and hmget(rk, fields)
  for i = 1, n do into[i][as[i]] = values[i] end
  if not r.last_before then
    r.last, r.open, r.prune = tonumber(r.last or 0), tonumber(r.open or 0), tonumber(r.prune or 32)
    r.last_before, r.open_before = r.last, r.open
  end
  return r
end

local function accept(v)
  local r = record_of(v)
  local known, last, set, occurrence = r.ids[v.id], r.last, r.set, 1
  if known then
    local seq, n = string.match(known, '^(%d+) ?(%d*)$')
    seq, n = tonumber(seq), tonumber(n) or 1
    local id = n == 1 and v.id or v.id .. '-' .. n
    if not mine[id] and rcall('HGET', P .. 'e:' .. id, 'c') == me then return again(v, id, seq) end
    local age = now - seq
    if (v.bare and (age < bare_window or (seq == last and age < window))) or (not v.bare and age < window) then
      local e = rcall('HMGET', P .. 'e:' .. id, 't', 'r')
      if e[1] then repeated(id, e[2]) end
      return {0, id, seq, tonumber(e[1] or seq), 0}
    end
    occurrence = n + 1
  end

  -- The first write is one that Redis refuses at maxmemory: a full Redis accepts nothing, rather than a part. An event that
  -- the record has forgotten may still be there: then this is its next occurrence.
  local id = occurrence == 1 and v.id or v.id .. '-' .. occurrence
  while not rcall('SET', P .. 'b:' .. id, v.body, 'NX') do
    occurrence = occurrence + 1
    id = v.id .. '-' .. occurrence
  end
  mine[id] = true
  local seq = math.max(last + 1, now)

  local answer = {1, id, seq, now, 0}
  local state = {'w', v.record, 'q', int(seq), 't', ARGV[1], 'c', me}
  local entries, tenants = entries_of(v)
  if entries[1] then state[#state + 1], state[#state + 2] = 's', entries[1] end
  r.last, r.new, r.ids[v.id] = seq, r.new + 1, occurrence == 1 and int(seq) or int(seq) .. ' ' .. occurrence
  set[#set + 1], set[#set + 2] = 'i:' .. v.id, r.ids[v.id]
  local changed, codes = v.status ~= '' and v.status ~= r.statuses[v.brand], {}
  if changed then r.statuses[v.brand], set[#set + 1], set[#set + 2] = v.status, 's:' .. v.brand, v.status end
  for k = 0, v.n - 1 do
    local ei, cond = num(ARGV[v.from + 2 * k]), num(ARGV[v.from + 2 * k + 1])
    local e = eps[ei]
    if holds(cond, changed, cond >= 4 and tenants['@' .. string.match(e.name, '^[^/]*')]) then
      answer[5] = answer[5] + 1
      state[#state + 1], codes[#codes + 1] = e.name, code(e.name)
      local ordered = e.ordered and string.sub(v.record, 1, 2) == 'w:'
      local head = ordered and head_of(r.heads, e.name)
      if head and open_head(head) then
        line_up(e.name, v.record, id)
        state[#state + 1] = pack_state('w', 0, 'n', '')
      else
        if ordered then
          set_head(r.heads, e.name, id, v.n > 1)
          set[#set + 1], set[#set + 2] = 'h:' .. e.name, r.heads[e.name]
          heads[id] = true
        end
        if may_lease(e) then
          enqueue(e, id, now + e.lease)
          answer[#answer + 1] = ei
          state[#state + 1] = pack_state('l', 0, 'n', me)
        else
          enqueue(e, id, now)
          e.open = false
          if free(e) then answer[#answer + 1] = -ei end
          state[#state + 1] = pack_state('q', 0, 'n', '')
        end
      end
    end
  end

  local added = answer[5]
  if added > 0 then
    state[#state + 1], state[#state + 2] = 'o', int(added)
    r.open = r.open + added
  end
  listed[#listed + 1] = id .. ' ' .. table.concat(codes)
  hset(P .. 'e:' .. id, state)
  for _, entry in ipairs(entries) do note(entry, id, v.status == 'signed') end
  if added == 0 then
    local span = outlive(entries[1], id, retention)
    rcall('PEXPIRE', P .. 'e:' .. id, int(span))
    rcall('PEXPIRE', P .. 'b:' .. id, int(span))
  end
  return answer
end

local out = {}
for i = 1, nv do out[i] = accept(events[i]) end
for rk, r in pairs(records) do
  local set = r.set
  if r.new > 0 then
    set[#set + 1], set[#set + 2] = 'q', int(r.last)
    if r.open > 0 then set[#set + 1], set[#set + 2] = 'o', int(r.open) end
    if r.heads.h then set[#set + 1], set[#set + 2] = 'h', r.heads.h end
    hset(rk, set)
    if r.open <= 0 then
      rcall('PEXPIRE', rk, int(kept(now, r.keep, math.max(window, retention))))
    elseif r.open_before == 0 and r.last_before > 0 then
      rcall('PERSIST', rk)
    end
    local size = (r.last_before > 0 or r.new > 1) and rcall('HLEN', rk) or 0
    if size >= r.prune then prune(rk, size) end
  end
end
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
