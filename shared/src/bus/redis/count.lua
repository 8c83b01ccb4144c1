-- Adds to a counter, and lets it live from now.
local name = key()
local sum = redis.call('INCRBY', name, arg())
redis.call('PEXPIRE', name, arg())
return sum
