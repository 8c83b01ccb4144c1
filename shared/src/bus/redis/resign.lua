-- Lets go of all that a consumer holds, delivery counts as they are, and removes it from the group where that is nothing: a
-- consumer that is removed with jobs in hand would take them with it.
local stream, group, consumer, idle = key(), arg(), arg(), arg()
local held_in_all, from = 0, '-'
while true do
  local held = redis.pcall('XPENDING', stream, group, from, '+', 100, consumer)
  if is_error(held) then
    if string.find(held.err, 'NOGROUP', 1, true) then
      return 0
    end
    return held
  end
  for _, job in ipairs(held) do
    redis.call('XCLAIM', stream, group, consumer, 0, job[1], 'IDLE', idle, 'JUSTID')
    held_in_all, from = held_in_all + 1, '(' .. job[1]
  end
  if #held < 100 then
    break
  end
end
if held_in_all == 0 then
  redis.call('XGROUP', 'DELCONSUMER', stream, group, consumer)
end
return held_in_all
