-- admit: let a tenant's request in, or say how long it has to wait. One script, so that a refused request uses up
-- nothing.
--
-- ARGV   now (ms), limiter (see base.lua), ms between two requests (0: any), requests that may come at once, waybills,
--        waybills allowed a day (0: any), time to the end of the day (ms)
-- Returns {0 in, 1 too many requests, 2 too many waybills for the day, time to wait (ms)}
local now, limiter, interval, burst = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local n, quota, left = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
if not (now and limiter and interval and burst and n and quota and left) then
  return redis.error_reply('ERR admit: wrong arguments')
end

local day = P .. 'd:' .. limiter
local used = quota > 0 and tonumber(rcall('GET', day)) or 0
if quota > 0 and n > 0 and used + n > quota then return {2, left} end
if interval > 0 then
  local wait, ok = reserve(limiter, now, interval, interval * (burst - 1), 0)
  if not ok then return {1, wait} end
end
if quota > 0 and n > 0 then rcall('SET', day, used + n, 'PX', left) end
return {0, 0}
