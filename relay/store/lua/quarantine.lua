-- quarantine: keep what was not understood, once. One script, so that all that is kept is listed and counted.
--
-- ARGV   now (ms), how long it is kept (ms), how many there may be, how many bytes they may have,
--        1 if the oldest go when there is no room, 0 if that is an error, N times: id, what is kept
-- Returns how many were new, how many of the oldest went
local now, span, most, bytes = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local push = ARGV[5] == '1'
local FIRST = 6
if not (now and span and most and bytes) or #ARGV < FIRST + 1 or (#ARGV - FIRST) % 2 == 0 then
  return redis.error_reply('ERR quarantine: wrong arguments')
end

local all, sizes = P .. 'quarantine', P .. 'quarantined'
local function out(id)
  local size = tonumber(rcall('HGET', sizes, id)) or 0
  rcall('DEL', P .. 'z:' .. id)
  rcall('ZREM', all, id)
  rcall('HDEL', sizes, id)
  rcall('HINCRBY', sizes, '+', int(-size))
end

-- What has expired makes room.
for _, id in ipairs(rcall('ZRANGEBYSCORE', all, '-inf', int(now - span), 'LIMIT', '0', '1000')) do out(id) end

local new, more = 0, 0
for i = FIRST, #ARGV, 2 do
  if rcall('EXISTS', P .. 'z:' .. ARGV[i]) == 0 then
    new, more = new + 1, more + #ARGV[i + 1]
  end
end
local count, sum, gone = rcall('ZCARD', all), tonumber(rcall('HGET', sizes, '+')) or 0, 0
while new > 0 and count > 0 and (count + new > most or sum + more > bytes) do
  if not push then return redis.error_reply('ERR quarantine: it is full') end
  out(rcall('ZRANGE', all, 0, 0)[1])
  count, sum, gone = rcall('ZCARD', all), tonumber(rcall('HGET', sizes, '+')) or 0, gone + 1
end

for i = FIRST, #ARGV, 2 do
  if rcall('SET', P .. 'z:' .. ARGV[i], ARGV[i + 1], 'PX', int(span), 'NX') then
    rcall('ZADD', all, int(now), ARGV[i])
    rcall('HSET', sizes, ARGV[i], int(#ARGV[i + 1]))
    rcall('HINCRBY', sizes, '+', int(#ARGV[i + 1]))
  end
end
rcall('PEXPIRE', all, int(span))
rcall('PEXPIRE', sizes, int(span))
return {new, gone}
