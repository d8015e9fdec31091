-- lease: hand deliveries that are due to the caller, so that no other replica takes them before the lease lapses.
--
-- ARGV   now (ms), call id, number of endpoints E,
--        E times: name, lease (ms), most deliveries wanted, accepted before (ms, 0: any), also if parked (1 or 0), offset
-- Returns {E times {how many were looked at}, rows as lease() of lib.lua gives them…} as {{looked…}, {rows…}}
-- Asked again with the same call id, it gives the same answer, less the rows whose leases are no longer this call's: key
-- r:<call id> holds the counts, and endpoint and id of each row, for a minute.
local now, me, ne = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])
if not (now and ne) or #ARGV ~= 3 + 6 * ne then return redis.error_reply('ERR lease: wrong arguments') end

-- A write that Redis allows at maxmemory opens the way for those that it would not.
rcall('ZREM', P .. 'due', '')

local looked, rows, names = {}, {}, {}
local given = rcall('LRANGE', P .. 'r:' .. me, 0, -1)
if #given > 0 then
  for i = 1, ne do looked[i] = tonumber(given[i]) end
  for i = ne + 1, #given, 2 do
    local ep, id = given[i], given[i + 1]
    local f = rcall('HMGET', P .. 'e:' .. id, ep, 'q', 't')
    if f[1] then
      local s, attempts, reason, token = parse_state(f[1])
      if s == 'l' and token == me then
        rows[#rows + 1] = {ep, id, attempts, reason, f[2], f[3], me, rcall('GET', P .. 'b:' .. id) or ''}
      end
    end
  end
  return {looked, rows}
end

for i = 1, ne do
  local at = 4 + 6 * (i - 1)
  local ep, span, most, before, force, offset = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]),
    tonumber(ARGV[at + 3]), ARGV[at + 4] == '1', tonumber(ARGV[at + 5])
  looked[i] = 0
  if force or not parked(ep) then
    local ids = rcall('ZRANGEBYSCORE', P .. 'q:' .. ep, '-inf', now, 'LIMIT', offset, most)
    looked[i] = #ids
    for _, id in ipairs(ids) do
      local f = rcall('HMGET', P .. 'e:' .. id, ep, 'q', 't')
      if not f[1] then
        rcall('ZREM', P .. 'q:' .. ep, id)
      elseif before == 0 or tonumber(f[3]) <= before then
        rows[#rows + 1] = lease(ep, id, f[1], f[2], f[3], me, now + span)
        names[#names + 1] = ep
        names[#names + 1] = id
      end
    end
    retouch(ep)
  end
end
if #names > 0 then
  for _, list in ipairs({looked, names}) do
    for from = 1, #list, 100 do rcall('RPUSH', P .. 'r:' .. me, unpack(list, from, math.min(from + 99, #list))) end
  end
  rcall('PEXPIRE', P .. 'r:' .. me, 60000)
end
return {looked, rows}
