-- When tenants are told that a parcel does not move.
--
-- watch says of what, as the config does: of each tenant that wants to be told "<not_collected> <stalled>
-- <not_picked_up>", for how long nothing is new until it is told (ms, 0: it is not); " least" is the shortest of all of
-- these, " settings" names the whole, and " listened" the one by which every entry of silent was looked at.
--
-- An entry's field w is until when tenants were told (ms): of each silence that was too long by then. It is "-" if the
-- entry was imported, so that nobody knows whether the parcel was collected.

-- What is too long, as places in a text of watch.
local NOT_COLLECTED, STALLED, NOT_PICKED_UP = 1, 2, 3

-- stage_of says which of them a parcel's silence is, nil if that is not known, and returns its last status. Before it
-- was collected there is no update of it, or only one that has neither a status nor a track.
local function stage_of(l)
  if not l.e then return l.w ~= '-' and NOT_COLLECTED or nil, '' end
  if not l.at then return nil, '' end
  local _, header = header_of(l.e)
  local status = header and header.status or ''
  if status == 'allograph' then return NOT_PICKED_UP, status end
  return (status ~= '' or l.n) and STALLED or NOT_COLLECTED, status
end

local least_span = nil
local function least()
  if least_span == nil then least_span = tonumber(rcall('HGET', P .. 'watch', ' least') or nil) or false end
  return least_span
end

-- watched finds what a parcel's tenants are to be told by now, the earliest first, as due: {at, since, span, tenants}.
-- It says when to look again (watch), which is before anything that is not known yet can be too long.
local function watched(l, now)
  local spans = least() and hmget(P .. 'watch', l.tenants) or {}
  local told, any, groups = tonumber(l.w or '') or 0, false, {}
  l.due = {}
  for i, tenant in ipairs(l.tenants) do
    if spans[i] then
      if not any then l.stage, l.status = stage_of(l) end
      any = true
      local of = {string.match(spans[i], '^(%d+) (%d+) (%d+)$')}
      local span = tonumber(l.stage and of[l.stage] or '') or 0
      -- A silence is as old as the last update, or for a tenant as its subscription.
      local since = l.stage == NOT_COLLECTED and l.since[i] or max(l.since[i], l.at or 0)
      local at = since + span
      if span > 0 and at > now then
        l.watch = min(at, l.watch or at)
      elseif span > 0 and at > told then
        local group = groups[since .. ' ' .. span]
        if not group then
          group = {at = at, since = since, span = span, tenants = {}}
          groups[since .. ' ' .. span], l.due[#l.due + 1] = group, group
        end
        group.tenants[#group.tenants + 1] = tenant
      end
    end
  end
  table.sort(l.due, function(a, b)
    if a.at == b.at then return a.span < b.span end
    return a.at < b.at
  end)
  if least() then l.watch = min(now + least(), l.watch or math.huge) end
  return any
end

-- silence_of says of an entry when the provider is to be asked for it (ask, and its field q as query; nil: never), and
-- what tenants are to be told (see watched). It returns nil if neither can be: the entry is not live, and not one that
-- the provider has no record of yet, or the parcel was signed for, or nobody wants it.
local function silence_of(entry, now, after, interval)
  local l = facts_of(entry)
  if not (l.u == 'l' or (l.u == 'p' and l.r)) or l.z or not l.first then return nil end
  if after > 0 then l.ask, l.query = silent_until(entry, after, interval, l) end
  local any = watched(l, now)
  -- One without a record becomes live when it becomes so, and is asked for after that time.
  if l.u == 'p' and after > 0 then l.watch = min(now + after, l.watch or math.huge) end
  return (any or l.ask) and l or nil
end

-- look_at is when to look at an entry, which is asked for at the time given, if that is not nil.
local function look_at(l, ask)
  local due = l.due[1] and l.due[1].at or math.huge
  return int(min(due, l.watch or math.huge, ask or math.huge))
end
