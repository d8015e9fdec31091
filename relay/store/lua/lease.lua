-- lease: hand deliveries that are due to the caller, so that no other replica takes them before the lease lapses.
--
-- ARGV   now (ms), call id, most bytes of bodies, number of endpoints E,
--        E times: name, lease (ms), most deliveries wanted, also if the endpoint is held back (1 or 0),
--                 open since before (ms, 0: any), from due (ms), and of those due then, how many to pass over, rate
-- Returns {{looked, due, left, again, E times}, {row…}}, with rows as row() of lib/event.lua returns them:
--          looked   how many deliveries were looked at
--          due      when the last of them was due (ms)
--          left     how many that were due at that same time were not leased
--          again    if a limit was reached before most: in how many ms to ask again, -1: when an attempt has ended
--        A call returns at least one row. It stops when the bodies have too many bytes: looked is then as high as most.
-- Asked again with the same call id, it gives the same answer, less the rows whose leases are no longer this call's.
-- Key r:<call id> holds the counts, and endpoint and id of each row, for a minute.
local now, me, most_bytes, ne = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
if not (now and most_bytes and ne) or #ARGV ~= 4 + 8 * ne then
  return redis.error_reply('ERR lease: wrong arguments')
end

-- A write that Redis allows at maxmemory opens the way for those that it would not.
rcall('ZREM', P .. 'due', '')

-- Asked again: the deliveries of the first answer that are still leased under this call id.
local counts, rows, names = {}, {}, {}
local given = rcall('LRANGE', P .. 'r:' .. me, 0, -1)
if #given > 0 then
  for i = 1, 4 * ne do counts[i] = tonumber(given[i]) end
  for i = 4 * ne + 1, #given, 2 do
    local ep, id = given[i], given[i + 1]
    local v = read_event(id, true)
    local d = v and state_of(v, ep)
    if d and d.s == 'l' and d.token == me then rows[#rows + 1] = row(v, ep, me) end
  end
  return {counts, rows}
end

-- A ramp is over after this time, however few attempts there were.
local ramp_ms = 60000

-- allowed returns how many of the wanted deliveries may be leased, and, if these are fewer, when to ask again (see
-- Returns).
local function allowed(ep, most, rate)
  local c, again = control(ep), 0
  if c and c.state == 'ramp' and now - c.since >= ramp_ms then set_control(ep, nil) c = nil end
  if c and c.state == 'ramp' then
    if now >= c.till then c.out = 0 end
    if c.width - c.out < most then most, again = max(c.width - c.out, 0), -1 end
  elseif c and c.state == 'open' and now >= c.till then
    most = min(most, 1)
  elseif c then
    return 0, 0
  end
  if rate ~= '' and most > 0 then
    local n, wait = allowance(ep, rate, now)
    if n < most then most, again = n, wait end
  end
  return most, again
end

-- count notes that n deliveries were leased: in the breaker, and in the rate.
local function count(ep, span, n, rate)
  local c = control(ep)
  if c and c.state == 'open' then
    set_control(ep, {state = 'open', since = c.since, till = now + span, step = c.step, token = me})
  elseif c then
    c.out, c.till = c.out + n, now + span
    set_control(ep, c)
  end
  if rate ~= '' then spend(ep, rate, now, n) end
end

-- page is how many deliveries are read at a time.
local page, bytes = 32, 0
local function lease_due(ep, span, most, force, before, from, skip, rate)
  if bytes >= most_bytes then return most, from, skip, 0 end
  local again, had = 0, #rows
  if not force then
    most, again = allowed(ep, most, rate)
    if most == 0 then return 0, from, skip, again end
  end

  local queue, till = P .. 'q:' .. ep, int(now + span)
  local ids = rcall('ZRANGEBYSCORE', queue, from > 0 and from or '-inf', now, 'WITHSCORES', 'LIMIT', skip, most)
  local due, left, looked = from, skip, #ids / 2

  local add, drop = {}, {}
  for at = 1, #ids, 2 * page do
    local keys = {}
    for i = at, min(at + 2 * page, #ids) - 1, 2 do keys[#keys + 1] = P .. 'e:' .. ids[i] end
    local values = rcall('MGET', unpack(keys))

    for i = 1, #keys do
      local id, score = ids[at + 2 * i - 2], ids[at + 2 * i - 1]
      local v = values[i] and unpack_event(id, values[i], true)
      local d = v and state_of(v, ep)
      if tonumber(score) ~= due then due, left = tonumber(score), 0 end
      if not d then
        drop[#drop + 1] = id
      elseif before == 0 or (d.when > 0 and d.when or accepted_at(v)) <= before then
        rows[#rows + 1] = lease(v, ep, me)
        save(v)
        names[#names + 1], names[#names + 2], add[#add + 1], add[#add + 2] = ep, id, till, id
        bytes = bytes + #v.body
        if bytes >= most_bytes then looked = most break end
      else
        left = left + 1
      end
    end
    if bytes >= most_bytes then break end
  end

  many('ZADD', queue, add)
  many('ZREM', queue, drop)
  if not force and #rows > had then count(ep, span, #rows - had, rate) end
  if looked < most then again = 0 end
  return looked, due, left, again
end

for i = 1, ne do
  local at = 5 + 8 * (i - 1)
  local ep = ARGV[at]
  local looked, due, left, again = lease_due(ep, tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), ARGV[at + 3] == '1',
    tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5]), tonumber(ARGV[at + 6]), ARGV[at + 7])
  for _, v in ipairs({looked, due, left, again}) do counts[#counts + 1] = v end
  retouch(ep, now + max(again, 0))
end
flush()
if #names > 0 then
  for _, list in ipairs({counts, names}) do
    for from = 1, #list, 100 do rcall('RPUSH', P .. 'r:' .. me, unpack(list, from, min(from + 99, #list))) end
  end
  rcall('PEXPIRE', P .. 'r:' .. me, 60000)
end
return {counts, rows}
