-- Takes one out of each bucket and a place in each set, if each has one and every counter is below its ceiling; otherwise
-- says what stands against it, and nothing was taken. A bucket is the time (microseconds) at which it is full again.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local full_again = {}
for i = 1, tonumber(arg()) do
  local name, most, per = key(), tonumber(arg()), tonumber(arg()) * 1000
  local full = math.max(now, tonumber(redis.call('GET', name) or 0)) + per / most
  local wait = full - per - now
  if wait > 0 then
    return { 'bucket', i - 1, math.ceil(wait / 1000) }
  end
  full_again[i] = { name, full }
end
for i = 1, tonumber(arg()) do
  if tonumber(redis.call('GET', key()) or 0) >= tonumber(arg()) then
    return { 'ceiling', i - 1, 0 }
  end
end
local holder, instead_of, lease = arg(), arg(), tonumber(arg())
local stamp = now + lease * 1000
local sets, has_one = {}, false
for i = 1, tonumber(arg()) do
  local name, most = key(), tonumber(arg())
  redis.call('ZREMRANGEBYSCORE', name, '-inf', string.format('%.0f', now))
  has_one = has_one or (i == 1 and instead_of ~= '' and redis.call('ZSCORE', name, instead_of))
  if not has_one and redis.call('ZCARD', name) >= most then
    return { 'places', i - 1, 0 }
  end
  sets[i] = name
end
for _, bucket in ipairs(full_again) do
  local left = math.ceil((bucket[2] - now) / 1000)
  redis.call('SET', bucket[1], string.format('%.0f', bucket[2]), 'PX', math.max(1, left))
end
if has_one or #sets == 0 then
  return { 'admitted', 0, 0 }
end
for _, name in ipairs(sets) do
  redis.call('ZADD', name, string.format('%.0f', stamp), holder)
  redis.call('PEXPIRE', name, lease)
end
return { 'admitted', 0, stamp }
