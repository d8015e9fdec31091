-- listen: note when to look whether something was heard of waybills. One script, so that an entry that has just ended
-- is not noted.
--
-- ARGV   now (ms), for how long a waybill has to be silent until it is asked for (ms, 0: it never is), time between two
--        queries of one (ms), 1 to note anew those that are noted, else 0, N times: entry
-- Returns {how many were noted}
local now, after, interval, anew = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4] == '1'
if not (now and after and interval and ARGV[4]) then return redis.error_reply('ERR listen: wrong arguments') end
rcall('ZREM', P .. 'due', '')

local added = 0
if #ARGV == 4 then return {0} end
for i, known in ipairs(rcall('ZMSCORE', P .. 'silent', unpack(ARGV, 5))) do
  local entry = ARGV[4 + i]
  local l = (anew or not known) and silence_of(entry, now, after, interval)
  if l then
    rcall('ZADD', P .. 'silent', look_at(l, l.ask), entry)
    added = added + 1
  end
end
return {added}
