-- lease: hand deliveries that are due to the caller, so that no other replica takes them before the lease lapses.
--
-- ARGV   now (ms), call id, most bytes of bodies, number of endpoints E,
--        E times: name, lease (ms), most deliveries wanted, also if parked (1 or 0),
--                 open since before (ms, 0: any), from due (ms), and of those due then, how many to pass over
-- Returns {E times how many were looked at, of which the last was due (ms), and how many due then were left}, {rows}} as
--        {{looked, due, left…}, {row…}}, the rows as row() of lib.lua gives them. One call gives at least one row, and stops
--        when their bodies are too many bytes: then as many were looked at as were wanted.
-- Asked again with the same call id, it gives the same answer, less the rows whose leases are no longer this call's: key
-- r:<call id> holds the counts, and endpoint and id of each row, for a minute.
local now, me, most_bytes, ne = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
if not (now and most_bytes and ne) or #ARGV ~= 4 + 7 * ne then return redis.error_reply('ERR lease: wrong arguments') end

-- A write that Redis allows at maxmemory opens the way for those that it would not.
rcall('ZREM', P .. 'due', '')

local counts, rows, names = {}, {}, {}
local given = rcall('LRANGE', P .. 'r:' .. me, 0, -1)
if #given > 0 then
  for i = 1, 3 * ne do counts[i] = tonumber(given[i]) end
  for i = 3 * ne + 1, #given, 2 do
    local ep, id = given[i], given[i + 1]
    local f = rcall('HMGET', P .. 'e:' .. id, ep, 'q', 't')
    if f[1] then
      local s, attempts, reason, token, text = parse_state(f[1])
      if s == 'l' and token == me then
        rows[#rows + 1] = row(ep, id, attempts, reason, f[2], f[3], me, text)
      end
    end
  end
  return {counts, rows}
end

local bytes = 0
local function take(ep, span, most, force, before, from, skip)
  if bytes >= most_bytes then return most, from, skip end
  if parked(ep) and not force then return 0, from, skip end
  local ids = rcall('ZRANGEBYSCORE', P .. 'q:' .. ep, from > 0 and from or '-inf', now, 'WITHSCORES', 'LIMIT', skip, most)
  local due, left = from, skip
  for i = 1, #ids, 2 do
    local id = ids[i]
    if tonumber(ids[i + 1]) ~= due then due, left = tonumber(ids[i + 1]), 0 end
    local f = rcall('HMGET', P .. 'e:' .. id, ep, 'q', 't')
    local since = 0
    if f[1] and before > 0 then
      local _, _, reason, _, text = parse_state(f[1])
      since = open_since(reason, text, f[3])
    end
    if not f[1] then
      rcall('ZREM', P .. 'q:' .. ep, id)
    elseif since <= before then
      local r = lease(ep, id, f[1], f[2], f[3], me, now + span)
      rows[#rows + 1], names[#names + 1], names[#names + 2] = r, ep, id
      bytes = bytes + #r[#r]
      if bytes >= most_bytes then return most, due, left end
    else
      left = left + 1
    end
  end
  return #ids / 2, due, left
end

for i = 1, ne do
  local at = 5 + 7 * (i - 1)
  local ep = ARGV[at]
  local looked, due, left = take(ep, tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), ARGV[at + 3] == '1',
    tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5]), tonumber(ARGV[at + 6]))
  counts[#counts + 1], counts[#counts + 2], counts[#counts + 3] = looked, due, left
  retouch(ep)
end
if #names > 0 then
  for _, list in ipairs({counts, names}) do
    for from = 1, #list, 100 do rcall('RPUSH', P .. 'r:' .. me, unpack(list, from, math.min(from + 99, #list))) end
  end
  rcall('PEXPIRE', P .. 'r:' .. me, 60000)
end
return {counts, rows}
