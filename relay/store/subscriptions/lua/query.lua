-- query: take given waybills, to ask the provider how they stand, as far as they may be asked for now. One script, so
-- that a waybill is asked for once over all replicas, and so that no day has more queries than it may.
--
-- ARGV   now (ms), time between two queries of one (ms), queries allowed a day, the day,
--        for how long they may be asked for (ms), N times: entry
-- Returns N times: c the caller is to ask for it, a the same in a call of its own, w somebody is asking just now,
--         i it was asked for too shortly before, b the queries of the day are used up, e it is not live
-- Those that the caller is to ask for count as asked for at the end of that time, unless heard.lua says when. If the
-- answer is lost, they are not asked for until the time between two queries is over.
local now, interval, budget, day = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local turn = tonumber(ARGV[5])
if not (now and interval and budget and day and turn) then return redis.error_reply('ERR query: wrong arguments') end
-- A write that Redis allows at maxmemory opens the way for those that it would not.
rcall('ZREM', P .. 'due', '')

local spent = queries_of(day)
local out, before = {}, spent
for i = 6, #ARGV do
  local at, q = silent_until(ARGV[i], 0, interval)
  if not at then
    out[#out + 1] = 'e'
  elseif q.asked > now then
    out[#out + 1] = 'w'
  elseif q.asked > 0 and q.asked + interval > now then
    out[#out + 1] = 'i'
  elseif spent >= budget then
    out[#out + 1] = 'b'
  else
    spent = spent + 1
    out[#out + 1] = q.alone and 'a' or 'c'
    q.asked, q.alone = now + turn, false
    write_query(ARGV[i], q) -- silent and toask are looked at by it
  end
end
if spent > before then count_queries(day, spent) end
return out
