-- resend: send one event again to one endpoint that it was owed to, due at once. One script, so that an event cannot
-- expire between being closed and being open.
--
-- ARGV   now (ms), call id, endpoint, 1 if that has the updates of a waybill in their order, else 0, id
-- Returns {1 queued, also in its line, 0 it is open, was never owed to the endpoint, or is not there}
-- Asked again with the same call id, it gives the same answer, unless the delivery was leased meanwhile.
local now, me, ep, ordered, id = tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4] == '1', ARGV[5]
if not (now and me and ep and id) then return redis.error_reply('ERR resend: wrong arguments') end

-- A write that Redis allows at maxmemory opens the way for those that it would not.
rcall('ZREM', P .. 'due', '')

local f = rcall('HMGET', P .. 'e:' .. id, ep, 'w', 'q')
if not f[1] then return {0} end
local s, _, _, token = parse_state(f[1])
if s ~= 'd' and s ~= 'x' and s ~= 'm' then return {token == me and (s == 'q' or s == 'w') and 1 or 0} end

reopen(ep, id, f[2], f[3], s)
if ordered and line_up_again(ep, id, f[2], me, now) then return {1} end
rcall('HSET', P .. 'e:' .. id, ep, pack_state('q', 0, 'p', me, now))
rcall('ZADD', P .. 'q:' .. ep, now, id)
touch(ep, now)
return {1}
