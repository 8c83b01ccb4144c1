-- Acknowledges a job and, only if it was still pending, carries out the effects: the first to finish wins.
local stream, group, id = key(), arg(), arg()
local guard = arg()
if guard ~= 'none' then
  local value = redis.call('GET', key())
  local expected = false
  if guard == 'equals' then
    expected = arg()
  end
  if value ~= expected then
    return 'guard_failed'
  end
end
if redis.call('XACK', stream, group, id) == 0 then
  return 'lease_lost'
end
for _, effect in ipairs({ publish, produce, set }) do
  for _ = 1, tonumber(arg()) do
    effect()
  end
end
return 'done'
