-- park: stop leasing for an endpoint, or go on with it. One script, because an endpoint that is held back has another
-- entry in due, or none.
--
-- ARGV   now (ms), endpoint, "paused", or nothing to resume it: what has gathered is then let go at a growing pace, and
--        an endpoint that answered twice is trusted again; who does it; entry for the log of the endpoint, and how long
--        that lives if no config has the endpoint (ms)
-- Returns 1 if that changed anything, else 0. An endpoint that is paused already stays as it is
local now, ep, state, by, entry, life = tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
if not (now and ep and state and by and entry and life) then return redis.error_reply('ERR park: wrong arguments') end
rcall('ZREM', P .. 'due', '')

local was = control(ep)
if was and was.state == 'ramp' then was = nil end
if state == '' then rcall('HDEL', P .. 'twice', ep) end
if (was and was.state or '') == state then return 0 end

rcall('HDEL', P .. 'by', ep)
if state ~= '' then
  set_control(ep, {state = state, since = now})
  if by ~= '' then rcall('HSET', P .. 'by', ep, by) end
else
  local gathered = rcall('EXISTS', P .. 'q:' .. ep) == 1
  set_control(ep, gathered and {state = 'ramp', since = now, till = now, step = 0, width = 1, out = 0} or nil)
  rcall('HDEL', P .. 'fail', ep)
end
write_log(ep, entry, life)
flush()
retouch(ep)
return 1
