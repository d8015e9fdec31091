-- park: stop leasing for an endpoint, or go on with it. One script, because a parked endpoint has no entry in due.
--
-- ARGV   endpoint, state and since when ("paused 1700000000000"), or nothing to resume it
-- Returns 1 if that changed anything, else 0
local ep, state = ARGV[1], ARGV[2]
if not ep or not state then return redis.error_reply('ERR park: wrong arguments') end
rcall('ZREM', P .. 'due', '')

if state == '' then
  local was = rcall('HDEL', P .. 'ctl', ep)
  retouch(ep)
  return was
end
local was = rcall('HGET', P .. 'ctl', ep)
rcall('HSET', P .. 'ctl', ep, state)
rcall('ZREM', P .. 'due', ep)
return was and 0 or 1
