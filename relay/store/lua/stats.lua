-- stats: add what a replica has counted to the statistics. One script, so that what several replicas count adds up, and
-- a call that is asked again counts once.
--
-- ARGV   replica, number of the call, how long minutes and how long hours are kept (s), N times: subject, minute (since
--        the epoch), row of counts, histogram of attempts, histogram of deliveries; an empty one has nothing
-- Returns {N}
-- The numbers of a replica's calls rise. A call whose number is not above that of the latest one was made before, or
-- is late: it changes nothing. The first write is one that Redis refuses at maxmemory: statistics leave room to others.
local replica, number, minutes, hours = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local FIRST, SUBJECT, MINUTE, COUNTS, TOOK, WAITED, PLACES = 5, 0, 1, 2, 3, 4, 5
if not (number and tonumber(minutes) and tonumber(hours)) or (#ARGV - FIRST + 1) % PLACES ~= 0 then
  return redis.error_reply('ERR stats: wrong arguments')
end

local answer = {(#ARGV - FIRST + 1) / PLACES}
local latest = P .. 'mc:' .. replica
if number <= (tonumber(rcall('GET', latest)) or 0) then return answer end
rcall('SET', latest, ARGV[2], 'EX', hours)

-- put adds to the rows of a cell; its page lives for a span after its latest new row.
local function put(key, cell, life, counts, took, waited)
  local a, d = 'a' .. cell, 'd' .. cell
  local was, set = rcall('HMGET', key, cell, a, d), {}
  local function collect(i, field, more)
    if more ~= '' then set[#set + 1], set[#set + 2] = field, bounded(add(was[i] or '', more, i == 1)) end
  end
  collect(1, cell, counts)
  collect(2, a, took)
  collect(3, d, waited)
  if #set > 0 and rcall('HSET', key, unpack(set)) > 0 then rcall('EXPIRE', key, life) end
end

for o = FIRST, #ARGV, PLACES do
  local subject, minute = ARGV[o + SUBJECT] .. ':', tonumber(ARGV[o + MINUTE])
  local counts, took, waited = ARGV[o + COUNTS], ARGV[o + TOOK], ARGV[o + WAITED]
  put(P .. 'm:' .. subject .. int(math.floor(minute / 360)), int(minute % 360), minutes, counts, '', '')
  put(P .. 'm5:' .. subject .. int(math.floor(minute / 720)), int(math.floor(minute % 720 / 5)), minutes, counts,
    took, waited)
  put(P .. 'mh:' .. subject .. int(math.floor(minute / 7200)), int(math.floor(minute % 7200 / 60)), hours, counts,
    took, waited)
end
return answer
