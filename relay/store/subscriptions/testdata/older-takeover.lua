-- takeover: hand out work that was begun and not finished in time. One script, so that one replica gets it.
--
-- ARGV   now (ms), time until the next replica may take it over (ms), most
-- Returns members of todo
local now, span, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
if not (now and span and most) then return redis.error_reply('ERR takeover: wrong arguments') end
local due = rcall('ZRANGEBYSCORE', P .. 'todo', '-inf', now, 'LIMIT', 0, most)
for _, member in ipairs(due) do rcall('ZADD', P .. 'todo', now + span, member) end
return due
