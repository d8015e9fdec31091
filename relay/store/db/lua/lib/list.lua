-- The list of all events (log, logt, v:<chunk>, c:<chunk>).

-- code is what stands for an endpoint in the list of events: two bytes, so that another one may have the same.
local codes_known = {}
local function code(ep)
  if not codes_known[ep] then
    local h = 0
    for i = 1, #ep do h = (h * 31 + string.byte(ep, i)) % 65536 end
    codes_known[ep] = string.char(math.floor(h / 256), h % 256)
  end
  return codes_known[ep]
end

-- roll begins a new chunk of the list of events, and notes what is in the one that is full.
local function roll(now, chunk, retention)
  local nxt, seen, all = max(now, chunk + 1), {}, {}
  if chunk > 0 then
    for _, v in ipairs(rcall('LRANGE', P .. 'v:' .. chunk, 0, -1)) do
      local from = string.find(v, ' ', 1, true) or #v
      for i = from + 1, #v, 2 do
        local c = string.sub(v, i, i + 1)
        if not seen[c] then seen[c], all[#all + 1] = true, c end
      end
    end
    rcall('SET', P .. 'c:' .. chunk, table.concat(all))
    rcall('ZADD', P .. 'logt', 'NX', now + retention + min(60000, retention / 16), chunk)
  end
  rcall('ZADD', P .. 'log', nxt, nxt)
  return nxt
end

-- is_full says whether a chunk has been open for long.
local function is_full(now, chunk, retention) return now - chunk > min(3600000, retention / 4) end

-- list puts events into the list of all. A chunk is full with a thousand, or when it has been open for long.
local function list(now, entries, retention)
  if #entries == 0 then return end
  local chunk = tonumber(rcall('ZREVRANGE', P .. 'log', 0, 0)[1] or 0)
  if is_full(now, chunk, retention) then chunk = roll(now, chunk, retention) end
  for from = 1, #entries, 100 do
    local to = min(from + 99, #entries)
    local n = rcall('RPUSH', P .. 'v:' .. chunk, unpack(entries, from, to))
    if n >= 1000 then chunk = roll(now, chunk, retention) end
  end
end
