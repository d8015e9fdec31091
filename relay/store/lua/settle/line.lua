-- What waits behind the deliveries of a call.

-- Of a line the call knows the ids that wait, as far as they were read (its array), and how many of these it has taken
-- off the line (at).
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

-- read_ahead reads the next n ids of a line, if the line has that many. If it has to read, it reads at least more ids.
local function read_ahead(l, n, more)
  local from = #l
  if l.at + n <= from or l.whole then return end
  local to = max(l.at + n, from + more)
  local ids = rcall('LRANGE', l.key, from, to - 1)
  for i = 1, #ids do l[from + i] = ids[i] end
  l.whole = #l < to
end

-- due_of reads what is needed to lease a delivery: it returns its event, and its state as parse_state does.
local function due_of(id, ep)
  local v = event(id)
  if v.states[ep] == nil or not v.sequence then
    local f = rcall('HMGET', v.key, 'q', 't', ep)
    v.sequence, v.at = f[1], f[2]
    if v.states[ep] == nil then v.states[ep] = f[3] end
  end
  return v, parse_state(v.states[ep] or '-')
end

-- rows_of returns rows had + 1 to most of a line, of which row 1 is the head. It stops after 64 KiB of bodies.
local function rows_of(r, e, had, most, token)
  local l, ep = line_of(r, e), e.name
  if most > 1 then read_ahead(l, most - 1, 1) end

  local ids, bodies = {}, {}
  for i = had + 1, most do
    local id = i == 1 and head_of(r, e) or l[l.at + i - 1]
    if not id then break end
    ids[#ids + 1], bodies[#bodies + 1] = id, P .. 'b:' .. id
  end
  if not ids[1] then return {} end
  bodies = rcall('MGET', unpack(bodies))

  local rows, bytes = {}, 0
  for i = 1, #ids do
    local v, s, attempts, why, _, text = due_of(ids[i], ep)
    if bytes > 65536 or (had + i > 1 and s ~= 'w') then break end
    local body = bodies[i] or ''
    rows[i] = row(ep, ids[i], attempts, why, v.sequence, v.at, token, text, body)
    bytes = bytes + #body
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

-- advance makes the next waiting delivery the head of its line. If its outcome is in this call, it is leased for that.
-- Otherwise it is leased to the caller, if that is allowed, or queued. It returns the rows for the caller, or nil.
local passed = {}
local function advance(r, e, wanted, had, token)
  local ep, l, nxt = e.name, line_of(r, e), nil
  local v, s, attempts, why, _, text, here
  repeat -- passes over events that Redis has evicted, or that were delivered after their holder had lost the line
    if e.lined > 0 then
      read_ahead(l, 1, r.n[e] or 1)
      nxt = l[l.at + 1]
    else
      nxt = nil
    end
    if not nxt then
      set_head(r, e, false)
      return nil
    end

    l.at = l.at + 1
    e.lined, e.moved = e.lined - 1, true
    here = attempted(nxt, ep)
    if here then
      v = events[nxt]
      s, attempts, why, _, text = parse_state(v.states[ep] or '-')
    else
      v, s, attempts, why, _, text = due_of(nxt, ep)
    end
  until s == 'w'
  set_head(r, e, nxt)

  if here then
    take_successor(e) -- it counts, whatever the answer
    set_state(v, ep, pack_state('l', attempts, why, token, text))
    passed[#passed + 1] = {v = v, e = e, id = nxt}
    return nil
  end

  if wanted > 0 and take_successor(e) then
    local rows = rows_of(r, e, had, (e.rate ~= '' or control(ep)) and 1 or wanted, token)
    set_state(v, ep, pack_state('l', attempts, why, token, text))
    enqueue(e, nxt, now + e.lease)
    return rows
  end
  set_state(v, ep, pack_state('q', 0, why, '', text))
  enqueue(e, nxt, now)
  return nil
end
