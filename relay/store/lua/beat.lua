-- beat: a replica says that it lives, and how it does. One script, so that what is known of a replica is listed, and
-- ends with it; and so that it also works at maxmemory.
--
-- ARGV   now (ms), how long it counts as alive without another call (ms), replica, N times: field, value (none: the
--        replica stops)
-- Returns 1. Asked again, it does the same.
local now, span, id = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local FIRST = 4
if not (now and span and id) or (#ARGV - FIRST) % 2 == 0 then
  return redis.error_reply('ERR beat: wrong arguments')
end

local all, own = P .. 'reps', P .. 'rep:' .. id
rcall('ZREMRANGEBYSCORE', all, '-inf', int(now - span))
if #ARGV < FIRST then
  rcall('ZREM', all, id)
  rcall('DEL', own)
  return 1
end
local fields = {}
for i = FIRST, #ARGV do fields[#fields + 1] = ARGV[i] end
hset(own, fields)
rcall('PEXPIRE', own, int(span))
rcall('ZADD', all, int(now), id)
rcall('PEXPIRE', all, int(span))
return 1
