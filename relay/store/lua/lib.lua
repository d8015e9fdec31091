-- Shared by every script of this folder: it is put in front of each (see scripts.go).
--
-- KEYS[1] is the store's prefix "{tag}:", which also routes the script to the one slot that holds all keys:
--   w:<waybill>        hash    record of a waybill (n:<id> for an event that has none):
--                              i:<id> -> "<sequence>" or "<sequence> <occurrences>", q last sequence,
--                              s:<brand> last status, n:<brand> "<when the newest track was (ms)> <sequence>" of the update that is
--                              last known, if any had such a time,
--                              h, h:<endpoint> the head, see in_order(),
--                              o open events, p size at which to prune, k keep until (ms)
--   e:<id>             hash    state of an event: w record, q sequence, t accepted at (ms), c call that accepted it,
--                              o open deliveries, x dead ones, s entry of the ledger, r "<how often> <last time, ms> <call> <how often
--                              in that call>" it came again,
--                              <endpoint> -> state of that delivery, @<endpoint> -> its attempts that failed, each
--                              "<entry in a:<endpoint>> <status> <ms>;"
--   b:<id>             string  body of an event
--   q:<endpoint>       zset    ready, retrying and leased deliveries: id by the time when it is due (a lease: when it lapses)
--   l:<endpoint> <rec> list    ids that wait behind the open head of a record at an endpoint
--   x:<endpoint>       zset    dead letters: id by the time when it was given up
--   a:<endpoint>       stream  the latest attempts that failed
--   d:<endpoint>       list    the latest attempts that delivered, the latest first: "<when, ms> <status> <ms> <attempt> <id>"
--   log                zset    chunks of the list of all events, each named by the time when it began (ms)
--   logt               zset    chunks by the time when they are to be trimmed (ms), see trim.lua
--   v:<chunk>          list    events in the order in which they came: "<id> <codes of the endpoints>", see code(); "+" is put
--                              before one that stands there again, for endpoints that it was owed to later; one that has
--                              expired is empty
--   c:<chunk>          string  codes of all endpoints in a chunk that is full
--   due                zset    endpoint by the earliest time in its q (never later than that; it may be earlier)
--   dead               zset    endpoint by the time of its latest dead letter
--   wait               hash    endpoint -> how many wait in its lists
--   marker             string  a random text, to notice a Redis that was emptied; see Store.Marker
--   heard              zset    "callback" by the time when the latest one came (ms)
--   ctl                hash    endpoint -> what holds it back, as control() has it; absent: nothing
--   twice              hash    endpoint -> since when (ms) it is known to answer twice, until it is resumed
--   fail               hash    endpoint -> "<failures in a row> <window since ms> <attempts in it> <failures in it>"
--   s:<entry>          hash    entry of the ledger, named "<brand> <waybill>": u upstream state (p pending, l live, f failed),
--                              c code, m text and i uid of the provider's answer, t token of the claim, x when it lapses (ms),
--                              e last event of the waybill, n when its newest track was (ms), if that is known,
--                              z 1 if it was signed for, @<tenant> -> since (ms)
--   t:<tenant>         zset    entries that a tenant has subscribed, by the time when they expire
--   ledger             zset    tenants that have subscribed anything, by the time when the last of it expires
--   todo               zset    what is to be taken over by then (ms): " <entry>" is to be subscribed upstream, "<tenant> <entry>"
--                              is a tenant to be caught up
--   only:<what>        string  call of the replica that does this alone
--   yt:<tenant>        zset    replays of a tenant by the time when they were asked for, see newreplay.lua
--   g:<line>           string  when the next in a line may come (ms): of a tenant its next request ("<tenant> reads", "<tenant> tests": of these), of "*" the next call to the
--                              provider, of an endpoint its next attempt; see place()
--
-- The state of a delivery is "<s><attempts> <reason> <token> <text>": s is q queued, l leased, w waiting, d delivered,
-- x dead, m a dead letter that was dismissed; reason n new, r retry, d redrive, p replay, c catch-up; token names the lease that
-- held it last; text is why it is dead, when it was redriven, replayed, or caught up with (ms), or "<when, ms> <status> <ms>" of
-- what delivered it. Most of what waits is new and untried: its state is s alone.
local P = KEYS[1]
local rcall, max, min = redis.call, math.max, math.min

-- int writes a whole number as a command takes it: Redis would write each anew as a fraction of 17 digits, and most come many times.
-- The embedded Redis' Lua would make an array as long as a positive index.
local ints = {}
local function int(n)
  local s = ints[-n]
  if not s then
    s = string.format('%.0f', n)
    ints[-n] = s
  end
  return s
end

-- num is tonumber for what stands in the arguments many times.
local nums = {}
local function num(s)
  local n = nums[s]
  if n == nil then
    n = tonumber(s) or false
    nums[s] = n
  end
  return n
end

local function pack_state(s, attempts, reason, token, text)
  if attempts == 0 and reason == 'n' and token == '' and (text or '') == '' then return s end
  return s .. attempts .. ' ' .. reason .. ' ' .. token .. ' ' .. (text or '')
end

local function parse_state(v)
  if #v == 1 then return v, 0, 'n', '', '' end
  local s, attempts, reason, token, text = string.match(v, '^(%a)(%d+) (%a) (%S*) (.*)$')
  return s, tonumber(attempts), reason, token, text
end

-- hmget, hset, and many for other commands, take any number of arguments, in calls of at most 100.
local function hmget(key, fields)
  if #fields <= 100 then return rcall('HMGET', key, unpack(fields)) end
  local out = {}
  for from = 1, #fields, 100 do
    local part = rcall('HMGET', key, unpack(fields, from, min(from + 99, #fields)))
    for i = 1, min(100, #fields - from + 1) do out[from + i - 1] = part[i] end
  end
  return out
end

local function many(command, key, args)
  if #args <= 100 then
    if #args > 0 then rcall(command, key, unpack(args)) end
    return
  end
  for from = 1, #args, 100 do
    rcall(command, key, unpack(args, from, min(from + 99, #args)))
  end
end

local function hset(key, pairs_) many('HSET', key, pairs_) end

-- control returns what holds an endpoint back, nil if nothing does. In ctl it is the state, since when (ms), and more:
--   paused, gone                     a person resumes it
--   open <till> <step> <token>       the breaker: nothing is leased before till (ms), and then one delivery as a probe, under
--                                    this token ("-": none is under way); step is how many probes have failed
--   ramp <till> <step> <width> <out> it is let go at a growing pace: at most width leases, out of which are under way, at the
--                                    longest until till (ms)
local controls, ctl_any, changed = {}, nil, {}
local function control(ep)
  if ctl_any == nil then ctl_any = rcall('EXISTS', P .. 'ctl') == 1 end
  if not ctl_any then return nil end
  if controls[ep] == nil then
    local v = rcall('HGET', P .. 'ctl', ep)
    local state, since, till, step, a, b = string.match(v or '', '^(%a+) (%d+) ?(%d*) ?(%d*) ?(%S*) ?(%d*)$')
    controls[ep] = v and {state = state, since = tonumber(since), till = tonumber(till), step = tonumber(step), token = a,
      width = tonumber(a), out = tonumber(b)} or false
  end
  return controls[ep] or nil
end

-- set_control notes what holds an endpoint back from now on (nil: nothing); flush writes it down.
local function set_control(ep, c)
  controls[ep], ctl_any, changed[ep] = c or false, true, true
end

local function flush()
  for ep in pairs(changed) do
    local c = controls[ep]
    if not c then
      rcall('HDEL', P .. 'ctl', ep)
    else
      local v = c.state .. ' ' .. c.since
      if c.till then v = v .. ' ' .. c.till .. ' ' .. c.step end
      if c.state == 'open' then v = v .. ' ' .. c.token end
      if c.state == 'ramp' then v = v .. ' ' .. c.width .. ' ' .. c.out end
      rcall('HSET', P .. 'ctl', ep, v)
    end
  end
end

-- gate returns from when on a delivery that is due at the time given may be leased, nil if a person has to resume the endpoint.
local function gate(ep, due)
  local c = control(ep)
  if not c then return due end
  if c.state == 'open' or (c.state == 'ramp' and c.out >= c.width) then return max(due, c.till) end
  return c.state == 'ramp' and due or nil
end

-- The head of a record at an endpoint is the one open delivery that others wait for: that of the event in the record's field
-- h:<endpoint>, or without it in h, as long as in_order says so of its state. So one field does for all endpoints of an event, and
-- nobody has to clear it when the deliveries are closed one by one.
local function in_order(st)
  local s, _, reason = parse_state(st or '-')
  return (s == 'q' or s == 'l' or s == 'w') and reason ~= 'd' and reason ~= 'p'
end

-- touch makes sure that the endpoint is looked at by the time given, or as soon as it may be.
local function touch(ep, at)
  at = gate(ep, at)
  if at then rcall('ZADD', P .. 'due', 'LT', int(at), ep) end
end

-- retouch sets the endpoint's entry in due to what its queue says, but not before least.
local function retouch(ep, least)
  local first = rcall('ZRANGE', P .. 'q:' .. ep, 0, 0, 'WITHSCORES')
  local at = first[1] and gate(ep, max(tonumber(first[2]), least or 0))
  if at then
    rcall('ZADD', P .. 'due', int(at), ep)
  else
    rcall('ZREM', P .. 'due', ep)
  end
end

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
    rcall('SET', P .. 'c:' .. chunk, table.concat(all), 'PX', 2 * retention)
    rcall('ZADD', P .. 'logt', now + retention, chunk)
    rcall('PEXPIRE', P .. 'logt', 2 * retention)
  end
  rcall('ZADD', P .. 'log', nxt, nxt)
  rcall('PEXPIRE', P .. 'log', 2 * retention)
  return nxt
end

-- list puts events into the list of all. A chunk is full with a thousand, or when it has been open for long.
local function list(now, entries, retention)
  if #entries == 0 then return end
  local chunk = tonumber(rcall('ZREVRANGE', P .. 'log', 0, 0)[1] or 0)
  if now - chunk > min(3600000, retention / 4) then chunk = roll(now, chunk, retention) end
  for from = 1, #entries, 100 do
    local to = min(from + 99, #entries)
    local n = rcall('RPUSH', P .. 'v:' .. chunk, unpack(entries, from, to))
    if n == to - from + 1 then rcall('PEXPIRE', P .. 'v:' .. chunk, 2 * retention) end
    if n >= 1000 then chunk = roll(now, chunk, retention) end
  end
end

-- open_since says when the age of a delivery began: with its event, unless it was redriven, replayed, or caught up with, later.
local function open_since(reason, text, at)
  return (reason == 'd' or reason == 'p' or reason == 'c') and tonumber(text) or tonumber(at)
end

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

-- row is a leased delivery as lease.lua and settle.lua answer it: {endpoint, id, attempts, reason, sequence, accepted at,
-- open since, token, body}. The body is empty if Redis has lost it; it is read, unless it is given.
local function row(ep, id, attempts, reason, seq, at, token, text, body)
  return {ep, id, attempts, reason, seq, at, open_since(reason, text, at), token, body or rcall('GET', P .. 'b:' .. id) or ''}
end

-- lease hands the delivery to the holder of the token, and returns its row. It is due again, in its endpoint's queue, when the lease
-- lapses: that is the caller's to write.
local function lease(ep, id, st, seq, at, token, body)
  local s, attempts, reason, held, text = parse_state(st)
  if s == 'l' and held ~= token and reason == 'n' then reason = 'r' end
  rcall('HSET', P .. 'e:' .. id, ep, pack_state('l', attempts, reason, token, text))
  return row(ep, id, attempts, reason, seq, at, token, text, body)
end

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

-- reserve gives a place in a line that moves on once per interval (ms, may be a fraction): the time to wait for it (ms), or, where
-- that would be longer than most, the same and false.
local function reserve(name, now, interval, burst, most)
  local at = place(name, now, burst)
  local wait = max(0, math.ceil(at - now))
  if wait > most then return wait, false end
  book(name, now, at + interval)
  return wait, true
end
