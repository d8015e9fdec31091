-- When a waybill that is live at the provider is asked for, because nothing is heard of it.
--
-- silent has such entries by when to look at them (ms): then it is seen whether they have been silent for so long. An
-- entry's field q is "<asked (ms)> <answered (ms)> <missed> <alone>": when the provider was last asked how it stands,
-- and when it last said so; how many times that was news which no callback had brought, since the entry was subscribed
-- last; and 1 if it is to be asked for in a call of its own.

local function read_query(q)
  local asked, answered, missed, alone = string.match(q or '', '^(%d+) (%d+) (%d+) (%d+)$')
  return {asked = tonumber(asked) or 0, answered = tonumber(answered) or 0, missed = tonumber(missed) or 0,
    alone = alone == '1'}
end

local function write_query(entry, q)
  rcall('HSET', P .. 's:' .. entry, 'q',
    table.concat({int(q.asked), int(q.answered), int(q.missed), q.alone and 1 or 0}, ' '))
end

-- silent_until returns when an entry is to be asked for (ms) if nothing is heard of it until then, and its field q. It
-- returns nil if the entry is not live, or if its parcel was signed for. What is heard is an update, one that came
-- again, and an answer of the provider.
local function silent_until(entry, after, interval)
  local key = P .. 's:' .. entry
  local f = rcall('HMGET', key, 'u', 'z', 'e', 'q')
  if f[1] ~= 'l' or f[2] then return nil end
  local q = read_query(f[4])
  local heard = q.answered
  local e = f[3] and rcall('HMGET', P .. 'e:' .. f[3], 't', 'r') or {}
  if e[1] then
    local came_again = string.match(e[2] or '', '^%d+ (%d+)')
    heard = max(heard, tonumber(e[1]), came_again and tonumber(came_again) or 0)
  elseif heard == 0 then
    -- Nothing was heard of it since it was first subscribed.
    local all, since = rcall('HGETALL', key), nil
    for i = 1, #all, 2 do
      if string.sub(all[i], 1, 1) == '@' then since = min(since or math.huge, tonumber(all[i + 1])) end
    end
    if not since then return nil end
    heard = since
  end
  return max(heard + after, q.asked > 0 and q.asked + interval or 0), q
end

-- queries_of returns how many waybills the provider was asked for on a day, a number that rises at midnight in China.
-- count_queries writes that down.
local function queries_of(day)
  local of, n = string.match(rcall('GET', P .. 'queries') or '', '^(%d+) (%d+)$')
  return of == day and tonumber(n) or 0
end

local function count_queries(day, n) rcall('SET', P .. 'queries', day .. ' ' .. int(n), 'PX', 172800000) end
