-- Rate limiters (g:<limiter>).

-- next_at returns when the next request of a limiter may begin (ms). The time has passed if several may begin at once:
-- after a pause, as many as burst (ms) has room for. set_next notes when the one after them may.
local function next_at(name, now, burst)
  return max(tonumber(rcall('GET', P .. 'g:' .. name)) or 0, now - burst)
end

local function set_next(name, now, at)
  -- %.3f: as a string, a large number would lose its last digits
  rcall('SET', P .. 'g:' .. name, string.format('%.3f', at), 'PX', max(1000, math.ceil(at - now)))
end

-- A rate is "<ms between two attempts> <burst ms>", empty for none. allowance returns how many attempts may begin now,
-- and in how many ms the first after those may. spend notes that n attempts begin.
local function allowance(ep, rate, now)
  local interval, burst = string.match(rate, '^(%S+) (%S+)$')
  interval = tonumber(interval)
  local at = next_at(ep, now, tonumber(burst))
  local n = max(0, math.floor((now - at) / interval + 1e-6) + 1)
  return n, max(1, math.ceil(at + n * interval - now))
end

local function spend(ep, rate, now, n)
  local interval, burst = string.match(rate, '^(%S+) (%S+)$')
  set_next(ep, now, next_at(ep, now, tonumber(burst)) + n * tonumber(interval))
end

-- reserve takes the next request of a limiter that allows one per interval (ms, may be a fraction). It returns the time
-- to wait (ms) and true, or, if that is longer than most, the same and false, and takes nothing.
local function reserve(name, now, interval, burst, most)
  local at = next_at(name, now, burst)
  local wait = max(0, math.ceil(at - now))
  if wait > most then return wait, false end
  set_next(name, now, at + interval)
  return wait, true
end
