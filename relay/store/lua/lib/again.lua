-- What is sent again.

-- reopen makes a delivery open again that was delivered, given up or dismissed (its state s), or that is new (nil). The
-- record and the sequence are those of its event. The caller queues it.
local function reopen(ep, id, record, sequence, s)
  local e, rk = P .. 'e:' .. id, P .. record
  if s == 'x' then
    rcall('HINCRBY', e, 'x', -1)
    rcall('ZREM', P .. 'x:' .. ep, id)
  end
  local open = rcall('HINCRBY', e, 'o', 1)
  rcall('PERSIST', e)
  rcall('PERSIST', P .. 'b:' .. id)

  -- The record may have expired since, and with it the sequence.
  local last = max(tonumber(rcall('HGET', rk, 'q')) or 0, tonumber(sequence))
  rcall('HSET', rk, 'q', string.format('%.0f', last))
  if open == 1 then rcall('HINCRBY', rk, 'o', 1) end
  rcall('PERSIST', rk)
end

-- The updates of a waybill that are sent again at an endpoint stand in a line of their own, so that they come in their
-- order, and no new update waits for them. The line's record (yh:<record>) has only heads, and exists as long as one is
-- open. settle moves the line on.

-- sent_again says of the state of a delivery whether others that are sent again wait for it.
local function sent_again(st)
  local s, _, reason = parse_state(st or '-')
  return reason == 'p' and (s == 'q' or s == 'l' or s == 'w')
end

-- advance_again makes the first that waits the head of a line, if the head is closed. It returns false if nobody waits.
local function advance_again(ep, line, now)
  local key, list_ = P .. line, P .. 'l:' .. ep .. ' ' .. line
  local head = rcall('HGET', key, 'h:' .. ep)
  if head and sent_again(rcall('HGET', P .. 'e:' .. head, ep)) then return rcall('EXISTS', list_) == 1 end

  for _ = 1, 100 do -- passes over those that were delivered without their lease, or that Redis has lost
    local id = rcall('LPOP', list_)
    if not id then
      rcall('HDEL', key, 'h:' .. ep)
      return false
    end
    if rcall('HINCRBY', P .. 'wait', ep, -1) <= 0 then rcall('HDEL', P .. 'wait', ep) end
    local s, attempts, reason, _, text = parse_state(rcall('HGET', P .. 'e:' .. id, ep) or '-')
    if s == 'w' then
      rcall('HSET', key, 'h:' .. ep, id)
      rcall('HSET', P .. 'e:' .. id, ep, pack_state('q', attempts, reason, '', text))
      rcall('ZADD', P .. 'q:' .. ep, now, id)
      touch(ep, now)
      break
    end
  end
  return true
end

-- line_up_again puts a delivery that is sent again into its line. It returns false if nothing is before it: the caller
-- queues it.
local function line_up_again(ep, id, record, token, now)
  if string.sub(record, 1, 2) ~= 'w:' then return false end
  local line = 'yh:' .. record
  local key, field, list_ = P .. 'yh:' .. record, 'h:' .. ep, P .. 'l:' .. ep .. ' ' .. line
  local head = rcall('HGET', key, field)
  local waits = head and (sent_again(rcall('HGET', P .. 'e:' .. head, ep)) or rcall('EXISTS', list_) == 1)
  if not waits then
    rcall('HSET', key, field, id)
    rcall('PEXPIRE', key, 2592000000) -- only if its last one is never settled: Redis lost it, or an older relay had it
    return false
  end

  rcall('HSET', P .. 'e:' .. id, ep, pack_state('w', 0, 'p', token, now))
  rcall('RPUSH', list_, id)
  rcall('HINCRBY', P .. 'wait', ep, 1)
  rcall('ZADD', P .. 'ylined', now + 60000, ep .. ' ' .. line)
  advance_again(ep, line, now)
  return true
end
