-- claim: give pending waybills that nobody has claimed to the caller, who then subscribes them at the provider. One
-- script, so that two replicas with the same waybill make one call.
--
-- ARGV   now (ms), token, time of a claim (ms), milliseconds between two calls, N times: entry
-- Returns {how long to wait before the call (ms),
--        N times {1 claimed or 0, state: p, l, f, or empty if there is no such entry, code, text, uid,
--                 when it is asked for again (ms), 0 if that is not put off,
--                 1 if the provider had no record of it when it was last asked}}
-- The wait keeps the calls of all replicas to their rate. There is one if something was claimed, or if no entry was
-- named. Asked again with the same token, it claims the same.
local now, token, span, interval = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
if not (now and token and span and interval) then return redis.error_reply('ERR claim: wrong arguments') end
-- A write that Redis allows at maxmemory opens the way for those that it would not.
rcall('ZREM', P .. 'due', '')

local out, mine = {0}, {}
for i = 5, #ARGV do
  local f = rcall('HMGET', P .. 's:' .. ARGV[i], 'u', 't', 'x', 'c', 'm', 'i', 'r')
  local open = f[1] == 'p' and (f[2] == token or (tonumber(f[3]) or 0) <= now)
  if open then mine[#mine + 1] = ARGV[i] end
  if f[1] ~= 'p' then rcall('ZREM', P .. 'todo', ' ' .. ARGV[i]) end
  local due = open and 0 or again_at(f[1], f[7], f[2], f[3], now)
  out[#out + 1] = {open and 1 or 0, f[1] or '', f[4] or '0', f[5] or '', f[6] or '', due, f[7] and 1 or 0}
end
if #mine > 0 or #ARGV == 4 then out[1] = reserve('*', now, interval, 0, math.huge) end
for _, entry in ipairs(mine) do
  local till = now + out[1] + span
  rcall('HSET', P .. 's:' .. entry, 't', token, 'x', till)
  rcall('ZADD', P .. 'todo', till, ' ' .. entry)
  rcall('ZREM', P .. 'norecord', entry)
end
return out
