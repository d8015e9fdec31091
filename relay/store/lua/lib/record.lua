-- The open events of a record.
--
-- A record has no expiry while an event of it is open. Most have one open event at a time: it is in the field h, and
-- settle gives the record its expiry without a look at it. Where there are more, or where the record has to outlive
-- dead letters, the events are marked (set_more), and the record counts those of them that are open, in its field o.

-- reopened notes that an event comes to be open again, of which no delivery was; the caller saves it. From now on it is
-- counted, and so is the one that was open alone.
local function reopened(v)
  local rk = P .. v.record
  local f = rcall('HMGET', rk, 'q', 'o', 'h')
  local open = tonumber(f[2] or 0) + 1
  if f[3] and f[3] ~= v.id then
    local alone = read_event(f[3])
    if alone and open_of(alone) > 0 and not alone.more then
      open = open + 1
      set_more(alone)
      save(alone)
    end
  end
  set_more(v)
  -- The record may have expired since, and with it the sequence.
  rcall('HSET', rk, 'q', int(max(tonumber(f[1]) or 0, sequence_of(v))), 'o', int(open))
  rcall('PERSIST', rk)
end
