-- replay: send events again, one page of a replay, and note how far it is. One script, so that a replay whose relay
-- dies goes on where it was, and sends nothing twice.
--
-- ARGV   now (ms), call id, replay, who works it off, cursor after this page (empty: as it was),
--        state after it (running or done), events looked at, events that matched, deliveries that a dry run counted,
--        how many of these are dead, deliveries that are left alone because they are open, retention (ms),
--        N times: id, endpoint, lease (ms) if the caller has a slot for it, else 0,
--                 1 if it may be new to the endpoint, plus 2 if that has the updates of a waybill in their order
-- Returns {1, rows of what is leased to the caller, as row() of lib/event.lua returns them, how many were queued},
--        or {0} if the replay was cancelled, or another replica works it off
-- Deliveries that are open already are skipped. One that waits in its line counts as queued. Asked again with the same
-- call id, it gives the same rows.
local now, me, replay, holder, cursor, state = tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local looked, matched, counted, dead = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local left, retention = tonumber(ARGV[11]), tonumber(ARGV[12])
if not (now and looked and matched and counted and dead and left and retention) or #ARGV % 4 ~= 0 then
  return redis.error_reply('ERR replay: wrong arguments')
end

-- A write that Redis allows at maxmemory opens the way for those that it would not.
rcall('ZREM', P .. 'due', '')

local key = P .. 'y:' .. replay
local f = rcall('HMGET', key, 'state', 'call')
local repeated = f[2] == me
if not repeated and (f[1] ~= 'running' or rcall('GET', P .. 'yl:' .. replay) ~= holder) then return {0} end

local rows, queued, skipped, listed = {}, counted, left, {}
local function send(id, ep, span, flags)
  local v = read_event(id, repeated or span > 0)
  local d = v and state_of(v, ep)
  if repeated then
    if d and d.s == 'l' and d.token == me then rows[#rows + 1] = row(v, ep, me) end
    return
  end
  if not v or (d and OPEN[d.s]) or (not d and flags % 2 == 0) then
    skipped = skipped + 1
    return
  end

  queued = queued + 1
  if d and d.s == 'x' then dead = dead + 1 end
  if not d then listed[#listed + 1] = '+' .. id .. ' ' .. code(ep) end
  if not open_again(ep, v, '', flags >= 2, now) then return end
  local due = now
  if span > 0 and not control(ep) then
    due = now + span
    rows[#rows + 1] = lease(v, ep, me)
  end
  save(v)
  rcall('ZADD', P .. 'q:' .. ep, due, id)
  touch(ep, due)
end

for i = 13, #ARGV, 4 do send(ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])) end
if not repeated then
  list(now, listed, retention)
  rcall('HSET', key, 'state', state, 'call', me)
  if cursor ~= '' then rcall('HSET', key, 'cursor', cursor) end
  for name, n in pairs({looked = looked, matched = matched, queued = queued, skipped = skipped, dead = dead}) do
    if n > 0 then rcall('HINCRBY', key, name, n) end
  end
  rcall('PEXPIRE', P .. 'yl:' .. replay, 10000)
  if state ~= 'running' then
    rcall('HSET', key, 'ended', now)
    rcall('ZREM', P .. 'yopen', replay)
    rcall('DEL', P .. 'yl:' .. replay)
  end
end
return {1, rows, queued}
