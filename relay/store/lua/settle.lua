-- settle: write down what came of deliveries, and lease the successor of each settled head to the caller if it wants it. One
-- script, because a head must not be closed without its successor being due or leased.
--
-- ARGV   now (ms), retention, dead_letter_retention, dedupe.window (ms), attempts kept per endpoint,
--        number of endpoints E, number of outcomes N,
--        E times: name, lease (ms) of a successor,
--        N times: id, index of the endpoint (from 1), token of the lease, kind, due (ms), reason,
--                 successor wanted (1 or 0), an attempt was made (1 or 0), number of the attempt, status, duration (ms), text
--        kind is d delivered, r retry at due, x dead, g the endpoint is gone (parked), u released: nothing was tried
-- Returns N times {what became of it, successor's row as row() of lib.lua gives it, or nothing}: 1 settled, 0 too late
-- Asked again, by whichever call, it gives the same answer: a closed delivery keeps the token of its lease, and its successor
-- is leased under that token too.
local now, retention, dead_retention, window = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local history, ne, nv = ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])
if not (now and retention and dead_retention and window and ne and nv) or #ARGV ~= 7 + 2 * ne + 12 * nv then
  return redis.error_reply('ERR settle: wrong arguments')
end
for i = 1, nv do
  if not ARGV[7 + 2 * tonumber(ARGV[7 + 2 * ne + 12 * (i - 1) + 2])] then return redis.error_reply('ERR settle: bad endpoint of outcome ' .. i) end
end

-- A write that Redis allows at maxmemory opens the way for those that it would not.
rcall('ZREM', P .. 'due', '')

local tried = {}
local function remember(ep, id, n, o)
  rcall('XADD', P .. 'a:' .. ep, 'MAXLEN', '~', history, '*',
    'i', id, 'n', n, 'k', ARGV[o + 3], 's', ARGV[o + 9], 'd', ARGV[o + 10], 'm', ARGV[o + 11])
  tried[ep] = true
end

-- advance gives the place at the head of the line to the next in it. It returns the row of the successor, if the caller gets it.
local function advance(ep, span, record, wanted, token)
  local rk = P .. record
  local nxt, f
  repeat -- an event that Redis has evicted is passed over
    nxt = rcall('LPOP', P .. 'l:' .. ep .. ' ' .. record)
    if not nxt then
      rcall('HDEL', rk, 'h:' .. ep)
      return nil
    end
    if rcall('HINCRBY', P .. 'wait', ep, -1) <= 0 then rcall('HDEL', P .. 'wait', ep) end
    f = rcall('HMGET', P .. 'e:' .. nxt, ep, 'q', 't')
  until f[1]
  rcall('HSET', rk, 'h:' .. ep, nxt)
  if wanted and not parked(ep) then
    touch(ep, now + span)
    return lease(ep, nxt, f[1], f[2], f[3], token, now + span)
  end
  local _, _, why, _, text = parse_state(f[1])
  rcall('HSET', P .. 'e:' .. nxt, ep, pack_state('q', 0, why, '', text))
  rcall('ZADD', P .. 'q:' .. ep, now, nxt)
  touch(ep, now)
  return nil
end

-- close ends a delivery; the last one of an event lets the event expire, the last one of a record the record.
local function close(ep, span, id, f, st, dead, wanted, token)
  local e, record = P .. 'e:' .. id, f[2]
  local rk, open, deads = P .. record, tonumber(f[3] or 1) - 1, tonumber(f[4] or 0)
  rcall('ZREM', P .. 'q:' .. ep, id)
  rcall('HSET', e, ep, st, 'o', open)
  if dead then
    deads = deads + 1
    rcall('HSET', e, 'x', deads)
    rcall('HSET', rk, 'k', now + dead_retention)
    rcall('ZREMRANGEBYSCORE', P .. 'x:' .. ep, '-inf', now - dead_retention)
    rcall('ZADD', P .. 'x:' .. ep, now, id)
    rcall('PEXPIRE', P .. 'x:' .. ep, dead_retention)
    rcall('ZADD', P .. 'dead', now, ep)
    rcall('ZREMRANGEBYSCORE', P .. 'dead', '-inf', now - dead_retention)
    rcall('PEXPIRE', P .. 'dead', dead_retention)
  end
  if open <= 0 then
    local span_ = outlive(f[5], id, deads > 0 and dead_retention or retention)
    rcall('PEXPIRE', e, span_)
    rcall('PEXPIRE', P .. 'b:' .. id, span_)
  end
  local rec = rcall('HMGET', rk, 'h:' .. ep, 'o', 'k')
  local left = (tonumber(rec[2]) or 1) - 1
  rcall('HSET', rk, 'o', left)
  keep(rk, now, left, rec[3], math.max(window, retention))
  if rec[1] == id then return advance(ep, span, record, wanted, token) end
end

-- repeated answers an outcome that is settled again: the successor, if it was leased to the same holder, for the time of a
-- new lease.
local function repeated(ep, span, record, token)
  local head = record and rcall('HGET', P .. record, 'h:' .. ep)
  if not head then return {1} end
  local f = rcall('HMGET', P .. 'e:' .. head, ep, 'q', 't')
  if not f[1] then return {1} end
  local s, attempts, reason, held, text = parse_state(f[1])
  if s ~= 'l' or held ~= token then return {1} end
  rcall('ZADD', P .. 'q:' .. ep, now + span, head)
  return {1, row(ep, head, attempts, reason, f[2], f[3], held, text)}
end

local function settle(o)
  local id, ei, token, kind = ARGV[o], tonumber(ARGV[o + 1]), ARGV[o + 2], ARGV[o + 3]
  local due, reason, wanted, made, n = tonumber(ARGV[o + 4]), ARGV[o + 5], ARGV[o + 6] == '1', ARGV[o + 7] == '1', tonumber(ARGV[o + 8])
  local ep, span = ARGV[8 + 2 * (ei - 1)], tonumber(ARGV[9 + 2 * (ei - 1)])
  local f = rcall('HMGET', P .. 'e:' .. id, ep, 'w', 'o', 'x', 's')
  if not f[1] then return {0} end
  local s, attempts, why, held, text = parse_state(f[1])
  local mine = held == token
  if s == 'd' or s == 'x' then
    if mine and wanted then return repeated(ep, span, f[2], token) end
    if mine then return {1} end
    return {0}
  end
  if kind ~= 'd' and not (mine and s == 'l') then
    return {mine and 1 or 0}
  end
  if made then
    attempts = math.max(attempts, n)
    remember(ep, id, attempts, o)
  end
  if kind == 'd' then
    return {1, close(ep, span, id, f, pack_state('d', attempts, why, token), false, wanted, token)}
  elseif kind == 'x' then
    return {1, close(ep, span, id, f, pack_state('x', attempts, why, token, reason), true, wanted, token)}
  end
  if kind == 'g' then
    rcall('HSET', P .. 'ctl', ep, 'gone ' .. now)
    rcall('ZREM', P .. 'due', ep)
    parked_any, parked_known[ep] = true, true
  end
  rcall('HSET', P .. 'e:' .. id, ep, pack_state('q', attempts, why, token, text))
  rcall('ZADD', P .. 'q:' .. ep, due, id)
  touch(ep, due)
  return {1}
end

local out = {}
for i = 1, nv do out[i] = settle(8 + 2 * ne + 12 * (i - 1)) end
for i = 1, ne do
  local ep = ARGV[8 + 2 * (i - 1)]
  if tried[ep] then rcall('PEXPIRE', P .. 'a:' .. ep, math.max(retention, dead_retention)) end
  if rcall('EXISTS', P .. 'q:' .. ep) == 0 then rcall('ZREM', P .. 'due', ep) end
end
return out
