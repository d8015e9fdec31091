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
--        if the successor is leased to the caller: the rows of the line, as row() of lib/state.lua returns them,
--        if the breaker has changed: "open <till> <probes failed>" or "closed"}
-- The holder of a head holds its line: it may attempt what waits behind, each after the one before was delivered, and
-- settles them in that order in the same call as the head, under the head's token.
-- Asked again, by any call, it gives the same answer: a closed delivery keeps the token of its lease, and its successor
-- is leased under that token too.

-- line_record returns the record in whose line a delivery stands: what is sent again has one of its own, see
-- lib/again.lua.
local function line_record(v, e, why)
  local r = records[v.w]
  if why ~= 'p' or not r then return r end
  r = record('yh:' .. v.w)
  if not r.n[e] then r[#r + 1] = e end
  r.n[e] = (r.n[e] or 0) + 1
  return r
end

-- close ends a delivery. An event without open deliveries may expire, and a record without open events may expire too.
local function close(e, v, id, why, st, dead, wanted, had, token)
  local ep, r = e.name, records[v.w]
  e.drop[#e.drop + 1], r.done[#r.done + 1] = id, e.head
  set_state(v, ep, st)
  v.open, v.closed = v.open - 1, true

  if dead then
    v.dead, v.died = v.dead + 1, true
    r.kept = now + dead_retention
    rcall('ZREMRANGEBYSCORE', P .. 'x:' .. ep, '-inf', now - dead_retention)
    rcall('ZADD', P .. 'x:' .. ep, now, id)
    rcall('PEXPIRE', P .. 'x:' .. ep, dead_retention)
    rcall('ZADD', P .. 'dead', now, ep)
    rcall('ZREMRANGEBYSCORE', P .. 'dead', '-inf', now - dead_retention)
    rcall('PEXPIRE', P .. 'dead', dead_retention)
  end

  if v.open <= 0 then
    v.span = int(outlive(v.entry, id, v.dead > 0 and dead_retention or retention))
    rcall('PEXPIRE', P .. 'b:' .. id, v.span)
    r.closed = r.closed + 1
  end

  local line = line_record(v, e, why)
  if (e.lined > 0 or line ~= r) and head_of(line, e) == id then return advance(line, e, wanted, had, token) end
end

-- repeated answers an outcome that is settled again: with the successor, if that is leased to the same holder, whose
-- lease begins anew.
local function repeated(e, r, had, token)
  local head = head_of(r, e)
  if not head then return {1} end
  local _, s, _, _, holder = due_of(head, e.name)
  if s ~= 'l' or holder ~= token then return {1} end
  enqueue(e, head, now + e.lease)
  return {1, rows_of(r, e, had, 1, token)}
end

-- settle handles the outcome whose arguments begin at o, and returns its answer.
local function settle(o)
  local id, e = ARGV[o + ID], by[ARGV[o + ENDPOINT]]
  local token, kind, sign = ARGV[o + TOKEN], ARGV[o + KIND], ARGV[o + SIGN]
  local v, ep, wanted, had = events[id], e.name, num(ARGV[o + WANTED]), num(ARGV[o + HELD])
  local state = v.states[ep]
  if not state then return {0} end

  -- If the delivery is closed, or leased to another holder, nothing changes, except that delivered closes an open one.
  local s, attempts, why, holder, text = parse_state(state)
  local mine = holder == token
  if s == 'd' or s == 'x' or s == 'm' then
    if mine and wanted > 0 then return repeated(e, line_record(v, e, why), had, token) end
    return {mine and 1 or 0}
  end
  if kind ~= 'd' and not (mine and s == 'l') then return {mine and 1 or 0} end

  local what = kind == 'd' and ARGV[1] .. ' ' .. ARGV[o + STATUS] .. ' ' .. ARGV[o + TOOK] or ARGV[o + REASON]
  if sign ~= '0' then
    attempts = max(attempts, num(ARGV[o + ATTEMPT]))
    remember(e, id, attempts, o, kind, what)
  end

  local breaker
  if kind ~= 'g' then breaker = judge(e, token, sign, o) end
  if kind == 'd' or kind == 'x' then
    local rows = close(e, v, id, why, pack_state(kind, attempts, why, token, what), kind == 'x', wanted, had, token)
    return breaker and {1, rows or false, breaker} or {1, rows}
  end
  if kind == 'g' then
    local c = control(ep)
    if not c or c.state ~= 'gone' then
      set_control(ep, {state = 'gone', since = now})
      tell(ep, 'gone', o, 0, 0)
    end
  end
  set_state(v, ep, pack_state('q', attempts, why, token, text))
  enqueue(e, id, tonumber(ARGV[o + DUE]))
  return breaker and {1, false, breaker} or {1}
end

local out = {}
for o = first, #ARGV, PLACES do out[#out + 1] = settle(o) end
-- advance has leased these for an outcome later in this call. One that is still leased had an outcome under another
-- token: it is queued, to be due when the lease lapses.
for _, d in ipairs(passed) do
  if string.sub(d.v.states[d.e.name], 1, 1) == 'l' then enqueue(d.e, d.id, now + d.e.lease) end
end

-- What the outcomes have changed is written: first the events,
for i = 1, #every do
  local v = every[i]
  local set = v.set
  if v.closed then set[#set + 1], set[#set + 2] = 'o', int(v.open) end
  if v.died then set[#set + 1], set[#set + 2] = 'x', v.dead end
  hset(v.key, set)
  if v.span then rcall('PEXPIRE', v.key, v.span) end
end

-- then the records, which live on for as long as their events and duplicates are known,
for i = 1, #all_records do
  local r = all_records[i]
  local set, del = {}, {}
  for e in pairs(r.moved) do
    if r.heads[e] then set[#set + 1], set[#set + 2] = e.head, r.heads[e] else del[#del + 1] = e.head end
  end
  if r.kept then set[#set + 1], set[#set + 2] = 'k', r.kept end
  if r.closed > 0 then
    read(r)
    local left = r.open - r.closed
    if left > 0 then
      set[#set + 1], set[#set + 2] = 'o', int(left)
    else
      del = r.done
      rcall('PEXPIRE', r.key, int(kept(now, r.kept or r.keep, max(window, retention))))
    end
  end
  hset(r.key, set)
  many('HDEL', r.key, del)
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
