-- letgo: end what only one replica may do at a time, if the caller still does it. One script, so that nothing is ended
-- that has lapsed, and that another replica does by now.
--
-- ARGV   replay or only, the replay or what it is, who did it
-- Returns 1 if the caller did it, else 0
local kind, what, holder = ARGV[1], ARGV[2], ARGV[3]
if not ((kind == 'replay' or kind == 'only') and what and holder) then
  return redis.error_reply('ERR letgo: wrong arguments')
end
rcall('ZREM', P .. 'due', '')

local key = (kind == 'replay' and P .. 'yl:' or P .. 'only:') .. what
if rcall('GET', key) ~= holder then return 0 end
return rcall('DEL', key)
