-- retry: have deliveries of an endpoint that wait for their next attempt due at once. One script, so that none is moved
-- that was leased meanwhile, or whose endpoint was parked.
--
-- ARGV   now (ms), endpoint, N times: id
-- Returns {why the endpoint is parked: paused, gone, open or nothing,
--        N times: 1 it is due at once, 0 it does not wait for an attempt}
-- What waits in a line stays in its place. While the breaker is open, one delivery at most is moved, and that only if
-- none is due: the next probe. While a person has to resume the endpoint, none is.
-- Asked again, it gives the same answer, less those that were leased meanwhile.
local now, ep = tonumber(ARGV[1]), ARGV[2]
if not (now and ep) then return redis.error_reply('ERR retry: wrong arguments') end
rcall('ZREM', P .. 'due', '')

local c, queue, room = control(ep), P .. 'q:' .. ep, #ARGV
local parked = c and c.state ~= 'ramp' and c.state or ''
if parked == 'open' then
  room = 1 - #rcall('ZRANGEBYSCORE', queue, '-inf', now, 'LIMIT', 0, 1)
elseif parked ~= '' then
  room = 0
end

local out = {parked}
for i = 3, #ARGV do
  local id = ARGV[i]
  local score = rcall('ZSCORE', queue, id)
  local v = score and read_event(id)
  out[i - 1] = 0
  if v and place_of(v, ep) and state_of(v, ep).s == 'q' then
    local due = tonumber(score)
    if due > now and room > 0 then
      rcall('ZADD', queue, now, id)
      touch(ep, now)
      due, room = now, room - 1
    end
    if due <= now then out[i - 1] = 1 end
  end
end
return out
