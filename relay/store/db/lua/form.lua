-- form: say in which form the data here are kept. If nothing was kept here yet, it is this one from now on. One script,
-- so that no other version writes the first thing in between.
--
-- ARGV   this form, 1 to write it down if nothing was kept here yet, 0 to write nothing
-- Returns the form; "old" if an older version has kept its data here, in keys without one; empty: nothing was kept yet
local form, write = ARGV[1], ARGV[2] == '1'
if not form or #ARGV ~= 2 then return redis.error_reply('ERR form: wrong arguments') end

local old = string.sub(P, 1, -#form - 2) .. ':' -- what the keys of that version began with
local found = rcall('GET', old .. 'form')
if found then return found end
if rcall('EXISTS', old .. 'marker', old .. 'clock', old .. 'log', old .. 'due', old .. 'ledger', old .. 'reps',
  old .. 'quarantine') > 0 then return 'old' end
if not write then return '' end

-- A write that Redis allows at maxmemory opens the way for one that it would not.
rcall('ZREM', P .. 'due', '')
rcall('SET', old .. 'form', form)
return form
