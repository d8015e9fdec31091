-- What holds an endpoint back (ctl), and when it is looked at (due).

-- control returns what holds an endpoint back, nil if nothing does. In ctl it is the state, since when (ms), and more:
--   paused, gone                     a person resumes it
--   open <till> <step> <token>       the breaker: nothing is leased before till (ms), and then one delivery as a probe,
--                                    under this token ("-": none is under way); step is how many probes have failed
--   ramp <till> <step> <width> <out> the endpoint gets more and more at a time: at most width leases, of which out are
--                                    under way, until till (ms) at the latest
local controls, ctl_any, changed = {}, nil, {}
local function control(ep)
  if ctl_any == nil then ctl_any = rcall('EXISTS', P .. 'ctl') == 1 end
  if not ctl_any then return nil end
  if controls[ep] == nil then
    local v = rcall('HGET', P .. 'ctl', ep)
    local state, since, till, step, a, b = string.match(v or '', '^(%a+) (%d+) ?(%d*) ?(%d*) ?(%S*) ?(%d*)$')
    controls[ep] = v and {state = state, since = tonumber(since), till = tonumber(till), step = tonumber(step),
      token = a, width = tonumber(a), out = tonumber(b)} or false
  end
  return controls[ep] or nil
end

-- set_control notes what holds an endpoint back from now on (nil: nothing); flush writes it down.
local function set_control(ep, c)
  controls[ep], ctl_any, changed[ep] = c or false, true, true
end

local function flush()
  for ep in pairs(changed) do
    local c = controls[ep]
    if not c then
      rcall('HDEL', P .. 'ctl', ep)
    else
      local v = c.state .. ' ' .. c.since
      if c.till then v = v .. ' ' .. c.till .. ' ' .. c.step end
      if c.state == 'open' then v = v .. ' ' .. c.token end
      if c.state == 'ramp' then v = v .. ' ' .. c.width .. ' ' .. c.out end
      rcall('HSET', P .. 'ctl', ep, v)
    end
  end
end

-- gate returns the time from which a delivery that is due at the time given may be leased, nil if a person has to
-- resume the endpoint.
local function gate(ep, due)
  local c = control(ep)
  if not c then return due end
  if c.state == 'open' or (c.state == 'ramp' and c.out >= c.width) then return max(due, c.till) end
  return c.state == 'ramp' and due or nil
end

-- touch makes sure that the endpoint is looked at by the time given, or as soon as it may be.
local function touch(ep, at)
  at = gate(ep, at)
  if at then rcall('ZADD', P .. 'due', 'LT', int(at), ep) end
end

-- retouch sets the endpoint's entry in due to what its queue says, but not before least.
local function retouch(ep, least)
  local first = rcall('ZRANGE', P .. 'q:' .. ep, 0, 0, 'WITHSCORES')
  local at = first[1] and gate(ep, max(tonumber(first[2]), least or 0))
  if at then
    rcall('ZADD', P .. 'due', int(at), ep)
  else
    rcall('ZREM', P .. 'due', ep)
  end
end
