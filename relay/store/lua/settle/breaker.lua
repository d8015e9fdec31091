-- The breakers and rates of a call's endpoints.

-- failures returns the counts of an endpoint that has failed lately, nil if it has not.
local failing, fail_any, counted = {}, nil, {}
local function failures(ep)
  if fail_any == nil then fail_any = rcall('EXISTS', P .. 'fail') == 1 end
  if failing[ep] == nil then
    local v = fail_any and rcall('HGET', P .. 'fail', ep)
    local row, since, tries, bad = string.match(v or '', '^(%d+) (%d+) (%d+) (%d+)$')
    failing[ep] = row and {row = tonumber(row), since = tonumber(since), tries = tonumber(tries), bad = tonumber(bad)}
      or false
  end
  return failing[ep] or nil
end

local function set_failures(ep, r)
  failing[ep], counted[ep] = r or false, true
end

-- tell writes into the log of an endpoint what an outcome, whose arguments begin at o, has done to it. n and of are
-- counts, see event.LogEntry.
local function tell(ep, what, o, n, of)
  local last = cjson.encode(string.sub(text_of(o), 1, 120))
  local entry = string.format('{"t":%.0f,"k":"%s","n":%d,"of":%d,"s":%d,"m":%s}', now, what, n, of,
    tonumber(ARGV[o + STATUS]), last)
  write_log(ep, entry, max(retention, dead_retention))
end

-- A ramp of this width is as good as none. The clocks of replicas differ by less than skew (ms).
local full_width, skew = 128, 1000

local function open(ep, b, since, step, hint)
  local cool = max(min(b.cool * 2 ^ step, b.most), min(hint, b.most))
  set_control(ep, {state = 'open', since = since, till = now + cool, step = step, token = '-'})
  set_failures(ep, nil)
  return string.format('open %.0f %d', now + cool, step)
end

-- judge updates the breaker of an endpoint by an outcome, whose arguments begin at o. It returns the breaker's new
-- state if that has changed, as Returns of settle.lua says.
local function judge(e, token, sign, o)
  local ep = e.name
  local c = control(ep)
  if not c and (sign < '2' or e.breaker == '' or (sign == '2' and not failures(ep))) then return nil end
  local began = c and now - tonumber(ARGV[o + TOOK])
  if c and c.state == 'ramp' and began < c.since - skew then return nil end -- it began before the breaker closed
  if c and c.state == 'open' and c.token ~= token then return nil end
  if c and c.state ~= 'open' and c.state ~= 'ramp' then return nil end

  local hint = tonumber(ARGV[o + RETRY_AFTER])
  local need, ratio, window, cool, most = string.match(e.breaker, '^(%S+) (%S+) (%S+) (%S+) (%S+)$')
  local b = need and {cool = tonumber(cool), most = tonumber(most)}
  if not b then return set_control(ep, nil) end -- it was turned off

  if c and c.state == 'open' then
    if sign == '3' then return open(ep, b, c.since, c.step + 1, hint) end
    if sign == '2' then
      set_control(ep, {state = 'ramp', since = now, till = now, step = c.step, width = 1, out = 0})
      tell(ep, 'closed', o, c.step, 0)
      return 'closed'
    end
    return set_control(ep, {state = 'open', since = c.since, till = now, step = c.step, token = '-'})
  elseif c then
    c.out = max(c.out - 1, 0)
    if sign == '2' then c.width = c.width + 1 end
    if sign == '3' then c.width = math.floor(c.width / 2) end
    if c.width == 0 then
      tell(ep, 'opened', o, 0, 0)
      return open(ep, b, now, c.step + 1, hint)
    end
    return set_control(ep, c.width < full_width and c or nil)
  end

  -- It is closed: failures are counted, in a row and as a share of the window.
  local r = failures(ep) or {row = 0, since = now, tries = 0, bad = 0}
  local over = now - r.since > tonumber(window)
  if over then r.since, r.tries, r.bad = now, 0, 0 end
  r.tries = r.tries + 1
  if sign == '2' then
    r.row = 0
    return set_failures(ep, not over and r or nil)
  end
  r.row, r.bad = r.row + 1, r.bad + 1
  set_failures(ep, r)
  local bad = max(r.row, r.bad >= tonumber(ratio) * r.tries and r.bad or 0)
  if bad < tonumber(need) then return nil end
  if r.row >= tonumber(need) then
    tell(ep, 'opened', o, r.row, 0)
  else
    tell(ep, 'opened', o, r.bad, r.tries)
  end
  return open(ep, b, now, 0, hint)
end

-- take_successor says whether the caller may have a successor of the endpoint at once, and notes that it has.
local function take_successor(e)
  local c = control(e.name)
  if c and (c.state ~= 'ramp' or c.out >= c.width) then return false end
  if e.rate ~= '' then
    if allowance(e.name, e.rate, now) == 0 then return false end
    spend(e.name, e.rate, now, 1)
  end
  if c then
    c.out, c.till = c.out + 1, now + e.lease
    set_control(e.name, c)
  end
  return true
end
