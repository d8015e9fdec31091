-- redrive: queue a dead letter again, due at once and outside the order of its waybill. One script, so that an event cannot
-- expire between leaving the dead letters and being open.
--
-- ARGV   now (ms), endpoint, N times: id
-- Returns N times: 1 queued, 0 there is no such dead letter
local now, ep = tonumber(ARGV[1]), ARGV[2]
if not (now and ep) then return redis.error_reply('ERR redrive: wrong arguments') end
rcall('ZREM', P .. 'due', '')

local out = {}
for i = 3, #ARGV do
  local id, e = ARGV[i], P .. 'e:' .. ARGV[i]
  local f = rcall('HMGET', e, ep, 'w', 'x')
  out[i - 2] = 0
  if f[1] and string.sub(f[1], 1, 1) == 'x' then
    local _, _, _, token = parse_state(f[1])
    rcall('HSET', e, ep, pack_state('q', 0, 'd', token), 'x', tonumber(f[3] or 1) - 1)
    rcall('HINCRBY', e, 'o', 1)
    rcall('PERSIST', e)
    rcall('PERSIST', P .. 'b:' .. id)
    rcall('HINCRBY', P .. f[2], 'o', 1)
    rcall('PERSIST', P .. f[2])
    rcall('ZREM', P .. 'x:' .. ep, id)
    rcall('ZADD', P .. 'q:' .. ep, now, id)
    touch(ep, now)
    out[i - 2] = 1
  end
end
return out
