-- What is sent again.

-- The updates of a waybill that are sent again at an endpoint stand in a line of their own, so that they come in their
-- order, and no new update waits for them. The line's record (yh:<record>) has only heads, and exists as long as one is
-- open. settle moves the line on.

-- sent_again says of the state of a delivery, nil if there is none, whether others that are sent again wait for it.
local function sent_again(d) return d and d.reason == 'p' and OPEN[d.s] end

-- holds_line says whether others wait for the delivery of an event (its id, false if there is none).
local function holds_line(id, ep)
  local v = id and read_event(id)
  return v and sent_again(state_of(v, ep))
end

-- advance_again makes the first that waits the head of a line, if the head is closed. It returns false if nobody waits.
local function advance_again(ep, line, now)
  local key, list_ = P .. line, P .. 'l:' .. ep .. ' ' .. line
  if holds_line(rcall('HGET', key, 'h:' .. ep), ep) then return rcall('EXISTS', list_) == 1 end

  for _ = 1, 100 do -- passes over those that were delivered without their lease, or that Redis has lost
    local id = rcall('LPOP', list_)
    if not id then
      rcall('HDEL', key, 'h:' .. ep)
      return false
    end
    if rcall('HINCRBY', P .. 'wait', ep, -1) <= 0 then rcall('HDEL', P .. 'wait', ep) end
    local v = read_event(id)
    local d = v and state_of(v, ep)
    if d and d.s == 'w' and d.reason == 'p' then
      rcall('HSET', key, 'h:' .. ep, id)
      set_state(v, d, 'q', d.attempts, d.reason, '', d.when)
      save(v)
      rcall('ZADD', P .. 'q:' .. ep, now, id)
      touch(ep, now)
      break
    end
  end
  return true
end

-- line_up_again puts a delivery that is sent again into its line, and says so, or returns false if nothing is before
-- it: the caller queues it. It saves the event.
local function line_up_again(ep, v, d, token, now)
  if sub(v.record, 1, 2) ~= 'w:' then return false end
  local line = 'yh:' .. v.record
  local key, field, list_ = P .. 'yh:' .. v.record, 'h:' .. ep, P .. 'l:' .. ep .. ' ' .. line
  local head = rcall('HGET', key, field)
  local waits = head and (holds_line(head, ep) or rcall('EXISTS', list_) == 1)
  if not waits then
    rcall('HSET', key, field, v.id)
    rcall('PEXPIRE', key, 2592000000) -- only if its last one is never settled, because Redis has lost it
    return false
  end

  set_state(v, d, 'w', 0, 'p', token, now)
  save(v)
  rcall('RPUSH', list_, v.id)
  rcall('HINCRBY', P .. 'wait', ep, 1)
  rcall('ZADD', P .. 'ylined', now + 60000, ep .. ' ' .. line)
  advance_again(ep, line, now)
  return true
end

-- open_again has a delivery that was closed, or that is new to the endpoint, sent again. It returns false if it was put
-- into its line. Otherwise the caller queues or leases it, and saves the event.
local function open_again(ep, v, token, ordered, now)
  local d = state_of(v, ep)
  if d and d.s == 'x' then
    rcall('ZREM', P .. 'x:' .. ep, v.id)
    rcall('HDEL', P .. 'f:' .. v.id, '!' .. ep)
  end
  if open_of(v) == 0 then reopened(v) end
  d = d or add_state(v, ep)
  if ordered and line_up_again(ep, v, d, token, now) then return false end
  set_state(v, d, 'q', 0, 'p', token, now)
  return true
end
