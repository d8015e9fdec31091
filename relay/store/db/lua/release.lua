-- release: end a lock, or the claim of a replay, if the caller still has it. One script, so that a caller whose lock
-- has lapsed does not end that of another replica.
--
-- ARGV   "replay" or "only", the replay or the name of the lock, who had it
-- Returns 1 if the caller had it, else 0
local kind, what, holder = ARGV[1], ARGV[2], ARGV[3]
if not ((kind == 'replay' or kind == 'only') and what and holder) then
  return redis.error_reply('ERR release: wrong arguments')
end
rcall('ZREM', P .. 'due', '')

local key = (kind == 'replay' and P .. 'yl:' or P .. 'only:') .. what
if rcall('GET', key) ~= holder then return 0 end
return rcall('DEL', key)
