-- leadnotices: a replica asks to be the one that tells people of problems, or to stay it. One script, so that there is
-- one at a time.
--
-- ARGV   replica, for how long it is the one without asking again (ms)
-- Returns 0: another replica is; 1: it stays the one; 2: it is the one now, and reads the notices anew
-- Asked again, it says 1 instead of 2: who asks does not repeat the call, and a reply that is lost costs a span.
local replica, span = ARGV[1], tonumber(ARGV[2])
if not (replica and span) then return redis.error_reply('ERR leadnotices: wrong arguments') end

local key = P .. 'only:' .. 'notices'
local holder = rcall('GET', key)
if holder and holder ~= replica then return 0 end
-- At maxmemory only the first of these is allowed as a first write.
if rcall('PEXPIRE', key, int(span)) == 1 then return 1 end
rcall('SET', key, replica, 'PX', int(span))
return 2
