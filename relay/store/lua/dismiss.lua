-- dismiss: close dead letters for good. One script, so that none is dismissed that was sent again meanwhile.
--
-- ARGV   now (ms), endpoint, N times: id
-- Returns N times: 1 dismissed, 0 there is no such dead letter
local now, ep = tonumber(ARGV[1]), ARGV[2]
if not (now and ep) then return redis.error_reply('ERR dismiss: wrong arguments') end
rcall('ZREM', P .. 'due', '')

local out = {}
for i = 3, #ARGV do
  local id = ARGV[i]
  local v = read_event(id)
  local d = v and state_of(v, ep)
  out[i - 2] = d and d.s == 'x' and 1 or 0
  if d and d.s == 'x' then
    set_state(v, d, 'm', d.attempts, d.reason, d.token, now)
    save(v)
    rcall('ZREM', P .. 'x:' .. ep, id)
  end
end
return out
