-- settings: write down what the settings of endpoints are, and what a config has changed of them into their logs. One
-- script, because several replicas see the same change, and the first to come has to be the only one to tell it.
--
-- ARGV   now (ms), how long the log of an endpoint lives that no config has (ms),
--        N times: endpoint, its settings as they were written down before (empty: they were not), its settings (empty:
--        no config has it any more), entry for its log (empty: none)
-- Returns {1}. What is not as it was before is left as it is: another replica has written it, or it is asked again
local life = tonumber(ARGV[2])
if not life or #ARGV % 4 ~= 2 then return redis.error_reply('ERR settings: wrong arguments') end
rcall('ZREM', P .. 'due', '')

for i = 3, #ARGV, 4 do
  local ep, before, after, entry = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  if before ~= after and (rcall('HGET', P .. 'settings', ep) or '') == before then
    if after == '' then
      rcall('HDEL', P .. 'settings', ep)
    else
      rcall('HSET', P .. 'settings', ep, after)
    end
    if entry ~= '' then write_log(ep, entry, life) end
  end
end
return {1}
