-- Lag, pending, the age of the oldest of either, and of the oldest that nobody has read, in milliseconds.
local stream, wanted = key(), arg()
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function age(id)
  return id and math.max(0, now - tonumber(string.match(id, '^%d+'))) or 0
end

for _, group in ipairs(rows('GROUPS', stream)) do
  if group['name'] == wanted then
    local first = redis.call('XRANGE', stream, '(' .. group['last-delivered-id'], '+', 'COUNT', 1)[1]
    local first_unread = first and first[1]
    -- Redis forgets in a restart how much was read since it last rewrote its file, and tells no lag when an entry was deleted
    -- out of the middle: then count, up to a bound.
    local lag = first and group['lag'] or 0
    if first and (lag == 0 or lag > redis.call('XLEN', stream)) then
      lag = unread(stream, group, 10000)
    end
    local oldest = group['pending'] > 0 and redis.call('XPENDING', stream, wanted)[2] or first_unread
    return { lag, group['pending'], age(oldest), age(first_unread) }
  end
end
return { 0, 0, 0, 0 }
