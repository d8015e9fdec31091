-- answer: write down what the provider said of waybills. One script, so that a late answer does not undo a newer one,
-- and so that nothing fails without being in lost, if somebody is to be told.
--
-- ARGV   now (ms), token of the claim, life of an entry that failed (ms), time until another replica tells of one in
--        lost (ms), the schedule: spans (ms) separated by spaces,
--        N times: entry, verdict (l accepted, n no record yet, f refused, v nothing that concerns the waybill), code,
--                 text, uid
-- Returns N times {state: p, l, f, or empty if there is no such entry,
--        when it is asked for again (ms), 0 if it is not, its member of lost, or empty}
-- A success counts even if the claim has lapsed. Anything else that comes too late changes nothing. Asked again,
-- nothing changes.
local now, token, failed_ttl, span = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
if not (now and token and failed_ttl and span and ARGV[5]) or #ARGV % 5 ~= 0 then
  return redis.error_reply('ERR answer: wrong arguments')
end
-- A write that Redis allows at maxmemory opens the way for those that it would not.
rcall('ZREM', P .. 'due', '')

local schedule = {}
for wait in string.gmatch(ARGV[5], '%d+') do schedule[#schedule + 1] = tonumber(wait) end

-- settle ends the asking for an entry, in a state.
local function settle(entry, state, code, text, uid)
  rcall('HSET', P .. 's:' .. entry, 'u', state, 'c', code, 'm', text, 'i', uid)
  stop_asking(entry)
  if state == 'f' then retain(entry, now, failed_ttl) end
end

-- postpone has an entry asked for again after the wait, and lets it live until a day after that.
local function postpone(entry, r, wait)
  local key, due, life = P .. 's:' .. entry, now + wait, wait + 24 * 3600 * 1000
  rcall('HSET', key, 'r', r, 'x', int(due))
  rcall('HDEL', key, 't')
  rcall('ZREM', P .. 'todo', ' ' .. entry)
  rcall('ZADD', P .. 'norecord', int(due), entry)
  if rcall('PTTL', key) < life then retain(entry, now, life) end
  return due
end

-- write writes one answer down, and returns its row.
local function write(entry, verdict, code, text, uid)
  local key = P .. 's:' .. entry
  local f = rcall('HMGET', key, 'u', 't', 'x', 'r')
  local state, r = f[1], f[4]
  if not state then return {'', 0, ''} end
  if not (verdict == 'l' or (state == 'p' and f[2] == token)) then
    return {state, again_at(state, r, f[2], f[3], now), ''}
  end

  if verdict == 'l' or (verdict ~= 'n' and not r) then
    settle(entry, verdict == 'l' and 'l' or 'f', code, text, uid)
    return {verdict == 'l' and 'l' or 'f', 0, ''}
  end

  -- It is asked for again, unless the schedule has ended, the provider refuses it, or nobody wants it any more. Calls
  -- in a row that said nothing of it have the same pauses, and use up none of those between the answers.
  local since, asked, answers, vain = string.match(r or '', '^(%d+) (%d+) (%d+) (%d+)$')
  since, asked, answers, vain = since or int(now), num(asked or '0') + 1, num(answers or '0'), num(vain or '0')
  local wait = nil
  if verdict == 'n' then
    answers, vain = answers + 1, 0
    wait = schedule[answers]
  elseif verdict == 'v' then
    vain = vain + 1
    wait = schedule[vain]
  end
  local anyone = wanted(entry)
  if wait and anyone then
    if verdict == 'n' then rcall('HSET', key, 'c', code, 'm', text, 'i', uid) end
    local noted = table.concat({since, int(asked), int(answers), int(vain)}, ' ')
    return {'p', postpone(entry, noted, wait), ''}
  end

  settle(entry, 'f', code, text, uid)
  if not anyone then return {'f', 0, ''} end
  local lost = since .. ' ' .. int(asked) .. ' ' .. code .. ' ' .. entry .. ' ' .. text
  rcall('ZADD', P .. 'lost', int(now + span), lost)
  return {'f', 0, lost}
end

local out = {}
for i = 6, #ARGV, 5 do
  out[#out + 1] = write(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4])
end
return out
