-- events: a page of the list of all events, from a place in it. It changes nothing; one script, so that a page that has to look
-- at thousands of events to find a few is one round trip.
--
-- ARGV   o older or n newer, chunk and index of the first event to look at (past the end: the last), chunk to stop before, most events to give, most to
--        look at, N times: endpoint (none: all events)
-- Returns {chunk and index at which to go on, 1 if that is the end,
--        {{id, {fields of e:<id>…}, head of its body, chunk and index of what comes after it}…}}
-- Going to newer ones there is no end: what comes later stands at the place where to go on.
local older, chunk, at, stop = ARGV[1] == 'o', tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local most, budget = tonumber(ARGV[5]), tonumber(ARGV[6])
if not (chunk and at and stop and most and budget) then return redis.error_reply('ERR events: wrong arguments') end
local eps = {}
for i = 7, #ARGV do eps[#eps + 1] = ARGV[i] end

local function any(text, from)
  if #eps == 0 then return true end
  for _, ep in ipairs(eps) do
    if string.find(text, code(ep), from, true) then return true end
  end
end

-- load gives what is known of an event, if it is still there and owed to one of the endpoints.
local function load(id, c, next)
  local fields = rcall('HGETALL', P .. 'e:' .. id)
  if #fields == 0 then return nil end
  local owed = #eps == 0
  for i = 1, #fields, 2 do
    for _, ep in ipairs(eps) do owed = owed or fields[i] == ep end
  end
  if not owed then return nil end
  local head = string.match(rcall('GETRANGE', P .. 'b:' .. id, 0, 511), '^[^\n]*\n')
    or string.match(rcall('GET', P .. 'b:' .. id) or '', '^[^\n]*\n') or ''
  return {id, fields, head, c, next}
end

-- beside is the chunk next to one, in the direction of the page.
local function beside(c)
  local found = older and rcall('ZREVRANGEBYSCORE', P .. 'log', '(' .. c, '-inf', 'LIMIT', 0, 1)
    or rcall('ZRANGEBYSCORE', P .. 'log', '(' .. c, '+inf', 'LIMIT', 0, 1)
  return tonumber(found[1])
end

local rows, step, over = {}, older and -1 or 1, false
while chunk do
  local full = rcall('GET', P .. 'c:' .. chunk)
  local all = {}
  if not full or any(full, 1) then all = rcall('LRANGE', P .. 'v:' .. chunk, 0, -1) end
  budget = budget - 20 - #all
  if older then at = min(at, #all - 1) end
  while at >= 0 and at < #all and #rows < most and budget > 0 do
    local text = all[at + 1]
    local space = string.find(text, ' ', 1, true)
    -- One that is listed again (+) stands there for the endpoints that it was sent to later.
    if space and (#eps > 0 or string.byte(text) ~= 43) and any(text, space + 1) then
      budget = budget - 10
      rows[#rows + 1] = load(string.sub(text, string.byte(text) == 43 and 2 or 1, space - 1), chunk, at + step)
    end
    at = at + step
  end
  if at >= 0 and at < #all then break end
  local nxt = beside(chunk)
  if not nxt or (older and nxt < stop) or (not older and nxt >= stop) then
    over = true
    break
  end
  chunk, at = nxt, older and 2 ^ 30 or 0
  if #rows >= most or budget <= 0 then break end
end
return {chunk or 0, at, over and 1 or 0, rows}
