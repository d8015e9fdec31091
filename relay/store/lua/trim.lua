-- trim: take what has expired out of the list of all events. One script, because a chunk is written anew.
--
-- ARGV   now (ms), retention (ms), most chunks
-- Returns how many chunks were looked through. If as many as most, there may be more
local now, retention, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
if not (now and retention and most) then return redis.error_reply('ERR trim: wrong arguments') end

-- A write that Redis allows at maxmemory opens the way for those that it would not.
rcall('ZREM', P .. 'due', '')

local chunks = rcall('ZRANGEBYSCORE', P .. 'logt', '-inf', now, 'LIMIT', 0, most)
for _, chunk in ipairs(chunks) do
  local key, left, gone = P .. 'v:' .. chunk, 0, 0
  local all = rcall('LRANGE', key, 0, -1)
  for i, v in ipairs(all) do
    local id = string.match(v, '^%+?(%S+) ')
    if id and rcall('EXISTS', P .. 'e:' .. id) == 1 then
      left = left + 1
    elseif v ~= '' then
      all[i], gone = '', gone + 1
    end
  end

  if left == 0 then
    rcall('DEL', key, P .. 'c:' .. chunk)
    rcall('ZREM', P .. 'log', chunk)
    rcall('ZREM', P .. 'logt', chunk)
  else
    if gone > 0 then -- those that are left keep their places: a cursor may point at one
      rcall('DEL', key)
      for from = 1, #all, 100 do rcall('RPUSH', key, unpack(all, from, min(from + 99, #all))) end
    end
    rcall('PEXPIRE', key, 2 * retention)
    rcall('PEXPIRE', P .. 'c:' .. chunk, 2 * retention)
    rcall('ZADD', P .. 'logt', now + retention, chunk)
  end
end
if #chunks > 0 then
  rcall('PEXPIRE', P .. 'log', 2 * retention)
  rcall('PEXPIRE', P .. 'logt', 2 * retention)
end
return #chunks
