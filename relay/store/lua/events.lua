-- events: a page of the list of all events, from a place in it. It changes nothing; one script, so that a page that has
-- to look at many events to find a few is few round trips. What it may look at is bounded, so that Redis has time for
-- others in between.
--
-- ARGV   o older or n newer, chunk and index of the first event to look at (past the end: the last),
--        chunk to stop before, most events to return,
--        most cost (an event in the list is 1, one that is loaded 10 or more),
--        codes of the endpoints, one after the other (none: all events)
-- Returns {chunk and index at which to go on, 1 if that is the end,
--        {{id, its head and the first line of its body, {fields of f:<id>…}, chunk and index of what comes after it}…},
--        the chunk that was left last, 0 if none was}
-- Endpoints may share a code, so the caller checks which endpoints an event is owed to. A page of newer events has no
-- end: events that come later stand at the place where to go on.
local older, chunk, at, stop = ARGV[1] == 'o', tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local most, budget, wanted = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7]
if not (chunk and at and stop and most and budget and wanted) then
  return redis.error_reply('ERR events: wrong arguments')
end

-- any says whether a text of codes, from a place in it on, may have a wanted one. If both are long, it says yes without
-- looking.
local function any(text, from)
  if wanted == '' then return true end
  if #wanted > 400 and #text > 400 then return true end
  local few, many, first = text, wanted, from
  if #wanted < #text then few, many, first = wanted, text, 1 end
  for i = first, #few - 1, 2 do
    if string.find(many, string.sub(few, i, i + 1), few == text and 1 or from, true) then return true end
  end
  return false
end

-- line_end returns where the first line of an event's body ends, nil if that is not in the part of its value, and the
-- length of its head, see lib/event.lua.
local function line_end(value)
  local a, b, c = string.byte(value, 1, 3)
  local head = a * 65536 + b * 256 + c
  return head < #value and string.find(value, '\n', head + 1, true) or nil, head
end

-- load returns the row of an event, nil if the event was deleted.
local function load(id, c, next)
  local key = P .. 'e:' .. id
  local value = rcall('GETRANGE', key, 0, 767)
  if value == '' then
    budget = budget - 10
    return nil
  end
  local line, head = line_end(value)
  if not line then
    value = rcall('GETRANGE', key, 0, head + 4095)
    line = line_end(value)
  end
  local rest = rcall('HGETALL', P .. 'f:' .. id)
  budget = budget - 10 - #value / 100 - #rest / 4
  return {id, string.sub(value, 1, line or #value), rest, c, next}
end

-- next_chunk returns the chunk next to one, in the direction of the page.
local function next_chunk(c)
  local found = older and rcall('ZREVRANGEBYSCORE', P .. 'log', '(' .. c, '-inf', 'LIMIT', 0, 1)
    or rcall('ZRANGEBYSCORE', P .. 'log', '(' .. c, '+inf', 'LIMIT', 0, 1)
  return tonumber(found[1])
end

local rows, step, over, window, left = {}, older and -1 or 1, false, 100, 0
while chunk do
  local full, v = rcall('GET', P .. 'c:' .. chunk), P .. 'v:' .. chunk
  local len = (not full or any(full, 1)) and rcall('LLEN', v) or 0
  budget = budget - 20 - (full and #full / 20 or 0)

  if older then at = min(at, len - 1) end
  while at >= 0 and at < len and #rows < most and budget > 0 do
    -- The list is read a part at a time, in the order in which it stands.
    local from = older and max(0, at - window + 1) or at
    local part = rcall('LRANGE', v, from, older and at or at + window - 1)
    if #part == 0 then break end
    while at >= from and at < from + #part and #rows < most and budget > 0 do
      local text = part[at - from + 1]
      local space = string.find(text, ' ', 1, true)
      budget = budget - 1
      -- One that is listed again (+) stands there for the endpoints that it was sent to later.
      if space and (wanted ~= '' or string.byte(text) ~= 43) and any(text, space + 1) then
        rows[#rows + 1] = load(string.sub(text, string.byte(text) == 43 and 2 or 1, space - 1), chunk, at + step)
      end
      at = at + step
    end
  end
  if at >= 0 and at < len then break end

  local nxt = next_chunk(chunk)
  if not nxt or (older and nxt < stop) or (not older and nxt >= stop) then
    over = true
    break
  end
  left, chunk, at = chunk, nxt, older and 2 ^ 30 or 0
  if #rows >= most or budget <= 0 then break end
end
return {chunk or 0, at, over and 1 or 0, rows, left}
