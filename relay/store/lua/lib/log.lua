-- The log of an endpoint: what happened to it, and who did what, for people.

-- write_log writes an entry (JSON, see endpointlog.go) into the log of an endpoint, which has the latest first. It
-- keeps 200 entries, and 24,000 bytes of them. The log of an endpoint that no config has ends so long (ms) after its
-- latest entry.
local function write_log(ep, entry, life)
  local key = P .. 'h:' .. ep
  rcall('LPUSH', key, entry)
  local all, bytes, kept = rcall('LRANGE', key, 0, 199), 0, 1
  for i = 1, #all do
    bytes = bytes + #all[i]
    if bytes <= 24000 then kept = i end
  end
  rcall('LTRIM', key, 0, kept - 1)

  if rcall('HEXISTS', P .. 'settings', ep) == 1 then
    rcall('PERSIST', key)
  else
    rcall('PEXPIRE', key, life)
  end
end
