-- settle: write down the outcomes of deliveries, and lease the successor of each settled head to the caller if it wants
-- it. One script, because a head must not be closed without its successor being due or leased.
--
-- ARGV   now (ms), retention, dead_letter_retention, dedupe.window (ms), attempts kept per endpoint,
--        number of endpoints E, number of outcomes N,
--        E times: name, lease (ms) of a successor, rate,
--                 breaker "<failures> <ratio> <window ms> <cool-off ms> <longest cool-off ms>", empty for none,
--        N times (their places have names in settle/call.lua):
--          ID           event
--          ENDPOINT     index of the endpoint, from 1
--          TOKEN        of the lease
--          KIND         d delivered, r retry at DUE, x dead, g the endpoint is gone (parked), u released: no attempt
--          DUE          ms
--          REASON       why it is dead
--          WANTED       how many deliveries of the line the caller wants, from the successor on; 0: it gets no lease
--          SIGN         what the attempt says about the endpoint: 0 there was none, 1 nothing, 2 it answers, 3 it fails
--          RETRY_AFTER  ms that the endpoint asked for
--          ATTEMPT      its number
--          STATUS       of the answer; 0: there was none
--          TOOK         ms
--          TEXT         unless it is delivered: a line with its origin (see attempts.go), then the answer or error
--          HELD         how many of the wanted deliveries the caller has already
-- Returns N times {1 settled or 0 too late,
--        if the successor is leased to the caller: the rows of the line, as row() of lib/event.lua returns them,
--        if the breaker has changed: "open <till> <probes failed>" or "closed"}
-- The holder of a head holds its line: it may attempt what waits behind, each after the one before was delivered, and
-- settles them in that order in the same call as the head, under the head's token.
-- Asked again, by any call, it gives the same answer: a closed delivery keeps the token of its lease, and its successor
-- is leased under that token too.

-- line_record returns the record in whose line a delivery stands: what is sent again has one of its own, see
-- lib/again.lua.
local function line_record(v, e, reason)
  if reason ~= 'p' then return record(v.record) end
  local r = record('yh:' .. v.record)
  if not r.n[e] then r[#r + 1] = e end
  r.n[e] = (r.n[e] or 0) + 1
  return r
end

-- close ends a delivery: it is delivered or dead (s). A record without open events may expire.
local function close(e, v, d, s, o, token, attempts)
  local ep, id = e.name, v.id
  e.drop[#e.drop + 1] = id
  if s == 'd' then
    set_state(v, d, s, attempts, d.reason, token, now, pack_answer(ARGV[o + STATUS], tonumber(ARGV[o + TOOK])))
  else
    set_state(v, d, s, attempts, d.reason, token, now)
    rcall('HSET', P .. 'f:' .. id, '!' .. ep, ARGV[o + REASON])
    local r = record(v.record)
    if not v.more then -- the record has to outlive the dead letter
      set_more(v)
      r.counted = r.counted + 1
    end
    r.kept = now + dead_retention
    rcall('ZREMRANGEBYSCORE', P .. 'x:' .. ep, '-inf', now - dead_retention)
    rcall('ZADD', P .. 'x:' .. ep, now, id)
    rcall('PEXPIRE', P .. 'x:' .. ep, dead_retention)
    rcall('ZADD', P .. 'dead', now, ep)
    rcall('ZREMRANGEBYSCORE', P .. 'dead', '-inf', now - dead_retention)
    rcall('PEXPIRE', P .. 'dead', dead_retention)
  end

  if v.more then
    local r = record(v.record)
    r.done[#r.done + 1] = e.head
    if open_of(v) == 0 then r.closed = r.closed + 1 end
  elseif open_of(v) == 0 then
    alone[#alone + 1] = P .. v.record
  end
  if e.lined == 0 and d.reason ~= 'p' then return nil end
  local line = line_record(v, e, d.reason)
  if head_of(line, e) == id then return advance(line, e, num(ARGV[o + WANTED]), num(ARGV[o + HELD]), token) end
end

-- repeated answers an outcome that is settled again: with the successor, if that is leased to the same holder, whose
-- lease begins anew.
local function repeated(e, r, had, token)
  local head = head_of(r, e)
  local v = head and event(head)
  local d = v and state_of(v, e.name)
  if not (d and d.s == 'l' and d.token == token) then return {1} end
  enqueue(e, head, now + e.lease)
  return {1, rows_of(r, e, had, 1, token)}
end

-- settle handles the outcome whose arguments begin at o, and returns its answer.
local done = {1}
local function settle(o)
  local v, e = events[ARGV[o + ID]], by[ARGV[o + ENDPOINT]]
  local token, kind, sign, ep = ARGV[o + TOKEN], ARGV[o + KIND], ARGV[o + SIGN], e.name
  local d = v and state_of(v, ep)
  if not d then return {0} end

  -- If the delivery is closed, or leased to another holder, nothing changes, except that delivered closes an open one.
  local mine = d.token == token
  if not OPEN[d.s] then
    if mine and num(ARGV[o + WANTED]) > 0 then
      return repeated(e, line_record(v, e, d.reason), num(ARGV[o + HELD]), token)
    end
    return {mine and 1 or 0}
  end
  if kind ~= 'd' and not (mine and d.s == 'l') then return {mine and 1 or 0} end

  local attempts = d.attempts
  if sign ~= '0' then
    attempts = max(attempts, num(ARGV[o + ATTEMPT]))
    remember(e, v, attempts, o, kind)
  end

  local breaker
  if kind ~= 'g' then breaker = judge(e, token, sign, o) end
  if kind == 'd' or kind == 'x' then
    local rows = close(e, v, d, kind, o, token, attempts)
    if not rows and not breaker then return done end
    return breaker and {1, rows or false, breaker} or {1, rows}
  end
  if kind == 'g' then
    local c = control(ep)
    if not c or c.state ~= 'gone' then
      set_control(ep, {state = 'gone', since = now})
      tell(ep, 'gone', o, 0, 0)
    end
  end
  set_state(v, d, 'q', attempts, d.reason, token, d.when)
  enqueue(e, v.id, tonumber(ARGV[o + DUE]))
  return breaker and {1, false, breaker} or {1}
end

local out = {}
for o = first, #ARGV, PLACES do out[#out + 1] = settle(o) end
-- advance has leased these for an outcome later in this call. One that is still leased had an outcome under another
-- token: it is queued, to be due when the lease lapses.
for _, p in ipairs(passed) do
  if state_of(p.v, p.e.name).s == 'l' then enqueue(p.e, p.id, now + p.e.lease) end
end

-- What the outcomes have changed is written: first the events,
for i = 1, #every do save(every[i]) end

-- then the records, which live on for as long as their events and duplicates are known,
local span = max(window, retention)
for i = 1, #alone do rcall('PEXPIRE', alone[i], int(span)) end
for i = 1, #all_records do
  local r = all_records[i]
  local set, del, over = {}, {}, false
  for e in pairs(r.moved) do
    if r.heads[e] then set[#set + 1], set[#set + 2] = e.head, r.heads[e] else del[#del + 1] = e.head end
  end
  if r.kept then set[#set + 1], set[#set + 2] = 'k', int(r.kept) end
  if r.closed + r.counted > 0 then
    read(r)
    local left = r.open + r.counted - r.closed
    if left > 0 then
      set[#set + 1], set[#set + 2] = 'o', int(left)
    else
      del, over = r.done, true
    end
  end
  hset(r.key, set)
  many('HDEL', r.key, del)
  if over then rcall('PEXPIRE', r.key, int(kept(now, r.kept or r.keep, span))) end
end

-- then each endpoint: its queue and history, when it is due, its failures, and how many wait in its lines,
for i = 1, ne do
  local e = eps[i]
  local ep = e.name
  many('ZADD', e.queue, e.add)
  many('ZREM', e.queue, e.drop)
  if e.failed then rcall('PEXPIRE', e.failed, max(retention, dead_retention)) end
  if e.delivered[1] then
    local key = P .. 'd:' .. ep
    many('LPUSH', key, e.delivered)
    rcall('LTRIM', key, 0, history - 1)
    rcall('PEXPIRE', key, max(retention, dead_retention))
  end

  if changed[ep] then
    retouch(ep)
  elseif e.due then
    touch(ep, e.due)
  elseif rcall('EXISTS', e.queue) == 0 then
    rcall('ZREM', P .. 'due', ep)
  end

  local r = failing[ep]
  if counted[ep] and r then
    rcall('HSET', P .. 'fail', ep, r.row .. ' ' .. r.since .. ' ' .. r.tries .. ' ' .. r.bad)
    rcall('PEXPIRE', P .. 'fail', max(retention, dead_retention))
  elseif counted[ep] then
    rcall('HDEL', P .. 'fail', ep)
  end

  if e.moved then
    if e.lined > 0 then rcall('HSET', P .. 'wait', ep, e.lined) else rcall('HDEL', P .. 'wait', ep) end
  end
end

-- and last the lines, which have lost their first, and what holds endpoints back.
for i = 1, #lines do
  if lines[i].at > 0 then rcall('LTRIM', lines[i].key, lines[i].at, -1) end
end
flush()
return out
