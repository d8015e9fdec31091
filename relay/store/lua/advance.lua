-- advance: let lines of updates that are sent again go on whose head is closed, although settle has not moved them:
-- Redis has lost it. One script, so that no line is moved on twice.
--
-- ARGV   now (ms), most lines to look at
-- Returns how many were looked at
-- A line in which others wait is looked at again a minute later.
local now, most = tonumber(ARGV[1]), tonumber(ARGV[2])
if not (now and most) then return redis.error_reply('ERR advance: wrong arguments') end
rcall('ZREM', P .. 'due', '')

local lines = rcall('ZRANGEBYSCORE', P .. 'ylined', '-inf', now, 'LIMIT', 0, most)
for _, name in ipairs(lines) do
  local ep, line = string.match(name, '^(%S+) (.*)$')
  if advance_again(ep, line, now) then
    rcall('ZADD', P .. 'ylined', now + 60000, name)
  else
    rcall('ZREM', P .. 'ylined', name)
  end
end
return #lines
