-- note: write an entry into the log of an endpoint. One script, because it trims the log, too, and because an entry
-- that says the same as the one before, of more dead letters, takes its place: they are redriven a hundred at a time.
--
-- ARGV   now (ms), endpoint, how long the log of an endpoint lives that no config has (ms), entry
-- Returns {1}. Asked again with the same entry, whose x names the call, it changes nothing
local ep, life, entry = ARGV[2], tonumber(ARGV[3]), ARGV[4]
if not (ep and life and entry) then return redis.error_reply('ERR note: wrong arguments') end
rcall('ZREM', P .. 'due', '')

local apart = 10 * 60 * 1000
local last = rcall('LINDEX', P .. 'h:' .. ep, 0)
local was, is = last and cjson.decode(last), cjson.decode(entry)
if was and was.x and was.x == is.x then return {1} end
local same = was and was.k == is.k and was.by == is.by and was.key == is.key and was.from == is.from
if same and (is.k == 'redriven' or is.k == 'dismissed') and is.t - was.t < apart then
  is.n = (was.n or 0) + (is.n or 0)
  rcall('LSET', P .. 'h:' .. ep, 0, cjson.encode(is))
else
  write_log(ep, entry, life)
end
return {1}
