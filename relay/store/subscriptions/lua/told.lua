-- told: note until when tenants were told that parcels do not move. One script, so that an entry that has just ended
-- is not written again.
--
-- ARGV   now (ms), for how long a waybill has to be silent until it is asked for (ms, 0: it never is), time between two
--        queries of one (ms), until when they were told (ms), N times: entry
-- Returns {}. Asked again, nothing changes.
local now, after, interval, told = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
if not (now and after and interval and told) then return redis.error_reply('ERR told: wrong arguments') end
rcall('ZREM', P .. 'due', '')

for i = 5, #ARGV do
  local entry, key = ARGV[i], P .. 's:' .. ARGV[i]
  local f = rcall('HMGET', key, 'u', 'w')
  if f[1] and told > (tonumber(f[2] or '') or 0) then rcall('HSET', key, 'w', int(told)) end
  local l = silence_of(entry, now, after, interval)
  if l then rcall('ZADD', P .. 'silent', look_at(l, l.ask), entry) else rcall('ZREM', P .. 'silent', entry) end
end
return {}
