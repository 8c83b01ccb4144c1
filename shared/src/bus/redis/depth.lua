-- Lag, pending, the age of the oldest of either, and of the oldest that nobody has read, in milliseconds.
local stream, wanted = key(), arg()
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function age(id)
  return id and math.max(0, now - tonumber(string.match(id, '^%d+'))) or 0
end

for _, group in ipairs(rows('GROUPS', stream)) do
  if group['name'] == wanted then
    local unread_from = '(' .. group['last-delivered-id']
    -- NULL when an entry was deleted out of the middle: count, up to a bound.
    local lag = group['lag'] or #redis.call('XRANGE', stream, unread_from, '+', 'COUNT', 10000)
    local unread = lag > 0 and redis.call('XRANGE', stream, unread_from, '+', 'COUNT', 1)[1]
    local first_unread = unread and unread[1]
    local oldest = group['pending'] > 0 and redis.call('XPENDING', stream, wanted)[2] or first_unread
    return { lag, group['pending'], age(oldest), age(first_unread) }
  end
end
return { 0, 0, 0, 0 }
