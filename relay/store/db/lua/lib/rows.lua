-- Rows of statistics (m:, m5:, mh:).

local digits = '0123456789abcdefghijklmnopqrstuvwxyz'
local function base36(n)
  local s = ''
  repeat
    local d = n % 36
    s = string.sub(digits, d + 1, d + 1) .. s
    n = (n - d) / 36
  until n == 0
  return s
end

-- add returns a row with the numbers of another one added; gauges (K to N) are kept if they are larger. Only these are
-- written anew: most numbers of a row stay as they are.
local function add(row, more, counts)
  for place, v in string.gmatch(more, '([A-_])([0-9a-z]+)') do
    local at = string.find(row, place, 1, true)
    if at then
      local _, last, was = string.find(row, '^([0-9a-z]+)', at + 1)
      local value, old = tonumber(v, 36), tonumber(was, 36)
      if counts and place >= 'K' and place <= 'N' then value = max(value, old) else value = value + old end
      row = string.sub(row, 1, at) .. base36(value) .. string.sub(row, last + 1)
    else
      row = row .. place .. v
    end
  end
  return row
end

-- bounded returns a row without its smallest numbers, if it is longer than 64 bytes: Redis would keep its hash in twice
-- the memory (hash-max-listpack-value).
local MOST = 64
local function bounded(row)
  while #row > MOST do
    local least, from, to = math.huge, 0, 0
    for first, v, next in string.gmatch(row, '()[A-_]([0-9a-z]+)()') do
      local n = tonumber(v, 36)
      if n < least then least, from, to = n, first, next end
    end
    row = string.sub(row, 1, from - 1) .. string.sub(row, to)
  end
  return row
end
