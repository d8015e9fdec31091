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

-- rows_of returns rows had + 1 to most of a line, of which row 1 is the head. It stops after 64 KiB of bodies.
local function rows_of(r, e, had, most, token)
  local l, ep = line_of(r, e), e.name
  if most > 1 then read_ahead(l, most - 1, 1) end

  local ids, keys = {}, {}
  for i = had + 1, most do
    local id = i == 1 and head_of(r, e) or l[l.at + i - 1]
    if not id then break end
    ids[#ids + 1], keys[#keys + 1] = id, P .. 'e:' .. id
  end
  if not ids[1] then return {} end
  local values = rcall('MGET', unpack(keys))

  local rows, bytes = {}, 0
  for i = 1, #ids do
    local v = values[i] and unpack_event(ids[i], values[i], true)
    local known = events[ids[i]]
    if v and known then
      known.body = v.body
      v = known
    elseif v then
      events[ids[i]], every[#every + 1] = v, v
    end
    local d = v and state_of(v, ep)
    if not d or bytes > 65536 or (had + i > 1 and (d.s ~= 'w' or (d.reason == 'p') ~= r.again)) then break end
    rows[i] = row(v, ep, token)
    bytes = bytes + #v.body
  end
  return rows
end

-- advance makes the next waiting delivery the head of its line. If its outcome is in this call, it is leased for that.
-- Otherwise it is leased to the caller, if that is allowed, or queued. It returns the rows for the caller, or nil.
local passed = {}
local function advance(r, e, wanted, had, token)
  local ep, l, nxt, v, d, here = e.name, line_of(r, e), nil, nil, nil, nil
  repeat -- passes over events that Redis has lost, or that were delivered after their holder had lost the line
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
    v = event(nxt)
    d = v and state_of(v, ep)
    here = v and v.here and v.here[ep] -- its outcome is in this call
  until d and d.s == 'w' and (d.reason == 'p') == r.again
  set_head(r, e, nxt)

  if here then
    take_successor(e) -- it counts, whatever the answer
    set_state(v, d, 'l', d.attempts, d.reason, token, d.when)
    passed[#passed + 1] = {v = v, e = e, id = nxt}
    return nil
  end

  if wanted > 0 and take_successor(e) then
    local rows = rows_of(r, e, had, (e.rate ~= '' or control(ep)) and 1 or wanted, token)
    set_state(v, d, 'l', d.attempts, d.reason, token, d.when)
    enqueue(e, nxt, now + e.lease)
    return rows
  end
  set_state(v, d, 'q', 0, d.reason, '', d.when)
  enqueue(e, nxt, now)
  return nil
end
