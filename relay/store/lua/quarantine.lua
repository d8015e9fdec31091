-- quarantine: keep what was not understood, once. One script, so that nothing is kept that is not listed.
--
-- KEYS beside those of lib.lua: quarantine (zset: id by time), z:<id> (string: what came, with its headers and the reason)
-- ARGV   now (ms), how long it is kept (ms), id, what is kept
-- Returns 1 new, 0 already there
local now, span, id, body = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], ARGV[4]
if not (now and span and id and body) then return redis.error_reply('ERR quarantine: wrong arguments') end
if rcall('EXISTS', P .. 'z:' .. id) == 1 then return 0 end
rcall('SET', P .. 'z:' .. id, body, 'PX', span)
rcall('ZADD', P .. 'quarantine', now, id)
rcall('ZREMRANGEBYSCORE', P .. 'quarantine', '-inf', now - span)
rcall('PEXPIRE', P .. 'quarantine', span)
return 1
