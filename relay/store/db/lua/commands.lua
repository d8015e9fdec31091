-- commands: run each command that the relay needs once, on a key of its own. So a Redis that lacks one, or refuses one
-- to the relay's user, is found before a script is cut off in its middle.
--
-- Returns what went wrong: command, error, command, error, …
local key, failed = P .. 'try', {}
local function note(command, answer)
  if type(answer) == 'table' and answer.err then
    failed[#failed + 1] = command
    failed[#failed + 1] = answer.err
  end
end
local function try(command, ...) note(command, redis.pcall(command, key, ...)) end
rcall('DEL', key) -- Redis allows it at maxmemory, and then the rest. A Redis that refuses scripts ends here

try('SET', 'x')
try('SETRANGE', 0, 'x')
try('GET')
try('GETRANGE', 0, 0)
try('STRLEN')
try('MGET')
try('EXISTS')
try('EXPIRE', 9)
try('PEXPIRE', 9000)
try('PTTL')
try('PERSIST')
try('DEL')
try('UNLINK')

try('HSET', 'x', 1)
try('HSETNX', 'x', 1)
try('HINCRBY', 'x', 1)
try('HGET', 'x')
try('HMGET', 'x')
try('HGETALL')
try('HKEYS')
try('HEXISTS', 'x')
try('HLEN')
try('HSCAN', 0)
try('HDEL', 'x')
rcall('DEL', key)

try('RPUSH', 'x', 'x', 'x', 'x')
try('LPUSH', 'x')
try('LRANGE', 0, 0)
try('LINDEX', 0)
try('LSET', 0, 'y')
try('LLEN')
try('LREM', 1, 'y')
try('LTRIM', 0, 3)
try('LPOP')
try('RPOP')
rcall('DEL', key)

try('ZADD', 1, 'x')
try('ZCARD')
try('ZCOUNT', 0, 1)
try('ZSCORE', 'x')
try('ZMSCORE', 'x')
try('ZRANGE', 0, 0)
try('ZRANGEBYSCORE', 0, 1)
try('ZREVRANGE', 0, 0)
try('ZREVRANGEBYSCORE', 1, 0)
try('ZSCAN', 0)
try('ZREMRANGEBYSCORE', 5, 5)
try('ZREM', 'x')
rcall('DEL', key)

try('XADD', '1-1', 'x', 1)
try('XLEN')
try('XRANGE', '-', '+')
try('XREVRANGE', '+', '-')
try('XDEL', '1-1')
rcall('DEL', key)
note('TIME', redis.pcall('TIME'))
return failed
