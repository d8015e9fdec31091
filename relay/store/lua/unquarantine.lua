-- unquarantine: take something out of quarantine. One script, so that what is counted is what is there.
--
-- ARGV   id
-- Returns 1 if it was there
if #ARGV ~= 1 then return redis.error_reply('ERR unquarantine: wrong arguments') end
local sizes = P .. 'quarantined'
local size = tonumber(rcall('HGET', sizes, ARGV[1])) or 0
rcall('HDEL', sizes, ARGV[1])
if size > 0 then rcall('HINCRBY', sizes, '+', int(-size)) end
rcall('ZREM', P .. 'quarantine', ARGV[1])
return rcall('DEL', P .. 'z:' .. ARGV[1])
