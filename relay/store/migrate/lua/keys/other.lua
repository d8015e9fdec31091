-- What names no event. If there is no such key in this form, it gets another name. Otherwise what is in both is merged.

-- later says of a zset that the later time counts, if it is in both: when something was last seen, or expires.
local later = {heard = true, dead = true, ledger = true, t = true}

-- order returns how an entry of a list is sorted, and whether the latest comes first.
local function order(family, entry)
  if family == 'h' then return tonumber(string.match(entry, '"t":(%d+)') or 0), true end
  local first, second = string.match(entry, '^(%d+)%D?(%d*)')
  return tonumber(first or 0) * 1000 + (family == 'au' and tonumber(second) or 0), family == 'd'
end

local function merge_lists(family, old, key)
  local all, turned = {}, false
  for _, of in ipairs({old, key}) do
    for _, entry in ipairs(rcall('LRANGE', of, 0, -1)) do
      local at
      at, turned = order(family, entry)
      all[#all + 1] = {at = at, place = #all, text = entry}
    end
  end
  table.sort(all, function(a, b)
    if a.at ~= b.at then return (a.at > b.at) == turned end
    return a.place < b.place
  end)
  local texts = {}
  for i, e in ipairs(all) do texts[i] = e.text end
  local life = rcall('PTTL', key)
  rcall('DEL', key)
  many('RPUSH', key, texts)
  if life > 0 then rcall('PEXPIRE', key, life) end
end

local function merge_streams(old, key)
  local all = {}
  for _, of in ipairs({old, key}) do
    for _, entry in ipairs(rcall('XRANGE', of, '-', '+')) do
      local first, second = string.match(entry[1], '^(%d+)-(%d+)$')
      all[#all + 1] = {first = tonumber(first), second = tonumber(second), id = entry[1], fields = entry[2]}
    end
  end
  table.sort(all, function(a, b)
    if a.first ~= b.first then return a.first < b.first end
    return a.second < b.second
  end)
  local life = rcall('PTTL', key)
  rcall('DEL', key)
  for i, e in ipairs(all) do
    if i == 1 or all[i - 1].id ~= e.id then rcall('XADD', key, e.id, unpack(e.fields)) end
  end
  if life > 0 then rcall('PEXPIRE', key, life) end
end

-- merge_sets moves a part of a zset, and returns true if more is left.
local function merge_sets(family, old, key)
  local part, members = rcall('ZRANGE', old, 0, 199, 'WITHSCORES'), {}
  for i = 1, #part, 2 do
    rcall('ZADD', key, later[family] and 'GT' or 'NX', part[i + 1], part[i])
    members[#members + 1] = part[i]
  end
  live(old, key)
  many('ZREM', old, members)
  return rcall('EXISTS', old) == 1
end

-- counted are pages of statistics, whose rows add up.
local counted = {m = true, m5 = true, mh = true}

local function merge_hashes(name, family, old, key)
  local all = rcall('HGETALL', old)
  for i = 1, #all, 2 do
    local field, value = all[i], all[i + 1]
    if rcall('HSETNX', key, field, value) == 0 then
      if counted[family] then
        rcall('HSET', key, field, bounded(add(rcall('HGET', key, field), value, find(field, '^%d'))))
      elseif name == 'quarantined' and field == '+' then
        rcall('HINCRBY', key, field, value)
      end
    end
  end
end

local function merge_strings(name, family, old, key)
  local had, has = rcall('GET', old), rcall('GET', key)
  if family == 'd' then
    rcall('SET', key, int(tonumber(had) + tonumber(has)), 'KEEPTTL')
  elseif name == 'queries' then
    local day, n = string.match(had, '^(%d+) (%d+)$')
    local today, more = string.match(has, '^(%d+) (%d+)$')
    if day == today then rcall('SET', key, day .. ' ' .. int(n + more), 'KEEPTTL') end
  end
end

local function move_other(name, family)
  local old, key = O .. name, P .. name
  local kind = rcall('TYPE', old).ok
  if kind == 'none' then return nil end
  if rcall('RENAMENX', old, key) == 0 then
    if rcall('TYPE', key).ok ~= kind then error('it is a ' .. kind .. ', and the new one is not', 0) end
    if kind == 'zset' and merge_sets(family, old, key) then return true end
    if kind == 'hash' then merge_hashes(name, family, old, key) end
    if kind == 'list' then merge_lists(family, old, key) end
    if kind == 'stream' then merge_streams(old, key) end
    if kind == 'string' then merge_strings(name, family, old, key) end
    if kind ~= 'zset' then live(old, key) end
    rcall('UNLINK', old)
  end
  counts.others = counts.others + 1
end
