-- Who holds a place.
local time = redis.call('TIME')
return redis.call('ZRANGEBYSCORE', key(), string.format('(%.0f', time[1] * 1000000 + time[2]), '+inf')
