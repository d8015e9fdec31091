-- For how long records and entries of the ledger live.

-- kept returns for how long a record lives on after its last open delivery was settled: for the span given, in which it
-- has to know duplicates, and for as long as its events. till is its field k.
local function kept(now, till, span)
  return max(span, (tonumber(till) or 0) - now)
end

-- last lets a key live for at least the span from now.
local function last(key, span)
  if rcall('PTTL', key) < span then rcall('PEXPIRE', key, span) end
end

-- retain lets an entry of the ledger live for the span from now. As long as it lives, trim leaves the last event of the
-- waybill alone.
local function retain(entry, now, span)
  rcall('PEXPIRE', P .. 's:' .. entry, span)
  local fields = rcall('HKEYS', P .. 's:' .. entry)
  for _, field in ipairs(fields) do
    local tenant = string.match(field, '^@(.*)$')
    if tenant then
      rcall('ZADD', P .. 't:' .. tenant, now + span, entry)
      rcall('ZADD', P .. 'ledger', 'GT', now + span, tenant)
      last(P .. 't:' .. tenant, span)
    end
  end
  last(P .. 'ledger', span)
end

-- A waybill of which the provider has no record yet is pending (u is p). It is in norecord until it is asked for again,
-- and then it is claimed like any other. Its field r is "<since (ms)> <calls> <answers> <vain>": how often it was asked
-- for, how many answers were that there is no record, and how many calls since the last of these said nothing of it.
-- Until it is claimed, it has no t, and x says when it is due.

-- again_at returns when such a waybill is asked for again (ms), by its fields; 0: it is due, or it is no such waybill.
local function again_at(u, r, t, x, now)
  x = tonumber(x) or 0
  return u == 'p' and r and not t and x > now and x or 0
end

-- stop_asking ends that: the provider knows the waybill, or is not asked for it any more.
local function stop_asking(entry)
  rcall('HDEL', P .. 's:' .. entry, 'r', 't', 'x')
  rcall('ZREM', P .. 'norecord', entry)
  rcall('ZREM', P .. 'todo', ' ' .. entry)
end

-- wanted says whether any tenant has subscribed an entry.
local function wanted(entry)
  for _, field in ipairs(rcall('HKEYS', P .. 's:' .. entry)) do
    if string.sub(field, 1, 1) == '@' then return true end
  end
  return false
end
