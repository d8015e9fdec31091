-- unsubscribe: end a tenant's subscription. One script, so that a subscription that comes in between keeps its entry.
--
-- The entry stays, as the provider goes on pushing: a new subscription costs no new call. An entry without any tenant
-- stays for a day, so that nobody can fill the ledger with subscriptions that end at once. One of which the provider
-- has no record yet is not asked for again.
--
-- ARGV   tenant, entry
-- Returns {1 if there was such a subscription, else 0}
local tenant, entry = ARGV[1], ARGV[2]
if not (tenant and entry) then return redis.error_reply('ERR unsubscribe: wrong arguments') end
rcall('ZREM', P .. 'todo', tenant .. ' ' .. entry)
rcall('ZREM', P .. 't:' .. tenant, entry)
local key, day = P .. 's:' .. entry, 24 * 3600 * 1000
local was = rcall('HDEL', key, '@' .. tenant)
if was == 1 and not wanted(entry) then
  if rcall('PTTL', key) > day then rcall('PEXPIRE', key, day) end
  local f = rcall('HMGET', key, 'u', 'r', 't')
  if f[1] == 'p' and f[2] and not f[3] then
    rcall('HSET', key, 'u', 'f')
    stop_asking(entry)
  end
end
return {was}
