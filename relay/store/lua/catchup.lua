-- catchup: queue or line up the last event of a waybill for a tenant that subscribed it later. One script, so that it
-- never comes after a newer one.
--
-- ARGV   now (ms), call id, tenant, entry, id of the event that the caller takes for the last one (empty: none),
--        retention (ms),
--        N times: endpoint that it is owed to, ordered (1 or 0)
-- Returns {1 done, or 0 if another event is the last one by now, deliveries that were queued, of these due at once}
-- An endpoint that has a delivery of the event already gets no other. Asked again, by whichever call, nothing changes.
local now, me, tenant, entry = tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4]
local id, retention = ARGV[5], tonumber(ARGV[6])
if not (now and me and tenant and entry and id and retention) or #ARGV % 2 ~= 0 then
  return redis.error_reply('ERR catchup: wrong arguments')
end

-- A write that Redis allows at maxmemory opens the way for those that it would not.
rcall('ZREM', P .. 'due', '')

local key, e = P .. 's:' .. entry, P .. 'e:' .. id
local f = rcall('HMGET', key, '@' .. tenant, 'e')
if f[1] and (f[2] or '') ~= id then return {0, 0, 0} end

local queued, due, listed = 0, 0, {}
local ev = rcall('HMGET', e, 'w', 'q')
for i = 7, #ARGV, 2 do
  local ep, ordered = ARGV[i], ARGV[i + 1] == '1'
  if f[1] and ev[1] and rcall('HEXISTS', e, ep) == 0 then
    local rk = P .. ev[1]
    local field = 'h:' .. ep
    local heads = rcall('HMGET', rk, field, 'h')
    local head = heads[1] or heads[2]

    queued = queued + 1
    listed[#listed + 1] = '+' .. id .. ' ' .. code(ep)
    if ordered and head and in_order(rcall('HGET', P .. 'e:' .. head, ep)) then
      rcall('HSET', e, ep, pack_state('w', 0, 'c', '', now))
      rcall('RPUSH', P .. 'l:' .. ep .. ' ' .. ev[1], id)
      rcall('HINCRBY', P .. 'wait', ep, 1)
    else
      if ordered then rcall('HSET', rk, field, id) end
      rcall('HSET', e, ep, pack_state('q', 0, 'c', '', now))
      rcall('ZADD', P .. 'q:' .. ep, now, id)
      touch(ep, now)
      due = due + 1
    end

    local open = rcall('HINCRBY', e, 'o', 1)
    rcall('PERSIST', e)
    rcall('PERSIST', P .. 'b:' .. id)
    -- The record may have expired since, and with it the sequence.
    local seq = max(tonumber(rcall('HGET', rk, 'q')) or 0, tonumber(ev[2]))
    rcall('HSET', rk, 'q', string.format('%.0f', seq))
    if open == 1 then rcall('HINCRBY', rk, 'o', 1) end
    rcall('PERSIST', rk)
  end
end

list(now, listed, retention)
rcall('ZREM', P .. 'todo', tenant .. ' ' .. entry)
return {1, queued, due}
