-- For how long records, events and entries of the ledger live.

-- kept is for how long a record lives on after its last open delivery was settled: as long as its events do, and as long as it
-- has to know duplicates, which is span. till is its field k.
local function kept(now, till, span)
  return max(span, (tonumber(till) or 0) - now)
end

-- last lets a key live at least for so long from now.
local function last(key, span)
  if rcall('PTTL', key) < span then rcall('PEXPIRE', key, span) end
end

-- retain lets an entry of the ledger live for so long from now, and with it the last event of the waybill, unless that is
-- open and so lives anyway.
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
  local id = rcall('HGET', P .. 's:' .. entry, 'e')
  if id and rcall('PTTL', P .. 'e:' .. id) > 0 then
    last(P .. 'e:' .. id, span)
    last(P .. 'b:' .. id, span)
  end
end

-- outlive is how long an event lives that is closed: as long as the entry of the ledger whose last event it is, or the span given.
local function outlive(entry, id, span)
  if not entry or rcall('HGET', P .. 's:' .. entry, 'e') ~= id then return span end
  return max(span, rcall('PTTL', P .. 's:' .. entry))
end
