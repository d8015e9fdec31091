-- Lines that move on at a rate (g:<line>).

-- place returns when the next in a line may come (ms), a time that has passed if several may at once: after a pause, as many
-- as burst (ms) has room for. book notes that the one after them may come then.
local function place(name, now, burst)
  return max(tonumber(rcall('GET', P .. 'g:' .. name)) or 0, now - burst)
end

local function book(name, now, at)
  -- %.3f: as a string, a large number would lose its last digits
  rcall('SET', P .. 'g:' .. name, string.format('%.3f', at), 'PX', max(1000, math.ceil(at - now)))
end

-- A rate is "<ms between two attempts> <burst ms>", empty for none. allowance returns how many attempts may begin now, and in how
-- many ms the first after those may; spend takes some of them.
local function allowance(ep, rate, now)
  local interval, burst = string.match(rate, '^(%S+) (%S+)$')
  interval = tonumber(interval)
  local at = place(ep, now, tonumber(burst))
  local n = max(0, math.floor((now - at) / interval + 1e-6) + 1)
  return n, max(1, math.ceil(at + n * interval - now))
end

local function spend(ep, rate, now, n)
  local interval, burst = string.match(rate, '^(%S+) (%S+)$')
  book(ep, now, place(ep, now, tonumber(burst)) + n * tonumber(interval))
end

-- reserve gives a place in a line that moves on once per interval (ms, may be a fraction): the time to wait for it (ms), or, where
-- that would be longer than most, the same and false.
local function reserve(name, now, interval, burst, most)
  local at = place(name, now, burst)
  local wait = max(0, math.ceil(at - now))
  if wait > most then return wait, false end
  book(name, now, at + interval)
  return wait, true
end
