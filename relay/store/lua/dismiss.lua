-- dismiss: close dead letters for good. One script, so that an event without any more dead letters expires like a
-- delivered one.
--
-- ARGV   retention (ms), endpoint, N times: id
-- Returns N times: 1 dismissed, 0 there is no such dead letter
local retention, ep = tonumber(ARGV[1]), ARGV[2]
if not (retention and ep) then return redis.error_reply('ERR dismiss: wrong arguments') end
rcall('ZREM', P .. 'due', '')

local out = {}
for i = 3, #ARGV do
  local id, e = ARGV[i], P .. 'e:' .. ARGV[i]
  local f = rcall('HMGET', e, ep, 'o', 'x', 's')
  local s, attempts, reason, token, text
  if f[1] then s, attempts, reason, token, text = parse_state(f[1]) end
  out[i - 2] = s == 'x' and 1 or 0
  if s == 'x' then
    local left = tonumber(f[3] or 1) - 1
    rcall('HSET', e, ep, pack_state('m', attempts, reason, token, text), 'x', left)
    rcall('ZREM', P .. 'x:' .. ep, id)
    if left <= 0 and tonumber(f[2] or 0) <= 0 then
      local span = outlive(f[4], id, retention)
      rcall('PEXPIRE', e, span)
      rcall('PEXPIRE', P .. 'b:' .. id, span)
    end
  end
end
return out
