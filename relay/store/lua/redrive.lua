-- redrive: queue a dead letter again, due at once and outside the order of its waybill. One script, so that an event
-- cannot be deleted between leaving the dead letters and being open.
--
-- ARGV   now (ms), call id, endpoint, N times: id
-- Returns N times: 1 queued, 0 there is no such dead letter
-- Asked again with the same call id, it gives the same answer for those that were not leased yet.
local now, me, ep = tonumber(ARGV[1]), ARGV[2], ARGV[3]
if not (now and me and ep) then return redis.error_reply('ERR redrive: wrong arguments') end
rcall('ZREM', P .. 'due', '')

local out = {}
for i = 4, #ARGV do
  local id = ARGV[i]
  local v = read_event(id)
  local d = v and state_of(v, ep)
  out[i - 3] = d and d.s == 'q' and d.token == me and 1 or 0
  if d and d.s == 'x' then
    -- Its age begins anew: one that was given up for it would be given up at once.
    if open_of(v) == 0 then reopened(v) end
    set_state(v, d, 'q', 0, 'd', me, now)
    save(v)
    rcall('HDEL', P .. 'f:' .. id, '!' .. ep)
    rcall('ZREM', P .. 'x:' .. ep, id)
    rcall('ZADD', P .. 'q:' .. ep, now, id)
    touch(ep, now)
    out[i - 3] = 1
  end
end
return out
