-- watch: say what tenants are told of their parcels. One script, so that nobody reads a half of it.
--
-- ARGV   1 if it replaces what another replica has said, else 0, a name for all of this, the shortest of the spans
--        (ms, 0: there are none), N times: tenant, its text (see lib/watch.lua)
-- Returns {the name of what is said, 1 if not every entry of silent was looked at by it, else 0}
local force, name, shortest = ARGV[1] == '1', ARGV[2], tonumber(ARGV[3])
if not (name and shortest) or #ARGV % 2 ~= 1 then return redis.error_reply('ERR watch: wrong arguments') end
rcall('ZREM', P .. 'due', '')

local key = P .. 'watch'
local f = rcall('HMGET', key, ' settings', ' listened')
local said, listened = f[1], f[2]
if not said or (force and said ~= name) then
  rcall('DEL', key)
  rcall('HSET', key, ' settings', name)
  if shortest > 0 then rcall('HSET', key, ' least', int(shortest)) end
  local texts = {}
  for i = 4, #ARGV do texts[#texts + 1] = ARGV[i] end
  hset(key, texts)
  said, listened = name, nil
end
return {said, said == listened and 0 or 1}
