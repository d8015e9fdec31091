-- import: put exported subscriptions back. One script, so that nobody sees a subscription without its entry.
--
-- ARGV   now (ms), N times: entry, tenant, since (ms), time to live (ms), state (l, p, f), code, text, uid
-- Returns {how many subscriptions were new}
-- What the ledger knows of a waybill already is not changed; it may live longer.
local now = tonumber(ARGV[1])
if not now or #ARGV % 8 ~= 1 then return redis.error_reply('ERR import: wrong arguments') end

local new = 0
for i = 2, #ARGV, 8 do
  local entry, key, state = ARGV[i], P .. 's:' .. ARGV[i], ARGV[i + 4]
  local known = rcall('HGET', key, 'u')
  if not known or (known ~= 'l' and state == 'l') then
    rcall('HSET', key, 'u', state, 'c', ARGV[i + 5], 'm', ARGV[i + 6], 'i', ARGV[i + 7])
    if not known then rcall('HSET', key, 'w', '-') end -- see lib/watch.lua
    stop_asking(entry)
    if state == 'p' then rcall('ZADD', P .. 'todo', now, ' ' .. entry) end
  end
  new = new + rcall('HSETNX', key, '@' .. ARGV[i + 1], ARGV[i + 2])
  retain(entry, now, max(rcall('PTTL', key), tonumber(ARGV[i + 3])))
end
return {new}
