-- What names events. Each of these functions moves one key; it returns a number, the bytes that it has moved, or true
-- if something of it is left.

-- move_unlisted moves an event that is not in the list of all, and lists it: what is not listed is never deleted. It
-- goes to the end of the chunk that began before it.
local function move_unlisted(id, now)
  local e = move_event(id, now)
  if not e then return nil end
  local codes = {}
  for i, ep in ipairs(e.names) do codes[i] = code(ep) end
  codes = table.concat(codes)
  local chunk = rcall('ZREVRANGEBYSCORE', P .. 'log', int(e.accepted), '-inf', 'LIMIT', 0, 1)[1] or int(e.accepted)
  rcall('RPUSH', P .. 'v:' .. chunk, e.id .. ' ' .. codes)
  listed(chunk, codes, now)
  return e.size
end

-- heads_of is which event is the head of a record at each endpoint, by the fields of the version before. A record that
-- has a head of its own there keeps that, as long as it is open.
local function heads_of(heads, has, holds)
  local set, wanted = {}, {}
  for field, id in pairs(heads) do
    local v = read_event(id)
    for ep in pairs(v and index_of(v) or {}) do
      local own = field == 'h:' .. ep
      if (own or (field == 'h' and not heads['h:' .. ep])) and holds(state_of(v, ep)) then wanted[ep] = id end
    end
  end
  for ep, id in pairs(wanted) do
    local present = has['h:' .. ep] or has.h
    local v = present and read_event(present)
    if not (v and holds(state_of(v, ep))) then set[#set + 1], set[#set + 2] = 'h:' .. ep, id end
  end
  return set
end

-- merge_open returns how many open events a record counts from now on, with those that the version before counted.
local function merge_open(has, open)
  local alone = has.h and read_event(has.h)
  if alone and open_of(alone) > 0 and not alone.more then
    open = open + 1
    set_more(alone)
    save(alone)
  end
  return open + tonumber(has.o or 0)
end

-- move_record moves what is known of a waybill, or the heads of what is sent again of it.
local function move_record(name, family)
  local old, key = O .. name, P .. (family == 'yh' and name or short_record(name))
  local all, there = rcall('HGETALL', old), rcall('HGETALL', key)
  if #all == 0 then return nil end
  local has, set, heads, tracks, status, open = {}, {}, {}, {}, {}, 0
  for i = 1, #there, 2 do has[there[i]] = there[i + 1] end
  local function put(field, value)
    if not has[field] then set[#set + 1], set[#set + 2] = field, value end
  end

  for i = 1, #all, 2 do
    local field, value = all[i], all[i + 1]
    local kind, rest = string.match(field, '^(%a):?(.*)$')
    if field == 'h' or (kind == 'h' and rest ~= '') then
      heads[field] = short(value)
    elseif field == 'o' then
      open = tonumber(value)
    elseif (field == 'q' or field == 'k' or field == 'p') and has[field] then
      if tonumber(value) > tonumber(has[field]) then set[#set + 1], set[#set + 2] = field, value end
    elseif kind == 'i' then
      put('i:' .. short(rest), value)
    elseif sub(field, 1, 2) == 'n:' then
      tracks[rest] = value
    elseif sub(field, 1, 2) == 's:' then
      status[rest] = value
    else
      put(field, value)
    end
  end

  for brand, value in pairs(tracks) do
    local at, sequence = string.match(value, '^(%d+) (%d+)$')
    put('s:' .. brand, bytes6(tonumber(at)) .. bytes6(tonumber(sequence)) .. (status[brand] or ''))
    status[brand] = nil
  end
  for brand, value in pairs(status) do put('s:' .. brand, NOBODY .. value) end

  local fresh = #there == 0
  if fresh then
    for field, id in pairs(heads) do put(field, id) end
  else
    local more = heads_of(heads, has, family == 'yh' and function(d) return d and OPEN[d.s] end or in_order)
    for i = 1, #more do set[#set + 1] = more[i] end
  end
  if open > 0 then set[#set + 1], set[#set + 2] = 'o', int(fresh and open or merge_open(has, open)) end
  hset(key, set)
  live(old, key, fresh)
  rcall('UNLINK', old)
  if family ~= 'yh' then counts.records = counts.records + 1 end
  return 50 * #all
end

-- move_entry moves an entry of the ledger.
local function move_entry(name)
  local old, key = O .. name, P .. name
  local event = rcall('HGET', old, 'e')
  if event then rcall('HSET', old, 'e', #event >= 43 and short(event) or event) end
  if rcall('EXISTS', key) == 0 then
    if rcall('EXISTS', old) == 1 then rcall('RENAMENX', old, key) end
  else
    local all = rcall('HGETALL', old)
    for i = 1, #all, 2 do rcall('HSETNX', key, all[i], all[i + 1]) end
    live(old, key)
    rcall('UNLINK', old)
  end
  counts.entries = counts.entries + 1
end

-- move_line moves a part of a line, from its front: it stands behind what waits there already.
local function move_line(name)
  local old, ep = O .. name, string.match(name, '^l:(%S+) ')
  local part, ids = rcall('LRANGE', old, 0, 499), {}
  if #part == 0 then return nil end
  for i, id in ipairs(part) do ids[i] = short(id) end
  many('RPUSH', P .. name, ids)
  rcall('LTRIM', old, #part, -1)
  rcall('HINCRBY', P .. 'wait', ep, #part)
  if rcall('EXISTS', old) == 1 then return true end
  counts.others = counts.others + 1
end

-- drop_dead takes dead letters out whose events have expired. The others have moved with their events.
local function drop_dead(name)
  local old = O .. name
  for _, id in ipairs(rcall('ZRANGE', old, 0, -1)) do
    if rcall('EXISTS', O .. 'e:' .. id) == 0 then rcall('ZREM', old, id) end
  end
  if rcall('EXISTS', old) == 1 then error('events that it names cannot be read', 0) end
end
