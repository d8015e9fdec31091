-- silent: take waybills that have been silent for long, to ask the provider how they stand. One script, so that a
-- waybill is asked for once over all replicas, and so that no day has more queries than it may.
--
-- ARGV   now (ms), for how long a waybill has to be silent (ms), time between two queries of one (ms), most,
--        queries allowed a day, the day, for how long they may be asked for (ms)
-- Returns {1 if the queries of the day are used up, else 0, N times {entry, 1 if it is to be asked for alone, else 0}}
-- Those that are returned count as asked for at the end of that time, the longest silent first. If the answer is lost,
-- they are not asked for until the time between two queries is over.
local now, after, interval, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local budget, day, turn = tonumber(ARGV[5]), ARGV[6], tonumber(ARGV[7])
if not (now and after and interval and most and budget and day and turn) then
  return redis.error_reply('ERR silent: wrong arguments')
end
local due = rcall('ZRANGE', P .. 'toask', 0, most - 1)
if #due == 0 then return {0} end
-- A write that Redis allows at maxmemory opens the way for those that it would not.
rcall('ZREM', P .. 'due', '')

local spent = queries_of(day)
local out, before = {0}, spent
for _, entry in ipairs(due) do
  local l = silence_of(entry, now, after, interval)
  if not (l and l.ask and l.ask <= now) then
    rcall('ZREM', P .. 'toask', entry) -- silent has it, if it is live
  elseif spent >= budget then
    out[1] = 1
  else
    spent = spent + 1
    local q = l.query
    out[#out + 1] = {entry, q.alone and 1 or 0}
    q.asked, q.alone = now + turn, false
    write_query(entry, q)
    rcall('ZREM', P .. 'toask', entry)
    rcall('ZADD', P .. 'silent', look_at(l, q.asked + interval), entry)
  end
end
if spent > before then count_queries(day, spent) end
return out
