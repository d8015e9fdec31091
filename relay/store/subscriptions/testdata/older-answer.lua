-- answer: write down what the provider said of waybills. One script, so that a late answer does not undo a newer one.
--
-- ARGV   now (ms), token of the claim, life of an entry that failed (ms),
--        N times: entry, state (l live, f failed), code, text, uid
-- Returns N times: 1 written, 0 not: there is no such entry, or a failure came too late and changes nothing
-- A success counts even if the claim has lapsed. Asked again, nothing changes.
local now, token, failed_ttl = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])
if not (now and token and failed_ttl) or #ARGV % 5 ~= 3 then return redis.error_reply('ERR answer: wrong arguments') end
-- A write that Redis allows at maxmemory opens the way for those that it would not.
rcall('ZREM', P .. 'due', '')

local out = {}
for i = 4, #ARGV, 5 do
  local entry, key, state = ARGV[i], P .. 's:' .. ARGV[i], ARGV[i + 1]
  local f = rcall('HMGET', key, 'u', 't')
  local good = f[1] and (state == 'l' or (f[1] == 'p' and f[2] == token))
  if good then
    rcall('HSET', key, 'u', state, 'c', ARGV[i + 2], 'm', ARGV[i + 3], 'i', ARGV[i + 4])
    rcall('HDEL', key, 't', 'x')
    rcall('ZREM', P .. 'todo', ' ' .. entry)
    if state == 'f' then retain(entry, now, failed_ttl) end
  end
  out[#out + 1] = good and 1 or 0
end
return out
