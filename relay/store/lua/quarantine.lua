-- quarantine: keep what was not understood, once. One script, so that nothing is kept that is not listed.
--
-- Keys beside those of lib.lua: quarantine (zset: id by time), z:<id> (string: what came, with its headers and the reason)
-- ARGV   now (ms), how long it is kept (ms), N times: id, what is kept
-- Returns how many were new
local now, span = tonumber(ARGV[1]), tonumber(ARGV[2])
if not (now and span) or #ARGV < 4 or #ARGV % 2 == 1 then return redis.error_reply('ERR quarantine: wrong arguments') end

local new = 0
for i = 3, #ARGV, 2 do
  if rcall('SET', P .. 'z:' .. ARGV[i], ARGV[i + 1], 'PX', span, 'NX') then
    rcall('ZADD', P .. 'quarantine', now, ARGV[i])
    new = new + 1
  end
end
rcall('ZREMRANGEBYSCORE', P .. 'quarantine', '-inf', now - span)
rcall('PEXPIRE', P .. 'quarantine', span)
return new
