-- trim: delete the events of a part of a chunk that have been closed for long, and after the last part take them out of
-- the list of all events. One script, because no event may be deleted that is being sent again, and because a chunk is
-- written anew. A part is small, so that Redis has time for others in between.
--
-- ARGV   now (ms), retention (ms), dead_letter_retention (ms), most events,
--        chunk (0: the first that is due), and of its parts so far how many events these had, how many of them are
--        left, and when the first of what is left may be deleted (ms, 0: unknown)
-- Returns {chunk, and the same of its parts so far, for the next call}, chunk is 0 if none is left to look through
-- An event is deleted when retention is over since its last delivery was delivered or dismissed, and
-- dead_letter_retention since the last one was given up that is still a dead letter. The last event of a subscribed
-- waybill stays as long as its entry in the ledger. Asked again, it deletes nothing else.
local now, retention, dead_retention = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local most, chunk, from = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local left, again = tonumber(ARGV[7]), tonumber(ARGV[8])
if not (now and retention and dead_retention and most and chunk and from and left and again) then
  return redis.error_reply('ERR trim: wrong arguments')
end

-- A write that Redis allows at maxmemory opens the way for those that it would not.
rcall('ZREM', P .. 'due', '')

if chunk == 0 then
  -- The latest chunk is full when the next event comes. If none comes, it is looked through as well.
  local latest = tonumber(rcall('ZREVRANGE', P .. 'log', 0, 0)[1] or nil)
  if latest and is_full(now, latest, retention) then rcall('ZADD', P .. 'logt', 'NX', latest + retention, latest) end
  -- After retention was made shorter, those that are to be looked through later than that are looked through now.
  local late = rcall('ZRANGEBYSCORE', P .. 'logt', now + retention + 3600000, '+inf', 'LIMIT', 0, 100)
  for _, name in ipairs(late) do rcall('ZADD', P .. 'logt', now, name) end
  chunk = tonumber(rcall('ZRANGEBYSCORE', P .. 'logt', '-inf', now, 'LIMIT', 0, 1)[1] or 0)
  if chunk == 0 then return {0, 0, 0, 0} end
end

-- over returns when an event may be deleted (ms), nil if a delivery is open. It reads the states alone: an event may
-- have hundreds of endpoints.
local looked = 0
local function over(v)
  looked = looked + 1 + v.n / 8
  if open_of(v) > 0 then return nil end
  local till = v.n == 0 and accepted_at(v) + retention or 0
  for i = 1, v.n do
    local at = HEAD + (i - 1) * STATE
    local dead = byte(v.head, at + 1) == 120 -- x
    till = max(till, read6(v.head, at + 17) + (dead and dead_retention or retention))
  end
  return till
end

local function is_last(v)
  return v.brand ~= '' and rcall('HGET', P .. 's:' .. v.brand .. ' ' .. sub(v.record, 3), 'e') == v.id
end

local key = P .. 'v:' .. chunk
local part, gone, seen = rcall('LRANGE', key, from, from + most - 1), {}, 0
for _, entry in ipairs(part) do
  if looked >= most then break end
  seen = seen + 1
  local id = string.match(entry, '^%+?(%S+) ')
  local v = id and read_event(id)
  local till = v and over(v)
  if v and (not till or till > now or is_last(v)) then
    left = left + 1
    if till and till > now then again = again == 0 and till or min(again, till) end
  elseif v then
    gone[#gone + 1], gone[#gone + 2] = P .. 'e:' .. id, P .. 'f:' .. id
  end
end
for i = 1, #gone, 100 do rcall('UNLINK', unpack(gone, i, min(i + 99, #gone))) end
if from + seen < rcall('LLEN', key) then return {chunk, from + seen, left, again} end

-- That was the last part.
if left == 0 then
  rcall('UNLINK', key, P .. 'c:' .. chunk)
  rcall('ZREM', P .. 'log', chunk)
  rcall('ZREM', P .. 'logt', chunk)
  return {chunk, 0, 0, 0}
end
local all, cleared = rcall('LRANGE', key, 0, -1), false
for i, entry in ipairs(all) do
  local id = string.match(entry, '^%+?(%S+) ')
  if id and rcall('EXISTS', P .. 'e:' .. id) == 0 then all[i], cleared = '', true end
end
if cleared then -- those that are left keep their places: a cursor may point at one
  rcall('DEL', key)
  for i = 1, #all, 100 do rcall('RPUSH', key, unpack(all, i, min(i + 99, #all))) end
end
local latest_look = now + retention / 4
rcall('ZADD', P .. 'logt', int(max(again > 0 and min(again, latest_look) or latest_look, now + retention / 16)), chunk)
return {chunk, 0, 0, 0}
