-- resend: send one event again to one endpoint that it was owed to, due at once. One script, so that an event cannot be
-- deleted between being closed and being open.
--
-- ARGV   now (ms), call id, endpoint, 1 if that has the updates of a waybill in their order, else 0, id
-- Returns {1 queued, also in its line, 0 it is open, was never owed to the endpoint, or is not there}
-- Asked again with the same call id, it gives the same answer, unless the delivery was leased meanwhile.
local now, me, ep, ordered, id = tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4] == '1', ARGV[5]
if not (now and me and ep and id) then return redis.error_reply('ERR resend: wrong arguments') end

-- A write that Redis allows at maxmemory opens the way for those that it would not.
rcall('ZREM', P .. 'due', '')

local v = read_event(id)
local d = v and state_of(v, ep)
if not d then return {0} end
if OPEN[d.s] then return {d.token == me and (d.s == 'q' or d.s == 'w') and 1 or 0} end

if open_again(ep, v, me, ordered, now) then
  save(v)
  rcall('ZADD', P .. 'q:' .. ep, now, id)
  touch(ep, now)
end
return {1}
