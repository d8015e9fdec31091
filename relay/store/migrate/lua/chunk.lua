-- chunk: move a part of a chunk of the list of all events, with its events. One script, so that an event is listed as
-- long as it is there: what is not listed is never deleted.
--
-- ARGV   now (ms), chunk, most events
-- Returns {1 if more of it is left, else 0, events moved, N times: key that cannot be read, why}
-- Entries keep their places: a cursor may point at one. Asked again, it goes on with the next part.
local now, chunk, most = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])
if not (now and chunk and most and #ARGV == 3) then return redis.error_reply('ERR chunk: wrong arguments') end
rcall('ZREM', P .. 'due', '')

local from, to = O .. 'v:' .. chunk, P .. 'v:' .. chunk
local part, out, codes, bytes = rcall('LRANGE', from, 0, most - 1), {}, {}, 0
for i, entry in ipairs(part) do
  local plus, id = string.match(entry, '^(%+?)(%S+) ')
  out[i] = ''
  if id then
    local e = attempt('e:' .. id, move_event, id, now)
    local new = attempt('v:' .. chunk, short, id)
    if new and (rcall('EXISTS', P .. 'e:' .. new) == 1 or rcall('EXISTS', O .. 'e:' .. id) == 1) then
      codes[#codes + 1] = sub(entry, #plus + #id + 2)
      out[i] = plus .. new .. ' ' .. codes[#codes]
    end
    bytes = bytes + (e and e.size or 0)
  end
  if bytes > 262144 then break end -- Redis has time for others
end

many('RPUSH', to, out)
rcall('LTRIM', from, #out, -1)
if rcall('EXISTS', P .. 'log') == 1 and rcall('ZSCORE', P .. 'log', chunk) then
  listed(chunk, table.concat(codes), now)
end
if rcall('EXISTS', from) == 1 then return {1, counts.events, unpack(problems)} end

-- That was the last part.
local full = rcall('GET', O .. 'c:' .. chunk)
if rcall('EXISTS', to) == 1 then
  if full then rcall('SET', P .. 'c:' .. chunk, full, 'NX') end
  local trim = rcall('ZSCORE', O .. 'logt', chunk)
  if trim then rcall('ZADD', P .. 'logt', 'NX', trim, chunk) end
  listed(chunk, '', now)
end
rcall('UNLINK', O .. 'c:' .. chunk)
rcall('ZREM', O .. 'log', chunk)
rcall('ZREM', O .. 'logt', chunk)
return {0, counts.events, unpack(problems)}
