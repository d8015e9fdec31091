-- unsubscribe: end a tenant's subscription. One script, so that a subscription that comes in between keeps its entry.
--
-- The entry stays, as the provider goes on pushing: a new subscription costs no new call. An entry without any tenant
-- stays for a day, so that nobody can fill the ledger with subscriptions that end at once.
--
-- ARGV   tenant, entry
-- Returns {1 if there was such a subscription, else 0}
local tenant, entry = ARGV[1], ARGV[2]
if not (tenant and entry) then return redis.error_reply('ERR unsubscribe: wrong arguments') end
rcall('ZREM', P .. 'todo', tenant .. ' ' .. entry)
rcall('ZREM', P .. 't:' .. tenant, entry)
local key, day = P .. 's:' .. entry, 24 * 3600 * 1000
local was = rcall('HDEL', key, '@' .. tenant)
if was == 1 and rcall('PTTL', key) > day then
  local wanted = false
  for _, field in ipairs(rcall('HKEYS', key)) do wanted = wanted or string.sub(field, 1, 1) == '@' end
  if not wanted then rcall('PEXPIRE', key, day) end
end
return {was}
