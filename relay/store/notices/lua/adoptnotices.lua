-- adoptnotices: add what a replica has told by itself while it could not reach Redis, so that one replica tells when it
-- is over. One script, so that what several replicas have told is one notice, and none of them opens one again that was
-- over since.
--
-- ARGV   how many notices there may be, how long they are kept without a change (ms),
--        N times: notice, its record, when it was told (ms)
-- Returns how many were added. The replica that tells then reads them, because none is that one any more.
-- Asked again, it adds nothing.
local most, life = tonumber(ARGV[1]), tonumber(ARGV[2])
local FIRST = 3
if not (most and life) or #ARGV < FIRST or (#ARGV - FIRST + 1) % 3 ~= 0 then
  return redis.error_reply('ERR adoptnotices: wrong arguments')
end
rcall('ZREM', P .. 'due', '')

local all, added = P .. 'notices', 0
for i = FIRST, #ARGV, 3 do
  local notice, record, told = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
  local known = rcall('HGET', all, notice)
  local open, over = false, 0
  if known then
    open, over = string.match(known, '^(%d) %d+ (%d+)')
    open, over = open == '1', tonumber(over) or 0
  end
  if not open and told > over and (known or rcall('HLEN', all) < most) then
    rcall('HSET', all, notice, record)
    added = added + 1
  end
end
if added > 0 then
  rcall('PEXPIRE', all, int(life))
  rcall('DEL', P .. 'only:' .. 'notices')
end
return added
