-- unquarantine: take some of quarantine out. One script, so that what is counted is what is there.
--
-- ARGV   N times: id
-- Returns how many were there
if #ARGV == 0 then return redis.error_reply('ERR unquarantine: wrong arguments') end
local sizes, n = P .. 'quarantined', 0
for _, id in ipairs(ARGV) do
  local size = tonumber(rcall('HGET', sizes, id)) or 0
  rcall('HDEL', sizes, id)
  if size > 0 then rcall('HINCRBY', sizes, '+', int(-size)) end
  rcall('ZREM', P .. 'quarantine', id)
  n = n + rcall('DEL', P .. 'z:' .. id)
end
return n
