-- claimreplay: let a replica work off a replay, unless another one does, or the tenant has as many under way as it may.
-- One script, so that all replicas count together.
--
-- ARGV   replay, who wants to work it off, for how long at first (ms),
--        how many of the tenant may be under way (0: any),
--        N times: another open replay of the tenant
-- Returns 1 if the caller may work it off, else 0
local replay, holder, span, most = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
if not (replay and holder and span and most) then return redis.error_reply('ERR claimreplay: wrong arguments') end
rcall('ZREM', P .. 'due', '')

if rcall('HGET', P .. 'y:' .. replay, 'state') ~= 'running' then return 0 end
local running = 0
for i = 5, #ARGV do running = running + rcall('EXISTS', P .. 'yl:' .. ARGV[i]) end
if most > 0 and running >= most then return 0 end
return rcall('SET', P .. 'yl:' .. replay, holder, 'PX', span, 'NX') and 1 or 0
