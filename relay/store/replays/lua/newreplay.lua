-- newreplay: write a replay down, for any replica to work off. One script, so that its bounds hold however many are
-- asked for at once.
--
-- ARGV   now (ms), replay, tenant, its request, how long it is listed (ms), most of the tenant that may be open,
--        most of all tenants that may be open (0: any), most of the tenant that are listed
-- Returns 1 written, 0 too many are open
local now, replay, tenant, filter, life = tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local most, all, listed = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
if not (now and replay and tenant and filter and life and most and all and listed) then
  return redis.error_reply('ERR newreplay: wrong arguments')
end
rcall('ZREM', P .. 'due', '')

local own = P .. 'yt:' .. tenant
local lists = {own, P .. 'replays', P .. 'yopen'}
for _, list_ in ipairs(lists) do rcall('ZREMRANGEBYSCORE', list_, '-inf', now - life) end
local open, ended = 0, {}
for _, r in ipairs(rcall('ZRANGE', own, 0, -1)) do
  if rcall('HGET', P .. 'y:' .. r, 'state') == 'running' then open = open + 1 else ended[#ended + 1] = r end
end
if open >= most or (all > 0 and rcall('ZCARD', P .. 'yopen') >= all) then return 0 end

-- The oldest that have ended make room.
for i = 1, open + #ended + 1 - listed do
  if ended[i] then
    rcall('DEL', P .. 'y:' .. ended[i])
    rcall('ZREM', own, ended[i])
    rcall('ZREM', P .. 'replays', ended[i])
  end
end
rcall('HSET', P .. 'y:' .. replay, 'tenant', tenant, 'filter', filter, 'state', 'running', 'created', now)
rcall('PEXPIRE', P .. 'y:' .. replay, life)
for _, list_ in ipairs(lists) do
  rcall('ZADD', list_, now, replay)
  rcall('PEXPIRE', list_, life)
end
return 1
