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

local f = rcall('HMGET', P .. 's:' .. entry, '@' .. tenant, 'e')
-- One that Redis has lost is none.
if f[1] and (f[2] or '') ~= id and not (id == '' and not read_event(f[2])) then return {0, 0, 0} end

local queued, due, listed = 0, 0, {}
local v = f[1] and read_event(id)
for i = 7, v and #ARGV or 0, 2 do
  local ep, ordered = ARGV[i], ARGV[i + 1] == '1'
  if not place_of(v, ep) then
    local rk, field = P .. v.record, 'h:' .. ep
    local heads = rcall('HMGET', rk, field, 'h')
    local before = ordered and read_event(heads[1] or heads[2] or '')
    local waits = before and before.id ~= id and in_order(state_of(before, ep))

    queued = queued + 1
    listed[#listed + 1] = '+' .. id .. ' ' .. code(ep)
    if open_of(v) == 0 then reopened(v) end
    set_state(v, add_state(v, ep), waits and 'w' or 'q', 0, 'c', '', now)
    if waits then
      rcall('RPUSH', P .. 'l:' .. ep .. ' ' .. v.record, id)
      rcall('HINCRBY', P .. 'wait', ep, 1)
    else
      if ordered then rcall('HSET', rk, field, id) end
      rcall('ZADD', P .. 'q:' .. ep, now, id)
      touch(ep, now)
      due = due + 1
    end
  end
end
if v then save(v) end

list(now, listed, retention)
rcall('ZREM', P .. 'todo', tenant .. ' ' .. entry)
return {1, queued, due}
