-- Takes over silent jobs, with the delivery counts that XAUTOCLAIM itself does not tell.
-- One XAUTOCLAIM looks at ten times COUNT jobs at most; behind that many busy ones there may be silent ones.
local stream, group, consumer, min_idle, count = key(), arg(), arg(), arg(), tonumber(arg())
local taken, lost, cursor = {}, {}, '0-0'
for _ = 1, 100 do
  local reply = redis.pcall('XAUTOCLAIM', stream, group, consumer, min_idle, cursor, 'COUNT', count - #taken)
  if is_error(reply) then
    if string.find(reply.err, 'NOGROUP', 1, true) then
      break
    end
    return reply
  end
  for _, entry in ipairs(reply[2]) do
    local pending = redis.call('XPENDING', stream, group, entry[1], entry[1], 1)
    taken[#taken + 1] = { entry[1], entry[2][2], pending[1][4] }
  end
  for _, id in ipairs(reply[3]) do
    lost[#lost + 1] = id
  end
  cursor = reply[1]
  if cursor == '0-0' or #taken >= count then
    break
  end
end
return { taken, lost }
