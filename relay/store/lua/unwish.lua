-- unwish: take a tenant's wish back. The entry stays, for the provider goes on pushing: a new wish costs no new call. One that no tenant
-- wants any more stays for a day, so that taking wishes back is no way to fill the ledger.
--
-- ARGV   tenant, entry
-- Returns {1 if there was such a wish, else 0}
local tenant, entry = ARGV[1], ARGV[2]
if not (tenant and entry) then return redis.error_reply('ERR unwish: wrong arguments') end
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
