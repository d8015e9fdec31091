-- keys: move what is in some keys of the version before. One script, so that nothing is in both forms, or in neither.
--
-- ARGV   now (ms), N times: name of a key, without {tag}:
-- Returns {{events, records of waybills, entries of the ledger, and other keys that were moved},
--        {names of which something is left to move}, {N times: key that cannot be read, why}}
-- Events come first, then all that names them. Chunks of the list of events are moved by chunk.lua. Asked again, it
-- goes on with what is left.
local now = tonumber(ARGV[1])
if not now then return redis.error_reply('ERR keys: wrong arguments') end
rcall('ZREM', P .. 'due', '')

-- What only those relays needed that have written it.
local dropped = {r = true, rep = true, only = true, reps = true, try = true, ready = true, wait = true, due = true,
  log = true, logt = true, c = true, q = true}

local function move(name)
  local family = string.match(name, '^[^:]*')
  local rest = sub(name, #family + 2)
  if family == 'e' then return move_unlisted(rest, now) end
  if family == 'b' then return rcall('EXISTS', O .. 'e:' .. rest) == 0 and rcall('UNLINK', O .. name) and nil end
  if family == 'w' or family == 'n' or family == 'yh' then return move_record(name, family) end
  if family == 's' then return move_entry(name) end
  if family == 'l' then return move_line(name) end
  if family == 'x' then return drop_dead(name) end
  if dropped[family] then
    rcall('UNLINK', O .. name)
    return nil
  end
  return move_other(name, family)
end

local left, bytes = {}, 0
for i = 2, #ARGV do
  local more = bytes > 262144 or attempt(ARGV[i], move, ARGV[i]) -- Redis has time for others
  if type(more) == 'number' then bytes = bytes + more elseif more then left[#left + 1] = ARGV[i] end
end
return {{counts.events, counts.records, counts.entries, counts.others}, left, problems}
