-- The state of a delivery, and its lease.

local function pack_state(s, attempts, reason, token, text)
  if attempts == 0 and reason == 'n' and token == '' and (text or '') == '' then return s end
  return s .. attempts .. ' ' .. reason .. ' ' .. token .. ' ' .. (text or '')
end

local function parse_state(v)
  if #v == 1 then return v, 0, 'n', '', '' end
  local s, attempts, reason, token, text = string.match(v, '^(%a)(%d+) (%a) (%S*) (.*)$')
  return s, tonumber(attempts), reason, token, text
end

-- in_order says of the state of a delivery whether others wait for it.
--
-- The head of a record at an endpoint is the one delivery that others wait for. Its event is in the record's field
-- h:<endpoint>, or without that in h, and counts as long as in_order says yes. So one field does for all endpoints of
-- an event, and nobody has to clear it when the deliveries are closed one by one.
local function in_order(st)
  local s, _, reason = parse_state(st or '-')
  return (s == 'q' or s == 'l' or s == 'w') and reason ~= 'd' and reason ~= 'p'
end

-- open_since says when the age of a delivery began: with its event, or later, if it was redriven, replayed, or caught
-- up with.
local function open_since(reason, text, at)
  return (reason == 'd' or reason == 'p' or reason == 'c') and tonumber(text) or tonumber(at)
end

-- row is a leased delivery as lease.lua and settle.lua answer it: {endpoint, id, attempts, reason, sequence, accepted
-- at, open since, token, body}. The body is empty if Redis has lost it; it is read, unless it is given.
local function row(ep, id, attempts, reason, seq, at, token, text, body)
  body = body or rcall('GET', P .. 'b:' .. id) or ''
  return {ep, id, attempts, reason, seq, at, open_since(reason, text, at), token, body}
end

-- lease hands the delivery to the holder of the token, and returns its row. The caller writes into the endpoint's queue
-- that the delivery is due when the lease lapses.
local function lease(ep, id, st, seq, at, token, body)
  local s, attempts, reason, held, text = parse_state(st)
  if s == 'l' and held ~= token and reason == 'n' then reason = 'r' end
  rcall('HSET', P .. 'e:' .. id, ep, pack_state('l', attempts, reason, token, text))
  return row(ep, id, attempts, reason, seq, at, token, text, body)
end
