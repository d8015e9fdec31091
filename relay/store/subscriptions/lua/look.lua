-- look: look at waybills when it is time. Those that have been silent for long are put into toask; those that tenants
-- are to be told of are given to the caller, who says when it has told them (told.lua). One script, so that one replica
-- gets each, and another one if that dies.
--
-- ARGV   now (ms), for how long a waybill has to be silent until it is asked for (ms, 0: it never is), time between two
--        queries of one (ms), time until another replica tells of what this one took (ms), most
-- Returns {how many were looked at, N times {entry, which silence it is (see lib/watch.lua), last status,
--        M times: since (ms), for how long (ms), tenants separated by spaces}}
-- If the answer is lost, they are given out once more, after that time.
local now, after, interval = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local span, most = tonumber(ARGV[4]), tonumber(ARGV[5])
if not (now and after and interval and span and most) then return redis.error_reply('ERR look: wrong arguments') end

local due = rcall('ZRANGEBYSCORE', P .. 'silent', '-inf', now, 'LIMIT', 0, most)
if #due == 0 then return {0} end
-- A write that Redis allows at maxmemory opens the way for those that it would not.
rcall('ZREM', P .. 'due', '')

-- see looks at one, and returns its row if tenants are to be told.
local function see(entry)
  local l = silence_of(entry, now, after, interval)
  if not l then
    rcall('ZREM', P .. 'silent', entry)
    return nil
  end

  -- toask outlives the time until each of its members is looked at again, and is there for those who look seldom.
  local ask = l.ask
  if ask and ask <= now then
    rcall('ZADD', P .. 'toask', int(ask), entry)
    rcall('PEXPIRE', P .. 'toask', int(2 * after + 86400000))
    ask = now + after
  end
  if not l.due[1] then
    rcall('ZADD', P .. 'silent', look_at(l, ask), entry)
    return nil
  end

  rcall('ZADD', P .. 'silent', int(now + span), entry)
  local row = {entry, l.stage, l.status}
  for _, x in ipairs(l.due) do
    row[#row + 1], row[#row + 2], row[#row + 3] = x.since, x.span, table.concat(x.tenants, ' ')
  end
  return row
end

local out = {#due}
for _, entry in ipairs(due) do out[#out + 1] = see(entry) end
return out
