-- takeover: hand out work that was begun and not finished in time, then waybills that are asked for again, and losses
-- that nobody has told of in time. One script, so that one replica gets each.
--
-- ARGV   now (ms), time until the next replica may take it over (ms), most
-- Returns {members of todo, members of lost}: at most so many of each
local now, span, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
if not (now and span and most) then return redis.error_reply('ERR takeover: wrong arguments') end

local function due(key, n) return rcall('ZRANGEBYSCORE', P .. key, '-inf', now, 'LIMIT', 0, n) end

local work = due('todo', most)
for _, member in ipairs(work) do rcall('ZADD', P .. 'todo', now + span, member) end

-- What is asked for again comes last, so that many at once delay nothing that was begun. It becomes such work.
for _, entry in ipairs(due('norecord', most - #work)) do
  rcall('ZREM', P .. 'norecord', entry)
  local f = rcall('HMGET', P .. 's:' .. entry, 'u', 't')
  if f[1] == 'p' and not f[2] then
    rcall('ZADD', P .. 'todo', now + span, ' ' .. entry)
    work[#work + 1] = ' ' .. entry
  end
end

local lost = due('lost', most)
for _, member in ipairs(lost) do rcall('ZADD', P .. 'lost', now + span, member) end
return {work, lost}
