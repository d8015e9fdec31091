-- settle: write down what came of deliveries, and lease the successor of each settled head to the caller if it wants it. One
-- script, because a head must not be closed without its successor being due or leased.
--
-- ARGV   now (ms), retention, dead_letter_retention, dedupe.window (ms), attempts kept per endpoint,
--        number of endpoints E, number of outcomes N,
--        E times: name, lease (ms) of a successor, rate,
--                 breaker "<failures> <ratio> <window ms> <cool-off ms> <longest cool-off ms>", empty for none,
--        N times: id, index of the endpoint (from 1), token of the lease, kind, due (ms), reason, how many of its line are wanted,
--                 of the successor, which is leased, and what waits behind it (0: none), sign of the endpoint (0 no attempt was
--                 made, 1 none, 2 it answers, 3 it fails), Retry-After (ms), number of the attempt, status, duration (ms), text
--        kind is d delivered, r retry at due, x dead, g the endpoint is gone (parked), u released: nothing was tried
-- Returns N times {what became of it: 1 settled, 0 too late, if the caller has leased the successor the rows of the line as row() of
--        lib.lua gives them, what became of the breaker if that changed: "open <till> <probes failed>" or "closed"}
-- The holder of a head has its line: what waits behind may be attempted, each after the one before was delivered, and is settled in
-- that order in the same call as the head, under its token.
-- Asked again, by whichever call, it gives the same answer: a closed delivery keeps the token of its lease, and its successor
-- is leased under that token too.
local now, retention, dead_retention, window = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local history, ne, nv = ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])
if not (now and retention and dead_retention and window and ne and nv) or #ARGV ~= 7 + 4 * ne + 13 * nv then
  return redis.error_reply('ERR settle: wrong arguments')
end
local first, names = 8 + 4 * ne, {}
for i = 1, ne do names[tostring(i)] = ARGV[8 + 4 * (i - 1)] end
for i = 1, nv do
  if not names[ARGV[first + 13 * (i - 1) + 1]] then return redis.error_reply('ERR settle: bad endpoint of outcome ' .. i) end
end

-- A write that Redis allows at maxmemory opens the way for those that it would not.
rcall('ZREM', P .. 'due', '')

-- remember keeps an attempt in the history of its endpoint: those that delivered apart, so that they do not crowd out the others.
-- Of those that failed the event keeps when, status and duration for as long as it lives.
local tried = {}
local function remember(ep, id, n, o)
  local status, took = ARGV[o + 10], ARGV[o + 11]
  if ARGV[o + 3] == 'd' then
    tried['d:' .. ep] = true
    rcall('XADD', P .. 'd:' .. ep, 'MAXLEN', '~', history, '*', 'i', id, 'n', int(n), 's', status, 'd', took)
    return
  end
  tried['a:' .. ep] = true
  local at = rcall('XADD', P .. 'a:' .. ep, 'MAXLEN', '~', history, '*',
    'i', id, 'n', n, 'k', ARGV[o + 3], 's', status, 'd', took, 'm', ARGV[o + 12])
  local before = rcall('HGET', P .. 'e:' .. id, '@' .. ep) or ''
  if #before > 1000 then before = string.sub(before, string.find(before, ';', -900, true) + 1) end
  rcall('HSET', P .. 'e:' .. id, '@' .. ep, before .. at .. ' ' .. status .. ' ' .. took .. ';')
end

-- failures returns the record of an endpoint that has failed of late, nil if it has not.
local records, fail_any, counted = {}, nil, {}
local function failures(ep)
  if fail_any == nil then fail_any = rcall('EXISTS', P .. 'fail') == 1 end
  if records[ep] == nil then
    local v = fail_any and rcall('HGET', P .. 'fail', ep)
    local row, since, tries, bad = string.match(v or '', '^(%d+) (%d+) (%d+) (%d+)$')
    records[ep] = row and {row = tonumber(row), since = tonumber(since), tries = tonumber(tries), bad = tonumber(bad)} or false
  end
  return records[ep] or nil
end

local function set_failures(ep, r)
  records[ep], counted[ep] = r or false, true
end

-- A ramp of this width is as good as none. The clocks of replicas differ by less than skew (ms).
local full_width, skew = 128, 1000

local function open(ep, b, since, step, hint)
  local cool = math.max(math.min(b.cool * 2 ^ step, b.most), math.min(hint, b.most))
  set_control(ep, {state = 'open', since = since, till = now + cool, step = step, token = '-'})
  set_failures(ep, nil)
  return string.format('open %.0f %d', now + cool, step)
end

-- judge has the breaker of an endpoint learn from a settled lease, whose outcome begins at o. It returns what became of the breaker, if
-- that changed.
local function judge(ep, breaker, token, sign, o)
  local c = control(ep)
  local began = c and now - tonumber(ARGV[o + 11])
  if c and c.state == 'ramp' and began < c.since - skew then return nil end -- it says nothing of the time after
  if (c and c.state ~= 'open' and c.state ~= 'ramp') or (c and c.state == 'open' and c.token ~= token) then return nil end
  if not c and (sign < 2 or breaker == '' or (sign == 2 and not failures(ep))) then return nil end
  local hint = tonumber(ARGV[o + 8])
  local need, ratio, window, cool, most = string.match(breaker, '^(%S+) (%S+) (%S+) (%S+) (%S+)$')
  local b = need and {cool = tonumber(cool), most = tonumber(most)}
  if not b then return set_control(ep, nil) end -- it was turned off

  if c and c.state == 'open' then
    if sign == 3 then return open(ep, b, c.since, c.step + 1, hint) end
    if sign == 2 then
      set_control(ep, {state = 'ramp', since = now, till = now, step = c.step, width = 1, out = 0})
      return 'closed'
    end
    return set_control(ep, {state = 'open', since = c.since, till = now, step = c.step, token = '-'})
  elseif c then
    c.out = math.max(c.out - 1, 0)
    if sign == 2 then c.width = c.width + 1 end
    if sign == 3 then c.width = math.floor(c.width / 2) end
    if c.width == 0 then return open(ep, b, now, c.step + 1, hint) end
    return set_control(ep, c.width < full_width and c or nil)
  end

  local r = failures(ep) or {row = 0, since = now, tries = 0, bad = 0}
  local over = now - r.since > tonumber(window)
  if over then r.since, r.tries, r.bad = now, 0, 0 end
  r.tries = r.tries + 1
  if sign == 2 then
    r.row = 0
    return set_failures(ep, not over and r or nil)
  end
  r.row, r.bad = r.row + 1, r.bad + 1
  set_failures(ep, r)
  if math.max(r.row, r.bad >= tonumber(ratio) * r.tries and r.bad or 0) >= tonumber(need) then return open(ep, b, now, 0, hint) end
end

-- may_lease says whether the caller may have a successor of the endpoint at once, and notes that it has.
local function may_lease(ep, span, rate)
  local c = control(ep)
  if c and (c.state ~= 'ramp' or c.out >= c.width) then return false end
  if rate ~= '' then
    if allowance(ep, rate, now) == 0 then return false end
    spend(ep, rate, now, 1)
  end
  if c then
    c.out, c.till = c.out + 1, now + span
    set_control(ep, c)
  end
  return true
end

-- What outcomes of one call have in common is read once and written once: most of what a command costs is that it is called.
-- want asks for fields of a hash, fetch reads what is wanted, have gives a value (false: there is none), put changes it (false: it
-- goes), and expire says for how long (ms) the hash lives on (false: it does not expire now). save writes all that. A table that
-- grows costs more than the rest of this: room has those of the fields that have a fixed name, each false.
local hashes, keys, wanting = {}, {}, {}
local function want(key, fields, room)
  local h = hashes[key]
  if not h then
    h = {has = room or {}, want = fields, put = false, span = false}
    hashes[key], keys[#keys + 1], wanting[#wanting + 1] = h, key, key
    return
  end
  if not h.want then h.want, wanting[#wanting + 1] = {}, key end
  if not h.asked then
    h.asked = {}
    for i = 1, #h.want do h.asked[h.want[i]] = true end
  end
  for i = 1, #fields do
    local field = fields[i]
    if h.has[field] == nil and not h.asked[field] then h.want[#h.want + 1], h.asked[field] = field, true end
  end
end

local function fetch()
  for i = 1, #wanting do
    local h = hashes[wanting[i]]
    local fields, has = h.want, h.has
    if fields[1] then
      local v = hmget(wanting[i], fields)
      for j = 1, #fields do has[fields[j]] = v[j] end
    end
    h.want = nil
  end
  wanting = {}
end

local function have(key, field) return hashes[key].has[field] end

local function put(key, field, value)
  local h = hashes[key]
  if not h.put then h.put = {o = false, h = false, k = false, x = false} end
  h.has[field], h.put[field] = value, true
end

local function expire(key, span) hashes[key].span = span end

local function save()
  for _, key in ipairs(keys) do
    local h = hashes[key]
    if h.put then
      local set, del, n = {}, {}, 0
      for field, changed in pairs(h.put) do
        local v = changed and h.has[field]
        if v then
          set[n + 1], set[n + 2], n = field, v, n + 2
        elseif changed then
          del[#del + 1] = field
        end
      end
      hset(key, set)
      many('HDEL', key, del)
    end
    if h.span then rcall('PEXPIRE', key, int(h.span)) end
  end
end

-- What enters and leaves the endpoints' queues is written at the end.
local queues = {}
local function queue(ep)
  if not queues[ep] then queues[ep] = {add = {}, drop = {}} end
  return queues[ep]
end

local function enqueue(ep, id, due)
  local q = queue(ep)
  q.add[#q.add + 1], q.add[#q.add + 2] = int(due), id
  q.due = math.min(q.due or due, due)
end

-- Of a line this call knows its open head, ids of those that wait, as far as they were read, how many of these were taken (at), and how
-- many outcomes there are of it (n).
local lines, left = {}, {}
local function heads_of(rk, ep) return {h = have(rk, 'h'), [ep] = have(rk, 'h:' .. ep)} end
local function line_of(ep, record)
  local name = ep .. ' ' .. record
  local l = lines[name]
  if not l then
    l = {ep = ep, rk = P .. record, key = P .. 'l:' .. name, at = 0, n = 0, ids = false}
    lines[name] = l
  end
  return l
end

local function head(l)
  if l.head == nil then l.head = head_of(heads_of(l.rk, l.ep), l.ep) end
  return l.head
end

-- ahead has the first n that wait in a line read, if there are so many.
local function ahead(l, n)
  l.ids = l.ids or {}
  local from = #l.ids
  if l.at + n <= from or l.whole then return end
  local more = rcall('LRANGE', l.key, from, l.at + n - 1)
  for i = 1, #more do l.ids[from + i] = more[i] end
  l.whole = #l.ids < l.at + n
end

-- rows_of returns the rows of the head of a line and of what waits behind it, at most most of them, and no more than a small part of
-- what an answer may hold.
local function rows_of(l, most, token)
  if most > 1 then ahead(l, most - 1) end
  local ep, ids, bodies, rows, bytes = l.ep, {}, {}, {}, 0
  for i = 1, most do
    local id = i == 1 and l.head or l.ids[l.at + i - 1]
    if not id then break end
    ids[i], bodies[i] = id, P .. 'b:' .. id
    want(P .. 'e:' .. id, {ep, 'q', 't'})
  end
  fetch()
  bodies = rcall('MGET', unpack(bodies))
  for i, id in ipairs(ids) do
    local e = P .. 'e:' .. id
    local s, attempts, why, _, text = parse_state(have(e, ep) or '-')
    if bytes > 65536 or (i > 1 and s ~= 'w') then break end
    rows[i], bytes = row(ep, id, attempts, why, have(e, 'q'), have(e, 't'), token, text, bodies[i] or ''), bytes + #(bodies[i] or '')
  end
  return rows
end

-- advance gives the place at the head of the line to the next in it: one that was attempted already is leased, its outcome follows in
-- this call. It returns the rows that the caller wants of the line, if it gets that.
local lined
local coming, passed = {}, {}
local function advance(l, span, rate, wanted, token)
  if not lined then -- which endpoints have lines at all
    lined = {}
    for i = 1, ne do lined[i] = ARGV[8 + 4 * (i - 1)] end
    local n = hmget(P .. 'wait', lined)
    for i = 1, ne do lined[lined[i]] = tonumber(n[i]) or 0 end
  end
  local ep = l.ep
  local nxt, e, s, attempts, why, _, text, attempted
  repeat -- an event that Redis has evicted is passed over, and one that was delivered after its holder had lost the line
    if lined[ep] > 0 then ahead(l, l.n) end
    nxt = lined[ep] > 0 and l.ids[l.at + 1]
    l.head, l.moved = nxt, true
    if not nxt then return nil end
    l.at, lined[ep], left[ep] = l.at + 1, lined[ep] - 1, true
    e, attempted = P .. 'e:' .. nxt, coming[nxt .. ' ' .. ep]
    if not attempted then
      want(e, {ep, 'q', 't'})
      fetch()
    end
    s, attempts, why, _, text = parse_state(have(e, ep) or '-')
  until s == 'w'
  if attempted then
    may_lease(ep, span, rate) -- it counts
    put(e, ep, pack_state('l', attempts, why, token, text))
    passed[#passed + 1] = {e = e, ep = ep, id = nxt, till = now + span}
    return nil
  end
  if wanted > 0 and may_lease(ep, span, rate) then
    put(e, ep, pack_state('l', attempts, why, token, text))
    enqueue(ep, nxt, now + span)
    if rate ~= '' or control(ep) then wanted = 1 end
    return rows_of(l, wanted, token)
  end
  put(e, ep, pack_state('q', 0, why, '', text))
  enqueue(ep, nxt, now)
  return nil
end

-- close ends a delivery; the last one of an event lets the event expire, the last one of a record the record.
local function close(ep, span, rate, id, e, st, dead, wanted, token)
  local record = have(e, 'w')
  local rk, open, deads = P .. record, tonumber(have(e, 'o') or 1) - 1, tonumber(have(e, 'x') or 0)
  local q = queue(ep)
  q.drop[#q.drop + 1] = id
  put(e, ep, st)
  put(e, 'o', int(open))
  if dead then
    deads = deads + 1
    put(e, 'x', deads)
    put(rk, 'k', now + dead_retention)
    rcall('ZREMRANGEBYSCORE', P .. 'x:' .. ep, '-inf', now - dead_retention)
    rcall('ZADD', P .. 'x:' .. ep, now, id)
    rcall('PEXPIRE', P .. 'x:' .. ep, dead_retention)
    rcall('ZADD', P .. 'dead', now, ep)
    rcall('ZREMRANGEBYSCORE', P .. 'dead', '-inf', now - dead_retention)
    rcall('PEXPIRE', P .. 'dead', dead_retention)
  end
  if open <= 0 then
    local span_ = outlive(have(e, 's'), id, deads > 0 and dead_retention or retention)
    expire(e, span_)
    rcall('PEXPIRE', P .. 'b:' .. id, int(span_))
  end
  local left = (tonumber(have(rk, 'o')) or 1) - 1
  put(rk, 'o', left > 0 and int(left))
  expire(rk, left <= 0 and kept(now, have(rk, 'k'), math.max(window, retention)))
  local l = line_of(ep, record)
  if head(l) == id then return advance(l, span, rate, wanted, token) end
end

-- repeated answers an outcome that is settled again: the successor, if it was leased to the same holder, for the time of a
-- new lease.
local function repeated(ep, span, record, token)
  local l = record and line_of(ep, record)
  if not (l and head(l)) then return {1} end
  local e = P .. 'e:' .. l.head
  want(e, {ep, 'q', 't'})
  fetch()
  if not have(e, ep) then return {1} end
  local s, _, _, holder = parse_state(have(e, ep))
  if s ~= 'l' or holder ~= token then return {1} end
  enqueue(ep, l.head, now + span)
  return {1, rows_of(l, 1, token)}
end

local function settle(o)
  local id, token, kind, reason = ARGV[o], ARGV[o + 2], ARGV[o + 3], ARGV[o + 5]
  local wanted, sign = num(ARGV[o + 6]), num(ARGV[o + 7])
  local at = 8 + 4 * (num(ARGV[o + 1]) - 1)
  local ep, span, rate = ARGV[at], num(ARGV[at + 1]), ARGV[at + 2]
  local e = P .. 'e:' .. id
  if not have(e, ep) then return {0} end
  local s, attempts, why, holder, text = parse_state(have(e, ep))
  local mine = holder == token
  if s == 'd' or s == 'x' or s == 'm' then
    if mine and wanted > 0 then return repeated(ep, span, have(e, 'w'), token) end
    if mine then return {1} end
    return {0}
  end
  if kind ~= 'd' and not (mine and s == 'l') then
    return {mine and 1 or 0}
  end
  if sign > 0 then
    attempts = math.max(attempts, num(ARGV[o + 9]))
    remember(ep, id, attempts, o)
  end
  local breaker
  if kind ~= 'g' then breaker = judge(ep, ARGV[at + 3], token, sign, o) end
  if kind == 'd' or kind == 'x' then
    local st = pack_state(kind, attempts, why, token, kind == 'x' and reason or ARGV[1] .. ' ' .. ARGV[o + 10] .. ' ' .. ARGV[o + 11])
    local line = close(ep, span, rate, id, e, st, kind == 'x', wanted, token)
    return breaker and {1, line or false, breaker} or {1, line}
  end
  if kind == 'g' then set_control(ep, {state = 'gone', since = now}) end
  put(e, ep, pack_state('q', attempts, why, token, text))
  enqueue(ep, id, tonumber(ARGV[o + 4]))
  return breaker and {1, false, breaker} or {1}
end

for o = first, #ARGV, 13 do
  local ep = names[ARGV[o + 1]]
  want(P .. 'e:' .. ARGV[o], {ep, 'w', 'o', 'x', 's'}, {w = false, o = false, x = false, s = false})
  coming[ARGV[o] .. ' ' .. ep] = true
end
fetch()
for o = first, #ARGV, 13 do
  local record = have(P .. 'e:' .. ARGV[o], 'w')
  if record then
    local l = line_of(names[ARGV[o + 1]], record)
    if l.n == 0 then want(l.rk, {'h:' .. l.ep, 'h', 'o', 'k'}, {h = false, o = false, k = false}) end
    l.n = l.n + 1
  end
end
fetch()
local out = {}
for i = 1, nv do out[i] = settle(first + 13 * (i - 1)) end
for _, d in ipairs(passed) do -- the outcome that was to follow was another holder's
  if string.sub(have(d.e, d.ep), 1, 1) == 'l' then enqueue(d.ep, d.id, d.till) end
end
for _, l in pairs(lines) do
  if l.moved then
    local heads = heads_of(l.rk, l.ep)
    set_head(heads, l.ep, l.head)
    put(l.rk, 'h:' .. l.ep, heads[l.ep])
    if have(l.rk, 'h') then put(l.rk, 'h', heads.h) end
  end
end
save()
for ep, q in pairs(queues) do
  many('ZADD', P .. 'q:' .. ep, q.add)
  many('ZREM', P .. 'q:' .. ep, q.drop)
end
for key in pairs(tried) do rcall('PEXPIRE', P .. key, math.max(retention, dead_retention)) end
for i = 1, ne do
  local ep = ARGV[8 + 4 * (i - 1)]
  if changed[ep] then
    retouch(ep)
  elseif queues[ep] and queues[ep].due then
    touch(ep, queues[ep].due)
  elseif rcall('EXISTS', P .. 'q:' .. ep) == 0 then
    rcall('ZREM', P .. 'due', ep)
  end
  local r = records[ep]
  if counted[ep] and r then
    rcall('HSET', P .. 'fail', ep, r.row .. ' ' .. r.since .. ' ' .. r.tries .. ' ' .. r.bad)
    rcall('PEXPIRE', P .. 'fail', math.max(retention, dead_retention))
  elseif counted[ep] then
    rcall('HDEL', P .. 'fail', ep)
  end
end
for _, l in pairs(lines) do
  if l.at > 0 then rcall('LTRIM', l.key, l.at, -1) end
end
for ep in pairs(left) do
  if lined[ep] > 0 then rcall('HSET', P .. 'wait', ep, lined[ep]) else rcall('HDEL', P .. 'wait', ep) end
end
flush()
return out
