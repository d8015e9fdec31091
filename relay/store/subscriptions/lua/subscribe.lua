-- subscribe: write a tenant's subscriptions of waybills down. One script, so that an update that comes in between is
-- either owed to the tenant as a new one, or known here as one to catch up with.
--
-- ARGV   now (ms), time of a claim (ms), life of an entry (ms), and of one whose parcel was signed for (ms), tenant,
--        how many subscriptions a tenant may have, N times: entry
-- Returns N times {
--        state: l live, p pending, or x if the tenant has as many as it may, and nothing was written,
--        1 if the tenant had subscribed it and it was live, 1 if the tenant has to be caught up, uid,
--        when it is asked for again (ms) because the provider has no record of it yet, or 0; then code and text}
-- What is left to do is in todo from now on, so that another replica takes it over if the caller dies. Asked again,
-- nothing changes.
local now, claim = tonumber(ARGV[1]), tonumber(ARGV[2])
local ttl, signed_ttl, tenant, most = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6])
if not (now and claim and ttl and signed_ttl and tenant and most) then
  return redis.error_reply('ERR subscribe: wrong arguments')
end

-- latest finds the last event of a waybill, if it was not deleted; a new entry does not have it yet. It returns the
-- event, whether the parcel was signed for, and when its newest track was (ms), if that is known.
local function latest(brand, waybill)
  local all, seen, newest = rcall('HGETALL', P .. 'w:' .. waybill), {}, {at = 0}
  for i = 1, #all, 2 do
    local id = string.match(all[i], '^i:(.+)$')
    if all[i] == 's:' or all[i] == 's:' .. brand then
      local at, seq = read6(all[i + 1], 1), read6(all[i + 1], 7)
      if at > newest.at or (at == newest.at and at > 0 and seq > newest.seq) then newest = {at = at, seq = seq} end
    elseif id then
      local seq, n = string.match(all[i + 1], '^(%d+) ?(%d*)$')
      seen[#seen + 1] = {seq = tonumber(seq), id = n ~= '' and id .. '-' .. n or id}
    end
  end

  -- The one with the newest track comes first, and then the one that came last.
  table.sort(seen, function(a, b)
    if (a.seq == newest.seq) ~= (b.seq == newest.seq) then return a.seq == newest.seq end
    return a.seq > b.seq
  end)
  for _, of in ipairs(seen) do
    local v, header = header_of(of.id)
    if header and header.type == 'express_sub_msg' and (header.cp_code == nil or header.cp_code == brand) then
      return v, header.status == 'signed', of.seq == newest.seq and newest.at or nil
    end
  end
end

-- write writes one subscription down, and returns its row.
local function write(entry)
  local key = P .. 's:' .. entry
  local f = rcall('HMGET', key, 'u', '@' .. tenant, 'e', 'z', 'i', 'r', 't', 'x', 'c', 'm')
  local state, since, event, signed = f[1], f[2], f[3], f[4]
  if not state then
    local brand, waybill = string.match(entry, '^(%S+) (.+)$')
    local v, arrived, tracked = latest(brand or '', waybill or '')
    if v then
      event = v.id
      rcall('HSET', key, 'e', v.id)
      if tracked then rcall('HSET', key, 'n', int(tracked)) end
      set_brand(v, brand)
      save(v)
      if arrived then
        signed = 1
        rcall('HSET', key, 'z', 1)
      end
    end
  end

  if state ~= 'l' and state ~= 'p' then
    rcall('HSET', key, 'u', 'p')
    rcall('HDEL', key, 'c', 'm', 'i')
    stop_asking(entry)
    rcall('ZADD', P .. 'todo', now + claim, ' ' .. entry)
  end
  rcall('HSETNX', key, '@' .. tenant, now)
  retain(entry, now, signed and signed_ttl or ttl)
  local owed = rcall('ZSCORE', P .. 'todo', tenant .. ' ' .. entry)
  if event and not since then
    rcall('ZADD', P .. 'todo', now + claim, tenant .. ' ' .. entry)
    owed = true
  end
  local due = again_at(state, f[6], f[7], f[8], now)
  return {state == 'l' and 'l' or 'p', state == 'l' and since and 1 or 0, owed and 1 or 0,
    (state == 'l' or due > 0) and f[5] or '', due, due > 0 and f[9] or '0', due > 0 and f[10] or ''}
end

rcall('ZREMRANGEBYSCORE', P .. 't:' .. tenant, '-inf', now)
local have, out = rcall('ZCARD', P .. 't:' .. tenant), {}
for i = 7, #ARGV do
  local had = rcall('ZSCORE', P .. 't:' .. tenant, ARGV[i])
  if had or have < most then
    if not had then have = have + 1 end
    out[#out + 1] = write(ARGV[i])
  else
    out[#out + 1] = {'x', 0, 0, '', 0, '0', ''}
  end
end
return out
