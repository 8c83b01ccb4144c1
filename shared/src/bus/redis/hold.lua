-- Renews places, or lets another name have them (`from` and `to` differ): then a place that `to` has already is used, and
-- that of `from` is given up. Without either, one is taken if there is one left.
local from, to, stamp, lease = arg(), arg(), arg(), tonumber(arg())
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local sets = {}
for i = 1, tonumber(arg()) do
  local name, most = key(), tonumber(arg())
  redis.call('ZREMRANGEBYSCORE', name, '-inf', string.format('%.0f', now))
  local held = redis.call('ZSCORE', name, to)
  if from == to then
    if held and stamp ~= '0' and held ~= stamp then
      return { 'lost', 0, 0 }
    end
  elseif not held and redis.call('ZSCORE', name, from) ~= stamp and redis.call('ZCARD', name) >= most then
    return { 'places', i - 1, 0 }
  end
  sets[i] = name
end
local next = now + lease * 1000
for _, name in ipairs(sets) do
  if from ~= to and redis.call('ZSCORE', name, from) == stamp then
    redis.call('ZREM', name, from)
  end
  redis.call('ZADD', name, string.format('%.0f', next), to)
  redis.call('PEXPIRE', name, lease)
end
return { 'admitted', 0, next }
