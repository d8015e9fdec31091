-- An event, and the states of its deliveries (e:<id>).
--
-- The value is a head and then the body. Numbers in the head are bytes, the highest first:
--    1-3   length of the head
--    4-5   how many deliveries it has
--    6     w if the state of a delivery has 26 bytes; n if it is one letter, because none was ever leased
--    7     m if the record counts the event among those that are open, - if it is the only one (see lib/record.lua)
--    8-13  when it was accepted (ms)
--   14-19  sequence
--   20-31  call that accepted it
--   32-60  what the id lacks of the hash
--   61-63  length of the name of its record
--   64-    the states; the name of the record; the brand of its entry in the ledger (empty: none) and the endpoint of
--          each delivery, each with a tab behind it
-- The 26 bytes of a state are
--    1     letter: q queued, l leased, w waiting, d delivered, x dead, m a dead letter that was dismissed
--    2     reason: n new, r retry, d redrive, p replay, c catch-up
--    3-4   attempts
--    5-16  call whose lease held it last; zeros: none
--   17-22  when (ms) it was delivered, given up or dismissed; if it is open, when it was redriven, replayed, or caught
--          up with
--   23     status of the answer that delivered it, less 200; 255: there was none
--   24-26  how long that attempt took (ms)
-- A letter alone is that of a delivery that is new and untried. relay/store/stored.go reads the same.
--
-- An event has no expiry: trim deletes it some time after its last delivery was closed.
local byte, char, sub, find, floor = string.byte, string.char, string.sub, string.find, math.floor
local HEAD, STATE = 63, 26
local MORE = '6' -- where the mark of an event is, as SETRANGE counts
local SHORT = 14 -- characters of the hash that are in the name of a key
local NOBODY, NOTHING = string.rep('\0', 12), '\0\0\0\0'
local OPEN = {q = true, l = true, w = true} -- letters of the states of a delivery that is open

local function read3(s, at)
  local a, b, c = byte(s, at, at + 2)
  return a * 65536 + b * 256 + c
end

local function bytes3(n) return char(floor(n / 65536), floor(n / 256) % 256, n % 256) end

local function read6(s, at)
  local a, b, c, d, e, f = byte(s, at, at + 5)
  return ((((a * 256 + b) * 256 + c) * 256 + d) * 256 + e) * 256 + f
end

-- bytes6 writes a number as six bytes. Most come many times in a call.
local sixes = {}
local function bytes6(n)
  local s = sixes[-n]
  if not s then
    local high = floor(n / 16777216)
    local low = n - high * 16777216
    s = char(floor(high / 65536), floor(high / 256) % 256, high % 256,
      floor(low / 65536), floor(low / 256) % 256, low % 256)
    sixes[-n] = s
  end
  return s
end

-- pack_state writes a state. answered is its last four bytes, if it is delivered.
local function pack_state(s, attempts, reason, token, when, answered)
  if attempts > 65535 then attempts = 65535 end
  if #token ~= 12 then token = sub(token .. NOBODY, 1, 12) end
  return s .. reason .. char(floor(attempts / 256), attempts % 256) .. token .. bytes6(when) .. (answered or NOTHING)
end

-- pack_answer writes the end of the state of a delivery that an answer with this status has delivered after so many ms.
local function pack_answer(status, took)
  status = status - 200
  if status < 0 or status > 99 then status = 255 end
  return char(status) .. bytes3(min(took, 16777215))
end

-- pack_event writes an event of n deliveries, and returns the length of its head as well. states has theirs, in the
-- form that wide says; names their endpoints, each with a tab behind it.
local function pack_event(states, n, wide, more, accepted, sequence, call, rest, names, brand, record, body)
  if #call ~= 12 then call = sub(call .. NOBODY, 1, 12) end
  local len = HEAD + #states + #record + #brand + 1 + #names
  return bytes3(len) .. char(floor(n / 256), n % 256) .. (wide and 'w' or 'n') .. (more and 'm' or '-')
    .. bytes6(accepted) .. bytes6(sequence) .. call .. rest .. bytes3(#record) .. states .. record .. brand .. '\t'
    .. names .. body, len
end

-- unpack_event reads an event from its value, or as much of that as has the head:
--   n, wide, more, brand, record  as above; what else is in head is read where it is needed
--   names                         where the first endpoint is
--   body                          if whole says that the value is all of it
local function unpack_event(id, value, whole)
  local a, b, c, d, e, form, more = byte(value, 1, 7)
  local len, n, wide = a * 65536 + b * 256 + c, d * 256 + e, form == 119
  local at = HEAD + n * (wide and STATE or 1) + 1
  local to = at + read3(value, 61)
  local tab = find(value, '\t', to, true)
  return {id = id, head = value, len = len, n = n, wide = wide, more = more == 109, states = {false}, asked = 0,
    index = false, names = tab + 1, open = false, brand = sub(value, to, tab - 1), record = sub(value, at, to - 1),
    from = false, to = false, body = whole and sub(value, len + 1)}
end

local function accepted_at(v) return read6(v.head, 8) end

local function sequence_of(v) return read6(v.head, 14) end

local function call_of(v) return sub(v.head, 20, 31) end

local function rest_of(v) return sub(v.head, 32, 60) end

-- read_event reads an event, if whole says so with its body; nil: it is not there.
local function read_event(id, whole)
  local key = P .. 'e:' .. id
  if whole then
    local value = rcall('GET', key)
    return value and unpack_event(id, value, true) or nil
  end
  local value = rcall('GETRANGE', key, '0', '255')
  if value == '' then return nil end
  local len = read3(value, 1)
  if len > #value then value = rcall('GETRANGE', key, 0, len - 1) end
  return unpack_event(id, value)
end

-- index_of returns the place of each endpoint among an event's deliveries.
local function index_of(v)
  if not v.index then
    v.index = {}
    local at = v.names
    for i = 1, v.n do
      local tab = find(v.head, '\t', at, true)
      v.index[sub(v.head, at, tab - 1)], at = i, tab + 1
    end
  end
  return v.index
end

-- place_of returns the place of one endpoint, nil if the event is not owed to it. Most events are asked for one or two:
-- for these, the others need not be read.
local function place_of(v, ep)
  if v.index or v.asked == 2 then return index_of(v)[ep] end
  v.asked = v.asked + 1
  local before = find(v.head, '\t' .. ep .. '\t', v.names - 1, true)
  if not before or before + #ep + 1 > v.len then return nil end
  local place, at = 1, v.names
  while at <= before do
    place, at = place + 1, find(v.head, '\t', at, true) + 1
  end
  return place
end

-- header_of reads an event, and the first line of its body (see encodeBody), which is nil if there is none.
local function header_of(id)
  local v = read_event(id)
  if not v then return nil end
  local line = string.match(rcall('GETRANGE', P .. 'e:' .. id, v.len, v.len + 4095), '^[^\n]+')
  local ok, header = pcall(cjson.decode, line or '')
  return v, ok and header or nil
end

-- full_id is the id of an event with all of the hash.
local function full_id(v) return sub(v.id, 1, SHORT) .. rest_of(v) .. sub(v.id, SHORT + 1) end

-- state_of returns the state of an event's delivery to an endpoint: s (its letter), attempts, reason, token (empty:
-- none), when (0: never), and its place. It returns nil if the event is not owed to that endpoint.
local function state_of(v, ep)
  local i = place_of(v, ep)
  if not i then return nil end
  local d = v.states[i]
  if d then return d end
  if v.wide then
    local o = HEAD + (i - 1) * STATE
    local high, low = byte(v.head, o + 3, o + 4)
    local token = sub(v.head, o + 5, o + 16)
    d = {s = sub(v.head, o + 1, o + 1), reason = sub(v.head, o + 2, o + 2), attempts = high * 256 + low,
      token = token == NOBODY and '' or token, when = read6(v.head, o + 17), place = i, answered = false, set = false}
  else
    d = {s = sub(v.head, HEAD + i, HEAD + i), reason = 'n', attempts = 0, token = '', when = 0, place = i,
      answered = false, set = false}
  end
  v.states[i] = d
  return d
end

-- open_of returns how many deliveries of an event are open.
local function open_of(v)
  if not v.open then
    local open, step = 0, v.wide and STATE or 1
    for i = 1, v.n do
      local d = v.states[i]
      local s = d and byte(d.s) or byte(v.head, HEAD + (i - 1) * step + 1)
      if s == 113 or s == 108 or s == 119 then open = open + 1 end -- q, l, w
    end
    v.open = open
  end
  return v.open
end

-- add_state adds a delivery to an endpoint that the event was not owed to so far. set_state says in which state it is.
local function add_state(v, ep)
  local i = v.n + 1
  open_of(v)
  index_of(v)[ep] = i
  v.n, v.states[i], v.grown = i, {s = '-', place = i}, true
  return v.states[i]
end

-- set_state changes a state. save writes it down.
local function set_state(v, d, s, attempts, reason, token, when, answered)
  if v.open then v.open = v.open + (OPEN[s] and 1 or 0) - (OPEN[d.s] and 1 or 0) end
  d.s, d.attempts, d.reason, d.token, d.when, d.answered, d.set = s, attempts, reason, token, when, answered, true
  local i = d.place
  if not v.from then v.from, v.to = i, i else v.from, v.to = min(v.from, i), max(v.to, i) end
end

-- set_more notes that the record counts the event.
local function set_more(v)
  if not v.more then v.more, v.marked = true, true end
end

-- set_brand notes the brand of its entry in the ledger.
local function set_brand(v, brand)
  if v.brand ~= brand then v.brand, v.grown = brand, true end
end

-- bytes_of returns the state at a place, in the wide form.
local function bytes_of(v, i)
  local d = v.states[i]
  if d and d.set then return pack_state(d.s, d.attempts, d.reason, d.token, d.when, d.answered) end
  if v.wide then return sub(v.head, HEAD + (i - 1) * STATE + 1, HEAD + i * STATE) end
  return pack_state(sub(v.head, HEAD + i, HEAD + i), 0, 'n', '', 0)
end

-- untried says whether all deliveries of an event whose states are letters are still new and untried.
local function untried(v)
  for i = v.from or 1, v.to or 0 do
    local d = v.states[i]
    if d and not (d.attempts == 0 and d.reason == 'n' and d.token == '' and d.when == 0) then return false end
  end
  return true
end

-- rewrite writes an event anew, with states in the wide form.
local function rewrite(v)
  local states, names, value = {}, {}, nil
  for name, i in pairs(index_of(v)) do names[i] = name .. '\t' end
  for i = 1, v.n do states[i] = bytes_of(v, i) end
  local body = v.body or sub(rcall('GET', P .. 'e:' .. v.id), v.len + 1)
  value, v.len = pack_event(table.concat(states), v.n, true, v.more, accepted_at(v), sequence_of(v), call_of(v),
    rest_of(v), table.concat(names), v.brand, v.record, body)
  rcall('SET', P .. 'e:' .. v.id, value)
  v.head, v.wide = sub(value, 1, v.len), true
end

-- save writes down what has changed of an event. As long as the form of its head stays, that is a few bytes.
local function save(v)
  if v.grown or (v.from and not v.wide and not untried(v)) then
    rewrite(v)
  else
    if v.from then
      local states = v.from == v.to and v.wide and bytes_of(v, v.from)
      if not states then
        local all = {}
        for i = v.from, v.to do
          all[#all + 1] = v.wide and bytes_of(v, i) or v.states[i] and v.states[i].s or sub(v.head, HEAD + i, HEAD + i)
        end
        states = table.concat(all)
      end
      rcall('SETRANGE', P .. 'e:' .. v.id, int(HEAD + (v.from - 1) * (v.wide and STATE or 1)), states)
    end
    if v.marked then rcall('SETRANGE', P .. 'e:' .. v.id, MORE, 'm') end
  end
  v.from, v.to, v.marked, v.grown = false, false, nil, nil
end

-- in_order says of the state of a delivery, nil if there is none, whether others wait for it.
--
-- The head of a record at an endpoint is the one delivery that others wait for. Its event is in the record's field
-- h:<endpoint>, or without that in h, and counts as long as in_order says yes. So one field does for all endpoints of
-- an event, and nobody has to clear it when the deliveries are closed.
local function in_order(d) return d and OPEN[d.s] and d.reason ~= 'd' and d.reason ~= 'p' end

-- row is a leased delivery as lease.lua and settle.lua answer it: {endpoint, id, attempts, reason, sequence, accepted
-- at, when its age began, token, body}. Its age begins with its event, or later, if it was redriven, replayed, or
-- caught up with.
local function row(v, ep, token)
  local d = state_of(v, ep)
  local at = accepted_at(v)
  return {ep, full_id(v), d.attempts, d.reason, sequence_of(v), at, d.when > 0 and d.when or at, token, v.body}
end

-- lease hands the delivery to the holder of the token, and returns its row. The caller writes into the endpoint's queue
-- that the delivery is due when the lease lapses, and saves the event.
local function lease(v, ep, token)
  local d = state_of(v, ep)
  local reason = d.reason
  if d.s == 'l' and d.token ~= token and reason == 'n' then reason = 'r' end
  set_state(v, d, 'l', d.attempts, reason, token, d.when)
  return row(v, ep, token)
end
