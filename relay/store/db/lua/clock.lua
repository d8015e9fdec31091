-- clock: tell the time of the store: that of Redis, and an offset that keeps it from jumping when the clock of Redis is
-- set, or another server with another clock takes its place. One script, because the offset belongs to a clock at one
-- moment.
--
-- ARGV   moves that the caller knows,
--        step: how far the store's time fell behind the caller's own at the last call (ms, 0: it did not)
-- Returns {time (µs), moves}
-- The step counts only if nobody else has moved the offset since: asked again, or late, it does no harm. An offset goes
-- back to 0 by a twentieth of the time that passes, so that no lease is much shorter or longer than it was given.
local known, step = tonumber(ARGV[1]), tonumber(ARGV[2])
if not (known and step) then return redis.error_reply('ERR clock: wrong arguments') end
rcall('ZREM', P .. 'due', '')

local t = rcall('TIME')
local now = tonumber(t[1]) * 1000 + tonumber(t[2]) / 1000
local f = rcall('HMGET', P .. 'clock', 'offset', 'moves', 'last')
local offset, moves, last = tonumber(f[1] or 0), tonumber(f[2] or 0), tonumber(f[3] or 0)
if step ~= 0 and known == moves then
  offset, moves = offset + step, moves + 1
elseif now + offset < last - 2000 then -- the clock was set back between two calls
  offset, moves = last - math.floor(now), moves + 1
elseif offset ~= 0 and last > 0 then
  local slew = min(math.abs(offset), math.floor(max(0, now + offset - last) / 20))
  offset = offset > 0 and offset - slew or offset + slew
end
rcall('HSET', P .. 'clock', 'offset', offset, 'moves', moves, 'last', math.floor(now + offset))
rcall('PEXPIRE', P .. 'clock', 86400000)
return {math.floor((now + offset) * 1000), moves}
