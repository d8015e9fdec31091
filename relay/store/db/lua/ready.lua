-- ready: show that Redis would accept an event: a write that it refuses at maxmemory, from a script, in the slot of the
-- store.
--
-- Returns 1
rcall('SET', P .. 'ready', 1, 'PX', 10000)
return 1
