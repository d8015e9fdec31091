-- heard: write down what the provider has said of waybills that were asked for. One script, so that what an answer
-- means for a waybill is not lost between two writes.
--
-- ARGV   now (ms), for how long a waybill has to be silent (ms), time between two queries of one (ms),
--        how many times an answer is news before a waybill is subscribed again, the day,
--        N times: entry, what the answer was: m news that no callback had brought, k nothing new, n no record,
--                 a an answer to a call for several waybills that says nothing of each, f no answer,
--                 s subscribed again, x it was not asked for after all
-- Returns N times 1 if the waybill is to be subscribed again, else 0
local now, after, interval, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local day = ARGV[5]
if not (now and after and interval and most and day) or #ARGV % 2 ~= 1 then
  return redis.error_reply('ERR heard: wrong arguments')
end
rcall('ZREM', P .. 'due', '')

-- write writes one answer down, and says whether to subscribe the waybill again.
local function write(entry, answer)
  local q = select(2, silent_until(entry, after, interval))
  if not q then return 0 end
  if answer == 's' then
    q.missed = 0
  elseif answer == 'x' then
    q.asked = 0
    count_queries(day, max(0, queries_of(day) - 1))
  else
    q.asked = min(q.asked, now) -- nobody is asking any more
    if answer == 'a' then q.alone = true elseif answer ~= 'f' then q.answered = now end
    if answer == 'm' then q.missed = q.missed + 1 end
  end
  write_query(entry, q)
  local l = silence_of(entry, now, after, interval)
  if l then rcall('ZADD', P .. 'silent', 'XX', look_at(l, l.ask), entry) end
  return answer == 'm' and q.missed >= most and 1 or 0
end

local out = {}
for i = 6, #ARGV, 2 do out[#out + 1] = write(ARGV[i], ARGV[i + 1]) end
return out
