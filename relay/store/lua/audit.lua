-- audit: note what somebody did. One script, so that nobody has more than its share, whoever writes at the same time.
--
-- ARGV   now (ms), how long an entry is kept (ms), how many entries there may be, and how many of them of this name,
--        for how long acts that are alike are one entry (ms), call, name of who did it (a tenant, or operator),
--        the act, how many things it changed
-- Returns 1
-- An act like the latest of its name is counted there: the entry becomes the newest one. If the name has more than its
-- share, its oldest entry goes; if there are too many, the oldest of all does. Asked again, nothing changes, unless the
-- name has done something else since.
local now, life, most, share = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local alike, call, by, act, count = tonumber(ARGV[5]), ARGV[6], ARGV[7], ARGV[8], tonumber(ARGV[9])
if not (now and life and most and share and alike and call and by and act and count) then
  return redis.error_reply('ERR audit: wrong arguments')
end
rcall('ZREM', P .. 'due', '')

local all, own = P .. 'audit', P .. 'au:' .. by
local AT_ONCE = 100 -- entries that go in one call

-- fields are those of an entry, as XRANGE gives it.
local function fields(entry)
  local f = {}
  for i = 1, #entry[2], 2 do f[entry[2][i]] = entry[2][i + 1] end
  return f
end

local first, times, latest = now, 1, rcall('LINDEX', own, -1)
local before = latest and rcall('XRANGE', all, latest, latest)[1]
if before then
  local f = fields(before)
  if f.c == call then return {1} end
  if f.a == act and now - tonumber(f.t) < alike then
    first, times, count = tonumber(f.t), tonumber(f.n) + 1, tonumber(f.m) + count
    rcall('XDEL', all, latest)
    rcall('RPOP', own)
  end
end
local id = rcall('XADD', all, '*', 'b', by, 'a', act, 't', int(first), 'l', int(now), 'n', int(times),
  'm', int(count), 'c', call)
rcall('RPUSH', own, id)

for _ = 1, min(AT_ONCE, rcall('LLEN', own) - share) do rcall('XDEL', all, rcall('LPOP', own)) end
for _ = 1, AT_ONCE do
  local oldest = rcall('XRANGE', all, '-', '+', 'COUNT', 1)[1]
  local f = fields(oldest)
  if rcall('XLEN', all) <= most and tonumber(f.l) >= now - life then break end
  rcall('XDEL', all, oldest[1])
  rcall('LREM', P .. 'au:' .. f.b, 1, oldest[1])
end
rcall('PEXPIRE', all, int(life))
rcall('PEXPIRE', own, int(life))
return {1}
