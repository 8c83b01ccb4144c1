-- Takes out of a group, unanswered, jobs older than `age` milliseconds that nobody is at work on: those not read yet, and
-- those of consumers that were silent for as long. Up to so many of either.
local stream, group, age, most = key(), arg(), tonumber(arg()), tonumber(arg())
local time = redis.call('TIME')
local until_ms = string.format('%.0f', math.max(0, time[1] * 1000 + math.floor(time[2] / 1000) - age))
for _, row in ipairs(rows('GROUPS', stream)) do
  if row['name'] == group then
    local held = redis.call('XPENDING', stream, group, 'IDLE', age, '-', until_ms, most)
    for _, job in ipairs(held) do
      redis.call('XACK', stream, group, job[1])
    end
    local unread = #redis.call('XRANGE', stream, '(' .. row['last-delivered-id'], until_ms, 'COUNT', most)
    if unread > 0 then
      -- Read and acknowledged in one, under a name that nobody bears afterwards.
      redis.call('XREADGROUP', 'GROUP', group, 'expired', 'COUNT', unread, 'NOACK', 'STREAMS', stream, '>')
      redis.call('XGROUP', 'DELCONSUMER', stream, group, 'expired')
    end
    return #held + unread
  end
end
return 0
