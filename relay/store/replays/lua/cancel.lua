-- cancel: end a replay. One script, so that it is not cancelled when its last page has just gone.
--
-- ARGV   now (ms), replay, why the relay ends it (empty: a person does)
-- Returns 1 if it was running, else 0
local now, replay, why = tonumber(ARGV[1]), ARGV[2], ARGV[3]
if not (now and replay and why) then return redis.error_reply('ERR cancel: wrong arguments') end
rcall('ZREM', P .. 'due', '')
if rcall('HGET', P .. 'y:' .. replay, 'state') ~= 'running' then return 0 end
rcall('HSET', P .. 'y:' .. replay, 'state', 'cancelled', 'ended', now, 'why', why)
rcall('ZREM', P .. 'yopen', replay)
rcall('DEL', P .. 'yl:' .. replay)
return 1
