-- unwish: take a tenant's wish back. The entry stays, for the provider goes on pushing: a new wish costs no new call.
--
-- ARGV   tenant, entry
-- Returns {1 if there was such a wish, else 0}
local tenant, entry = ARGV[1], ARGV[2]
if not (tenant and entry) then return redis.error_reply('ERR unwish: wrong arguments') end
rcall('ZREM', P .. 'todo', tenant .. ' ' .. entry)
rcall('ZREM', P .. 't:' .. tenant, entry)
return {rcall('HDEL', P .. 's:' .. entry, '@' .. tenant)}
