-- settle: write down what came of deliveries, and lease the successor of each settled head to the caller if it wants it. One
-- script, because a head must not be closed without its successor being due or leased.
--
-- ARGV   now (ms), retention, dead_letter_retention, dedupe.window (ms), attempts kept per endpoint,
--        number of endpoints E, number of outcomes N,
--        E times: name, lease (ms) of a successor, rate,
--                 breaker "<failures> <ratio> <window ms> <cool-off ms> <longest cool-off ms>", empty for none,
--        N times: id, index of the endpoint (from 1), token of the lease, kind, due (ms), reason, how much of its line is wanted:
--                 how many from the successor on, which is leased (0: not even that), sign of the endpoint (0 no attempt was
--                 made, 1 none, 2 it answers, 3 it fails), Retry-After (ms), number of the attempt, status, duration (ms), text,
--                 how many of what is wanted of the line the caller has, and does not need again
--        kind is d delivered, r retry at due, x dead, g the endpoint is gone (parked), u released: nothing was tried
-- Returns N times {what became of it: 1 settled, 0 too late, if the caller has leased the successor the rows of the line as row() of
--        lib/state.lua gives them, what became of the breaker if that changed: "open <till> <probes failed>" or "closed"}
-- The holder of a head has its line: what waits behind may be attempted, each after the one before was delivered, and is settled in
-- that order in the same call as the head, under its token.
-- Asked again, by whichever call, it gives the same answer: a closed delivery keeps the token of its lease, and its successor
-- is leased under that token too.
local now, retention, dead_retention, window = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local history, ne, nv = ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])
if not (now and retention and dead_retention and window and ne and nv) or #ARGV ~= 7 + 4 * ne + 14 * nv then
  return redis.error_reply('ERR settle: wrong arguments')
end

-- An endpoint of this call: its arguments, what enters its queue (add, the earliest of it due) and leaves it (drop), attempts that
-- delivered, and how many wait in its lines (lined, once that was asked, and moved if it has changed since).
local eps, by, first = {}, {}, 8 + 4 * ne
for i = 1, ne do
  local at = 4 + 4 * i
  eps[i] = {name = ARGV[at], lease = tonumber(ARGV[at + 1]), rate = ARGV[at + 2], breaker = ARGV[at + 3], head = 'h:' .. ARGV[at],
    queue = P .. 'q:' .. ARGV[at], add = {}, drop = {}, delivered = {}}
  by[int(i)] = eps[i]
end
for o = first, #ARGV, 14 do
  if not by[ARGV[o + 1]] then return redis.error_reply('ERR settle: bad endpoint of outcome ' .. (o - first) / 14 + 1) end
end

-- A write that Redis allows at maxmemory opens the way for those that it would not.
rcall('ZREM', P .. 'due', '')

-- remember keeps an attempt in the history of its endpoint: those that delivered apart, so that they do not crowd out the others.
-- Of those that failed the event keeps when, status and duration for as long as it lives.
local function remember(e, id, n, o, kind, what)
  if kind == 'd' then
    e.delivered[#e.delivered + 1] = what .. ' ' .. int(n) .. ' ' .. id
    return
  end
  local ep, status, took = e.name, ARGV[o + 10], ARGV[o + 11]
  e.failed = P .. 'a:' .. ep
  local at = rcall('XADD', e.failed, 'MAXLEN', '~', history, '*', 'i', id, 'n', n, 'k', kind, 's', status, 'd', took, 'm', ARGV[o + 12])
  local before = rcall('HGET', P .. 'e:' .. id, '@' .. ep) or ''
  if #before > 1000 then before = string.sub(before, string.find(before, ';', -900, true) + 1) end
  rcall('HSET', P .. 'e:' .. id, '@' .. ep, before .. at .. ' ' .. status .. ' ' .. took .. ';')
end

-- failures returns the record of an endpoint that has failed of late, nil if it has not.
local failing, fail_any, counted = {}, nil, {}
local function failures(ep)
  if fail_any == nil then fail_any = rcall('EXISTS', P .. 'fail') == 1 end
  if failing[ep] == nil then
    local v = fail_any and rcall('HGET', P .. 'fail', ep)
    local row, since, tries, bad = string.match(v or '', '^(%d+) (%d+) (%d+) (%d+)$')
    failing[ep] = row and {row = tonumber(row), since = tonumber(since), tries = tonumber(tries), bad = tonumber(bad)} or false
  end
  return failing[ep] or nil
end

local function set_failures(ep, r)
  failing[ep], counted[ep] = r or false, true
end

-- A ramp of this width is as good as none. The clocks of replicas differ by less than skew (ms).
local full_width, skew = 128, 1000

local function open(ep, b, since, step, hint)
  local cool = max(min(b.cool * 2 ^ step, b.most), min(hint, b.most))
  set_control(ep, {state = 'open', since = since, till = now + cool, step = step, token = '-'})
  set_failures(ep, nil)
  return string.format('open %.0f %d', now + cool, step)
end

-- judge has the breaker of an endpoint learn from a settled lease, whose outcome begins at o. It returns what became of the breaker, if
-- that changed.
local function judge(e, token, sign, o)
  local ep = e.name
  local c = control(ep)
  if not c and (sign < '2' or e.breaker == '' or (sign == '2' and not failures(ep))) then return nil end
  local began = c and now - tonumber(ARGV[o + 11])
  if c and c.state == 'ramp' and began < c.since - skew then return nil end -- it says nothing of the time after
  if (c and c.state ~= 'open' and c.state ~= 'ramp') or (c and c.state == 'open' and c.token ~= token) then return nil end
  local hint = tonumber(ARGV[o + 8])
  local need, ratio, window, cool, most = string.match(e.breaker, '^(%S+) (%S+) (%S+) (%S+) (%S+)$')
  local b = need and {cool = tonumber(cool), most = tonumber(most)}
  if not b then return set_control(ep, nil) end -- it was turned off

  if c and c.state == 'open' then
    if sign == '3' then return open(ep, b, c.since, c.step + 1, hint) end
    if sign == '2' then
      set_control(ep, {state = 'ramp', since = now, till = now, step = c.step, width = 1, out = 0})
      return 'closed'
    end
    return set_control(ep, {state = 'open', since = c.since, till = now, step = c.step, token = '-'})
  elseif c then
    c.out = max(c.out - 1, 0)
    if sign == '2' then c.width = c.width + 1 end
    if sign == '3' then c.width = math.floor(c.width / 2) end
    if c.width == 0 then return open(ep, b, now, c.step + 1, hint) end
    return set_control(ep, c.width < full_width and c or nil)
  end

  local r = failures(ep) or {row = 0, since = now, tries = 0, bad = 0}
  local over = now - r.since > tonumber(window)
  if over then r.since, r.tries, r.bad = now, 0, 0 end
  r.tries = r.tries + 1
  if sign == '2' then
    r.row = 0
    return set_failures(ep, not over and r or nil)
  end
  r.row, r.bad = r.row + 1, r.bad + 1
  set_failures(ep, r)
  if max(r.row, r.bad >= tonumber(ratio) * r.tries and r.bad or 0) >= tonumber(need) then return open(ep, b, now, 0, hint) end
end

-- may_lease says whether the caller may have a successor of the endpoint at once, and notes that it has.
local function may_lease(e)
  local c = control(e.name)
  if c and (c.state ~= 'ramp' or c.out >= c.width) then return false end
  if e.rate ~= '' then
    if allowance(e.name, e.rate, now) == 0 then return false end
    spend(e.name, e.rate, now, 1)
  end
  if c then
    c.out, c.till = c.out + 1, now + e.lease
    set_control(e.name, c)
  end
  return true
end

local function enqueue(e, id, due)
  local add = e.add
  add[#add + 1], add[#add + 2] = int(due), id
  e.due = min(e.due or due, due)
end

-- What outcomes of one call have in common is read once and written once: most of what a command costs is that it is called.
-- Of an event, the call knows the states by endpoint (states; false: it is not owed to that), and of one with outcomes here the fields
-- w, o, x, s, and the endpoints that these are of (its array). set has what is to be written, span for how long it lives on then.
local events, every = {}, {}
local function event(id)
  local v = events[id]
  if not v then
    v = {key = P .. 'e:' .. id, states = {}, set = {}}
    events[id], every[#every + 1] = v, v
  end
  return v
end

local function set_state(v, ep, st)
  v.states[ep], v.set[#v.set + 1], v.set[#v.set + 2] = st, ep, st
end

-- A record has how many of its events were closed here (closed), and at which endpoints (heads that are not needed any more: done), and
-- the endpoints with a line that have outcomes here (its array), with how many of each (n). What it is in Redis is read once that
-- is needed: o, k, h, and heads, of which moved says which have changed.
local records, all_records = {}, {}
local function record(name)
  local r = records[name]
  if not r then
    r = {name = name, key = P .. name, closed = 0, done = {'o', 'h'}, n = {}, moved = {}}
    records[name], all_records[#all_records + 1] = r, r
  end
  return r
end

local function read(r)
  if r.heads then return end
  local fields = {'o', 'k', 'h'}
  for i = 1, #r do fields[i + 3] = r[i].head end
  local f = rcall('HMGET', r.key, unpack(fields))
  r.open, r.keep, r.h, r.heads = tonumber(f[1] or 1), f[2], f[3], {}
  for i = 1, #r do r.heads[r[i]] = f[i + 3] end
end

local function head_of(r, e)
  read(r)
  if r.heads[e] == nil then r.heads[e] = rcall('HGET', r.key, e.head) end
  return r.heads[e] or r.h
end

local function set_head(r, e, id)
  if r.heads[e] or id then r.heads[e], r.moved[e] = id, true end
end

local names = {}
for i = 1, ne do names[i] = eps[i].name end
local waiting = hmget(P .. 'wait', names)
for i = 1, ne do eps[i].lined = tonumber(waiting[i] or 0) end
for o = first, #ARGV, 14 do
  local v = event(ARGV[o])
  v[#v + 1] = by[ARGV[o + 1]].name
end
for i = 1, #every do
  local v = every[i]
  local f = rcall('HMGET', v.key, 'w', 'o', 'x', 's', unpack(v))
  v.w, v.open, v.dead, v.entry = f[1], tonumber(f[2] or 1), tonumber(f[3] or 0), f[4]
  for j = 1, #v do v.states[v[j]] = f[j + 4] end
end
for o = first, #ARGV, 14 do
  local v, e = events[ARGV[o]], by[ARGV[o + 1]]
  local r = v.w and record(v.w)
  if r and e.lined > 0 then
    if not r.n[e] then r[#r + 1] = e end
    r.n[e] = (r.n[e] or 0) + 1
  end
end

-- Of a line the call knows ids of those that wait (its array), as far as they were read, and how many of these were taken (at).
local lines = {}
local function line_of(r, e)
  r.lines = r.lines or {}
  local l = r.lines[e]
  if not l then
    l = {key = P .. 'l:' .. e.name .. ' ' .. r.name, at = 0}
    r.lines[e], lines[#lines + 1] = l, l
  end
  return l
end

-- ahead has the next n of a line read, if there are so many; if it has to read, then at least so many more.
local function ahead(l, n, more)
  local from = #l
  if l.at + n <= from or l.whole then return end
  local to = max(l.at + n, from + more)
  local ids = rcall('LRANGE', l.key, from, to - 1)
  for i = 1, #ids do l[from + i] = ids[i] end
  l.whole = #l < to
end

-- due_of reads what is needed to lease a delivery.
local function due_of(id, ep)
  local v = event(id)
  if v.states[ep] == nil or not v.sequence then
    local f = rcall('HMGET', v.key, 'q', 't', ep)
    v.sequence, v.at = f[1], f[2]
    if v.states[ep] == nil then v.states[ep] = f[3] end
  end
  return v, parse_state(v.states[ep] or '-')
end

-- rows_of returns the rows of a line, of which the head is the first: from that after had on to the most-th, and no more than a small
-- part of what an answer may hold.
local function rows_of(r, e, had, most, token)
  local l, ep = line_of(r, e), e.name
  if most > 1 then ahead(l, most - 1, 1) end
  local ids, bodies, rows, bytes = {}, {}, {}, 0
  for i = had + 1, most do
    local id = i == 1 and head_of(r, e) or l[l.at + i - 1]
    if not id then break end
    ids[#ids + 1], bodies[#bodies + 1] = id, P .. 'b:' .. id
  end
  if not ids[1] then return rows end
  bodies = rcall('MGET', unpack(bodies))
  for i = 1, #ids do
    local v, s, attempts, why, _, text = due_of(ids[i], ep)
    if bytes > 65536 or (had + i > 1 and s ~= 'w') then break end
    rows[i], bytes = row(ep, ids[i], attempts, why, v.sequence, v.at, token, text, bodies[i] or ''), bytes + #(bodies[i] or '')
  end
  return rows
end

-- attempted says whether an outcome of the delivery is in this call.
local function attempted(id, ep)
  local v = events[id]
  for i = 1, v and #v or 0 do
    if v[i] == ep then return true end
  end
  return false
end

-- advance gives the place at the head of the line to the next in it: one that was attempted already is leased, its outcome follows in
-- this call. It returns the rows that the caller wants of the line, if it gets that.
local passed = {}
local function advance(r, e, wanted, had, token)
  local ep, l, nxt = e.name, line_of(r, e), nil
  local v, s, attempts, why, _, text, here
  repeat -- an event that Redis has evicted is passed over, and one that was delivered after its holder had lost the line
    if e.lined > 0 then
      ahead(l, 1, r.n[e] or 1)
      nxt = l[l.at + 1]
    else
      nxt = nil
    end
    if not nxt then
      set_head(r, e, false)
      return nil
    end
    l.at, e.lined, e.moved, here = l.at + 1, e.lined - 1, true, attempted(nxt, ep)
    if here then
      v = events[nxt]
      s, attempts, why, _, text = parse_state(v.states[ep] or '-')
    else
      v, s, attempts, why, _, text = due_of(nxt, ep)
    end
  until s == 'w'
  set_head(r, e, nxt)
  if here then
    may_lease(e) -- it counts
    set_state(v, ep, pack_state('l', attempts, why, token, text))
    passed[#passed + 1] = {v = v, e = e, id = nxt}
    return nil
  end
  if wanted > 0 and may_lease(e) then
    local rows = rows_of(r, e, had, (e.rate ~= '' or control(ep)) and 1 or wanted, token)
    set_state(v, ep, pack_state('l', attempts, why, token, text))
    enqueue(e, nxt, now + e.lease)
    return rows
  end
  set_state(v, ep, pack_state('q', 0, why, '', text))
  enqueue(e, nxt, now)
  return nil
end

-- close ends a delivery; the last one of an event lets the event expire, the last one of a record the record.
local function close(e, v, id, st, dead, wanted, had, token)
  local ep, r = e.name, records[v.w]
  e.drop[#e.drop + 1], r.done[#r.done + 1] = id, e.head
  set_state(v, ep, st)
  v.open, v.closed = v.open - 1, true
  if dead then
    v.dead, v.died = v.dead + 1, true
    r.kept = now + dead_retention
    rcall('ZREMRANGEBYSCORE', P .. 'x:' .. ep, '-inf', now - dead_retention)
    rcall('ZADD', P .. 'x:' .. ep, now, id)
    rcall('PEXPIRE', P .. 'x:' .. ep, dead_retention)
    rcall('ZADD', P .. 'dead', now, ep)
    rcall('ZREMRANGEBYSCORE', P .. 'dead', '-inf', now - dead_retention)
    rcall('PEXPIRE', P .. 'dead', dead_retention)
  end
  if v.open <= 0 then
    v.span = int(outlive(v.entry, id, v.dead > 0 and dead_retention or retention))
    rcall('PEXPIRE', P .. 'b:' .. id, v.span)
    r.closed = r.closed + 1
  end
  if e.lined > 0 and head_of(r, e) == id then return advance(r, e, wanted, had, token) end
end

-- repeated answers an outcome that is settled again: the successor, if it was leased to the same holder, for the time of a
-- new lease.
local function repeated(e, r, had, token)
  local head = head_of(r, e)
  if not head then return {1} end
  local _, s, _, _, holder = due_of(head, e.name)
  if s ~= 'l' or holder ~= token then return {1} end
  enqueue(e, head, now + e.lease)
  return {1, rows_of(r, e, had, 1, token)}
end

local function settle(o)
  local id, e, token, kind, sign = ARGV[o], by[ARGV[o + 1]], ARGV[o + 2], ARGV[o + 3], ARGV[o + 7]
  local v, ep, wanted, had = events[id], e.name, num(ARGV[o + 6]), num(ARGV[o + 13])
  local state = v.states[ep]
  if not state then return {0} end
  local s, attempts, why, holder, text = parse_state(state)
  local mine = holder == token
  if s == 'd' or s == 'x' or s == 'm' then
    if mine and wanted > 0 then return repeated(e, records[v.w], had, token) end
    return {mine and 1 or 0}
  end
  if kind ~= 'd' and not (mine and s == 'l') then return {mine and 1 or 0} end
  local what = kind == 'd' and ARGV[1] .. ' ' .. ARGV[o + 10] .. ' ' .. ARGV[o + 11] or ARGV[o + 5]
  if sign ~= '0' then
    attempts = max(attempts, num(ARGV[o + 9]))
    remember(e, id, attempts, o, kind, what)
  end
  local breaker
  if kind ~= 'g' then breaker = judge(e, token, sign, o) end
  if kind == 'd' or kind == 'x' then
    local rows = close(e, v, id, pack_state(kind, attempts, why, token, what), kind == 'x', wanted, had, token)
    return breaker and {1, rows or false, breaker} or {1, rows}
  end
  if kind == 'g' then set_control(ep, {state = 'gone', since = now}) end
  set_state(v, ep, pack_state('q', attempts, why, token, text))
  enqueue(e, id, tonumber(ARGV[o + 4]))
  return breaker and {1, false, breaker} or {1}
end

local out = {}
for o = first, #ARGV, 14 do out[#out + 1] = settle(o) end
for _, d in ipairs(passed) do -- the outcome that was to follow was another holder's
  if string.sub(d.v.states[d.e.name], 1, 1) == 'l' then enqueue(d.e, d.id, now + d.e.lease) end
end

for i = 1, #every do
  local v = every[i]
  local set = v.set
  if v.closed then set[#set + 1], set[#set + 2] = 'o', int(v.open) end
  if v.died then set[#set + 1], set[#set + 2] = 'x', v.dead end
  hset(v.key, set)
  if v.span then rcall('PEXPIRE', v.key, v.span) end
end
for i = 1, #all_records do
  local r = all_records[i]
  local set, del = {}, {}
  for e in pairs(r.moved) do
    if r.heads[e] then set[#set + 1], set[#set + 2] = e.head, r.heads[e] else del[#del + 1] = e.head end
  end
  if r.kept then set[#set + 1], set[#set + 2] = 'k', r.kept end
  if r.closed > 0 then
    read(r)
    local left = r.open - r.closed
    if left > 0 then
      set[#set + 1], set[#set + 2] = 'o', int(left)
    else
      del = r.done
      rcall('PEXPIRE', r.key, int(kept(now, r.kept or r.keep, max(window, retention))))
    end
  end
  hset(r.key, set)
  many('HDEL', r.key, del)
end
for i = 1, ne do
  local e = eps[i]
  local ep = e.name
  many('ZADD', e.queue, e.add)
  many('ZREM', e.queue, e.drop)
  if e.failed then rcall('PEXPIRE', e.failed, max(retention, dead_retention)) end
  if e.delivered[1] then
    local key = P .. 'd:' .. ep
    many('LPUSH', key, e.delivered)
    rcall('LTRIM', key, 0, history - 1)
    rcall('PEXPIRE', key, max(retention, dead_retention))
  end
  if changed[ep] then
    retouch(ep)
  elseif e.due then
    touch(ep, e.due)
  elseif rcall('EXISTS', e.queue) == 0 then
    rcall('ZREM', P .. 'due', ep)
  end
  local r = failing[ep]
  if counted[ep] and r then
    rcall('HSET', P .. 'fail', ep, r.row .. ' ' .. r.since .. ' ' .. r.tries .. ' ' .. r.bad)
    rcall('PEXPIRE', P .. 'fail', max(retention, dead_retention))
  elseif counted[ep] then
    rcall('HDEL', P .. 'fail', ep)
  end
  if e.moved then
    if e.lined > 0 then rcall('HSET', P .. 'wait', ep, e.lined) else rcall('HDEL', P .. 'wait', ep) end
  end
end
for i = 1, #lines do
  if lines[i].at > 0 then rcall('LTRIM', lines[i].key, lines[i].at, -1) end
end
flush()
return out
