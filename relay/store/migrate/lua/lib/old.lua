-- What the version before has kept, and how its events are moved.
--
-- Its keys begin with {tag}: alone. What differs from the keys of this version (see lib/base.lua):
--   e:<id>             hash    state of an event: w record, q sequence, t accepted at (ms), c call that accepted it,
--                              s entry of the ledger, r, r0 to r9 and @<endpoint> as in f:<id>,
--                              <endpoint> -> state of that delivery. It expires when retention is over
--   b:<id>             string  body of an event
--   w:<waybill>, n:<id>  hash  s:<brand> last status, n:<brand> "<time of the newest track (ms)> <sequence>", o counts
--                              all open events
-- and ids have all of the hash.
--
-- The state of a delivery is "<s><attempts> <reason> <token> <text>": text is why it is dead, when it was redriven,
-- replayed, or caught up with (ms), or "<when, ms> <status> <ms>" of what delivered it. Or it is one letter, s.
local O = string.match(P, '^(.*})') .. ':'

-- counts are what this call has moved; problems are what it could not read: key, why, key, why, …
local counts, problems = {events = 0, records = 0, entries = 0, others = 0}, {}

-- attempt runs what moves a key. If that cannot be read, nothing of it was written yet, and it stays where it is.
local function attempt(name, move, ...)
  local ok, answer = pcall(move, ...)
  if ok then return answer end
  problems[#problems + 1] = name
  problems[#problems + 1] = type(answer) == 'table' and answer.err or tostring(answer)
end

-- short is an id as keys have it.
local function short(id)
  if #id < 43 then error('it names no event: ' .. id, 0) end
  return sub(id, 1, SHORT) .. sub(id, 44)
end

local function short_record(record)
  return sub(record, 1, 2) == 'n:' and 'n:' .. short(sub(record, 3)) or record
end

-- live lets a key live for at least as long as the one that it takes the place of. fresh says that it is new.
local function live(old, key, fresh)
  local had, has = rcall('PTTL', old), rcall('PTTL', key)
  if had > 0 and (fresh or (has > 0 and has < had)) then rcall('PEXPIRE', key, had) end
  if had == -1 and has > 0 then rcall('PERSIST', key) end
end

-- read_delivery reads the state of a delivery, with its place in the queue or among the dead letters.
local function read_delivery(ep, text, id, now)
  local d = {ep = ep, s = text, attempts = 0, reason = 'n', token = '', when = 0}
  local rest = ''
  if #text > 1 then
    local attempts
    d.s, attempts, d.reason, d.token, rest = string.match(text, '^(%a)(%d+) (%a) (%S*) (.*)$')
    d.attempts = tonumber(attempts)
  end
  if not d.s or not find('qlwdxm', d.s, 1, true) then
    error('it has no state of a delivery: ' .. sub(text, 1, 40), 0)
  end

  if OPEN[d.s] then
    if d.reason == 'd' or d.reason == 'p' or d.reason == 'c' then d.when = tonumber(rest) or 0 end
    if d.s ~= 'w' then d.score = rcall('ZSCORE', O .. 'q:' .. ep, id) or int(now) end
  elseif d.s == 'd' then
    local when, status, took = string.match(rest, '^(%d+) (%d+) (%d+)')
    d.when = tonumber(when) or now
    d.answered = pack_answer(tonumber(status) or 0, tonumber(took) or 0)
  else
    d.why = rest
    d.score = d.s == 'x' and rcall('ZSCORE', O .. 'x:' .. ep, id)
    d.when = d.score and tonumber(d.score) or now
  end
  return d
end

-- place puts a delivery into the queue, or among the dead letters.
local function place(d, id, new)
  local ep = d.ep
  if OPEN[d.s] and d.score then
    rcall('ZADD', P .. 'q:' .. ep, d.score, new)
    rcall('ZREM', O .. 'q:' .. ep, id)
    rcall('ZADD', P .. 'due', 'LT', d.score, ep)
  elseif d.s == 'x' and d.score then
    local key = P .. 'x:' .. ep
    local fresh = rcall('ZADD', key, d.score, new) == 1 and rcall('ZCARD', key) == 1
    live(O .. 'x:' .. ep, key, fresh)
    rcall('ZREM', O .. 'x:' .. ep, id)
  end
end

-- merge_event adds deliveries to an event that this version has kept meanwhile: those to endpoints that it does not
-- have there. was_open says that the record of the version before counts it as open.
local function merge_event(v, deliveries, id, record, was_open)
  local counted = open_of(v) > 0 and v.more
  local rare = {}
  for _, d in ipairs(deliveries) do
    if place_of(v, d.ep) then
      rcall('ZREM', O .. 'q:' .. d.ep, id)
      rcall('ZREM', O .. 'x:' .. d.ep, id)
    else
      set_state(v, add_state(v, d.ep), d.s, d.attempts, d.reason, d.token, d.when, d.answered)
      if d.why then rare[#rare + 1], rare[#rare + 2] = '!' .. d.ep, d.why end
      place(d, id, v.id)
    end
  end
  if was_open and open_of(v) > 0 and not counted then
    set_more(v)
  elseif was_open and rcall('EXISTS', O .. record) == 1 then
    rcall('HINCRBY', O .. record, 'o', -1)
  end
  save(v)
  hset(P .. 'f:' .. v.id, rare)
end

-- move_event moves an event, with its places in queues and among the dead letters. It returns what it has read, nil if
-- the event has expired.
local function move_event(id, now)
  local key, body = O .. 'e:' .. id, O .. 'b:' .. id
  local new, all = short(id), rcall('HGETALL', key)
  local f, names, rare, deliveries, states = {}, {}, {}, {}, {}
  for i = 1, #all, 2 do
    local name = all[i]
    f[name] = all[i + 1]
    if byte(name) == 64 or find(name, '^r%d?$') then -- @
      rare[#rare + 1], rare[#rare + 2] = name, all[i + 1]
    elseif find(name, '/', 1, true) then
      names[#names + 1] = name
    end
  end
  if #all == 0 then
    rcall('UNLINK', body)
    return nil
  end
  local accepted, sequence, text = tonumber(f.t), tonumber(f.q), rcall('GET', body) or ''
  if not (accepted and sequence and f.w and f.c) then error('it is no event', 0) end

  table.sort(names)
  local wide, open = #names == 1, 0 -- as accept.lua writes it
  for i, ep in ipairs(names) do
    local d = read_delivery(ep, f[ep], id, now)
    deliveries[i] = d
    wide = wide or #f[ep] > 1
    if OPEN[d.s] then open = open + 1 end
    if d.why then rare[#rare + 1], rare[#rare + 2] = '!' .. ep, d.why end
  end
  for i, d in ipairs(deliveries) do
    states[i] = wide and pack_state(d.s, d.attempts, d.reason, d.token, d.when, d.answered) or d.s
  end
  local rest, v = sub(id, SHORT + 1, 43), read_event(new)
  if v and rest_of(v) ~= rest then error('another event has its id', 0) end
  local ends = #names > 0 and table.concat(names, '\t') .. '\t' or ''
  local value = pack_event(table.concat(states), #names, wide, open > 0, accepted, sequence, f.c, rest, ends,
    f.s and string.match(f.s, '^%S+') or '', short_record(f.w), text)

  if v then
    merge_event(v, deliveries, id, f.w, open > 0)
  else
    rcall('SET', P .. 'e:' .. new, value)
    hset(P .. 'f:' .. new, rare)
    for _, d in ipairs(deliveries) do place(d, id, new) end
  end
  rcall('UNLINK', key, body)
  counts.events = counts.events + 1
  return {id = new, accepted = accepted, names = names, size = #text + 1000}
end

-- listed notes that events with these codes were put into a chunk of the list of all events: one that is full names all
-- codes that it has, and one that is not the latest is looked through by trim.
local function listed(chunk, codes, now)
  local full = rcall('GET', P .. 'c:' .. chunk)
  if full then rcall('SET', P .. 'c:' .. chunk, full .. codes) end
  local latest = rcall('ZREVRANGE', P .. 'log', 0, 0)[1]
  rcall('ZADD', P .. 'log', chunk, chunk)
  local passed = tonumber(latest or 0) > tonumber(chunk) and chunk or latest
  if passed and passed ~= rcall('ZREVRANGE', P .. 'log', 0, 0)[1] then
    rcall('ZADD', P .. 'logt', 'NX', int(now), passed)
  end
end
