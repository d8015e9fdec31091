-- note: write an entry into the log of an endpoint. One script, because it trims the log, too.
--
-- ARGV   now (ms), endpoint, how long the log of an endpoint lives that no config has (ms), entry
-- Returns {1}. Asked again, it finds the entry among the latest ten, and changes nothing
local ep, life, entry = ARGV[2], tonumber(ARGV[3]), ARGV[4]
if not (ep and life and entry) then return redis.error_reply('ERR note: wrong arguments') end
rcall('ZREM', P .. 'due', '')

for _, before in ipairs(rcall('LRANGE', P .. 'h:' .. ep, 0, 9)) do
  if before == entry then return {1} end
end
write_log(ep, entry, life)
return {1}
