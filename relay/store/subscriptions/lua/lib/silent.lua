-- When a waybill that is live at the provider is asked for, because nothing is heard of it.
--
-- silent has such entries by when to look at them (ms): then it is seen whether they have been silent for so long.
-- Those that are to be asked for are in toask as well. An entry's field q is "<asked (ms)> <answered (ms)> <missed>
-- <alone>": when the provider was last asked how it stands (while it is being asked, a time to come, when that ends at
-- the latest), and when it last said so; how many times that was news which no callback had brought, since the entry
-- was subscribed last; and 1 if it is to be asked for in a call of its own.

local function read_query(q)
  local asked, answered, missed, alone = string.match(q or '', '^(%d+) (%d+) (%d+) (%d+)$')
  return {asked = tonumber(asked) or 0, answered = tonumber(answered) or 0, missed = tonumber(missed) or 0,
    alone = alone == '1'}
end

local function write_query(entry, q)
  rcall('HSET', P .. 's:' .. entry, 'q',
    table.concat({int(q.asked), int(q.answered), int(q.missed), q.alone and 1 or 0}, ' '))
end

-- facts_of reads an entry: its fields, the tenants that have subscribed it and since when (ms), the first of these
-- times, when its last event was accepted (at), and when that came again (again), both nil if it has none.
local function facts_of(entry)
  local all, l = rcall('HGETALL', P .. 's:' .. entry), {tenants = {}, since = {}}
  for i = 1, #all, 2 do
    local tenant = string.match(all[i], '^@(.*)$')
    if tenant then
      local since = tonumber(all[i + 1])
      l.tenants[#l.tenants + 1], l.since[#l.since + 1] = tenant, since
      l.first = min(since, l.first or since)
    else
      l[all[i]] = all[i + 1]
    end
  end
  local v = l.e and read_event(l.e)
  if v then
    l.at = accepted_at(v)
    l.again = tonumber(string.match(rcall('HGET', P .. 'f:' .. l.e, 'r') or '', '^%d+ (%d+)') or nil)
  end
  return l
end

-- silent_until returns when an entry is to be asked for (ms) if nothing is heard of it until then, and its field q. It
-- returns nil if the entry is not live, or if its parcel was signed for. What is heard is an update, one that came
-- again, and an answer of the provider. facts are those of the entry, if they are known.
local function silent_until(entry, after, interval, facts)
  local l = facts or facts_of(entry)
  if l.u ~= 'l' or l.z then return nil end
  local q = read_query(l.q)
  local heard = q.answered
  if l.at then
    heard = max(heard, l.at, l.again or 0)
  elseif heard == 0 then
    if not l.first then return nil end
    heard = l.first -- nothing was heard of it since it was first subscribed
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
