-- begin: say that the data are being moved, and carry the clock and the marker. One script, so that no relay takes the
-- part that was moved for all of it.
--
-- ARGV   this form, the form of a part, for how long (ms) a replica counts as alive after it last said so,
--        1 to begin although relays of the version before are alive, else 0
-- Returns {the form that the data had, N times: id of a relay that is alive}
-- If the form is of another version, or relays are alive, nothing was done. A store whose data have this form already
-- keeps it: what a relay of the version before has written since is added to it.
local form, partly, span, force = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4] == '1'
if not (form and partly and span and #ARGV == 4) then return redis.error_reply('ERR begin: wrong arguments') end
rcall('ZREM', P .. 'due', '')
local old = string.match(P, '^(.*})') .. ':' -- what the keys of the version before begin with

local found = rcall('GET', old .. 'form') or ''
if found ~= '' and found ~= form and found ~= partly then return {found} end

local t = rcall('TIME')
local clock = rcall('EXISTS', P .. 'clock') == 1 and P .. 'clock' or old .. 'clock'
local now = tonumber(t[1]) * 1000 + tonumber(t[2]) / 1000 + tonumber(rcall('HGET', clock, 'offset') or 0)
local answer = {found}
for _, id in ipairs(rcall('ZRANGEBYSCORE', old .. 'reps', int(now - span), '+inf')) do answer[#answer + 1] = id end
if #answer > 1 and not force then return answer end

if found ~= form then rcall('SET', old .. 'form', partly) end
for _, name in ipairs({'clock', 'marker'}) do
  local there = rcall('EXISTS', old .. name) == 1
  if there and rcall('RENAMENX', old .. name, P .. name) == 0 then rcall('UNLINK', old .. name) end
end
return answer
