-- listen: note when to look whether something was heard of waybills. One script, so that an entry that has just ended
-- is not noted.
--
-- ARGV   now (ms), for how long a waybill has to be silent (ms), time between two queries of one (ms), N times: entry
-- Returns {how many were not noted yet, and are now}
local now, after, interval = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
if not (now and after and interval) then return redis.error_reply('ERR listen: wrong arguments') end
rcall('ZREM', P .. 'due', '')

local added = 0
if #ARGV == 3 then return {0} end
for i, known in ipairs(rcall('ZMSCORE', P .. 'silent', unpack(ARGV, 4))) do
  local at = not known and silent_until(ARGV[3 + i], after, interval)
  if at then
    rcall('ZADD', P .. 'silent', int(at), ARGV[3 + i])
    added = added + 1
  end
end
return {added}
