-- redrive: queue a dead letter again, due at once and outside the order of its waybill. One script, so that an event
-- cannot expire between leaving the dead letters and being open.
--
-- ARGV   now (ms), call id, endpoint, N times: id
-- Returns N times: 1 queued, 0 there is no such dead letter
-- Asked again with the same call id, it gives the same answer for those that were not leased yet.
local now, me, ep = tonumber(ARGV[1]), ARGV[2], ARGV[3]
if not (now and me and ep) then return redis.error_reply('ERR redrive: wrong arguments') end
rcall('ZREM', P .. 'due', '')

local out = {}
for i = 4, #ARGV do
  local id, e = ARGV[i], P .. 'e:' .. ARGV[i]
  local f = rcall('HMGET', e, ep, 'w', 'x')
  local s, attempts, reason, token
  if f[1] then s, attempts, reason, token = parse_state(f[1]) end
  out[i - 3] = s == 'q' and token == me and 1 or 0
  if s == 'x' then
    -- Its age begins anew: one that was given up for it would be given up at once.
    rcall('HSET', e, ep, pack_state('q', 0, 'd', me, now), 'x', tonumber(f[3] or 1) - 1)
    local open = rcall('HINCRBY', e, 'o', 1)
    rcall('PERSIST', e)
    rcall('PERSIST', P .. 'b:' .. id)
    if open == 1 then rcall('HINCRBY', P .. f[2], 'o', 1) end
    rcall('PERSIST', P .. f[2])
    rcall('ZREM', P .. 'x:' .. ep, id)
    rcall('ZADD', P .. 'q:' .. ep, now, id)
    touch(ep, now)
    out[i - 3] = 1
  end
end
return out
