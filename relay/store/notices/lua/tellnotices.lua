-- tellnotices: write down what people were told. One script, so that a replica that another one has taken over from
-- changes nothing.
--
-- ARGV   replica, how many notices there may be, how long they are kept without a change (ms),
--        N times: notice, its record (empty: it is forgotten)
-- Returns 1; 0: the replica is not the one that tells any more, and nothing was written
-- Asked again, it does the same.
local replica, most, life = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local FIRST = 4
if not (replica and most and life) or #ARGV < FIRST or (#ARGV - FIRST) % 2 == 0 then
  return redis.error_reply('ERR tellnotices: wrong arguments')
end
rcall('ZREM', P .. 'due', '')

if rcall('GET', P .. 'only:' .. 'notices') ~= replica then return 0 end
local all = P .. 'notices'
for i = FIRST, #ARGV, 2 do
  local notice, record = ARGV[i], ARGV[i + 1]
  if record == '' then
    rcall('HDEL', all, notice)
  elseif rcall('HEXISTS', all, notice) == 1 or rcall('HLEN', all) < most then
    rcall('HSET', all, notice, record)
  end
end
rcall('PEXPIRE', all, int(life))
return 1
