-- Lag, pending, and the age of the oldest of either in milliseconds.
local stream, wanted = key(), arg()
for _, group in ipairs(rows('GROUPS', stream)) do
  if group['name'] == wanted then
    local unread_from = '(' .. group['last-delivered-id']
    -- NULL when an entry was deleted out of the middle: count, up to a bound.
    local lag = group['lag'] or #redis.call('XRANGE', stream, unread_from, '+', 'COUNT', 10000)
    local oldest
    if group['pending'] > 0 then
      oldest = redis.call('XPENDING', stream, wanted)[2]
    elseif lag > 0 then
      local unread = redis.call('XRANGE', stream, unread_from, '+', 'COUNT', 1)[1]
      oldest = unread and unread[1]
    end
    local age = 0
    if oldest then
      local now = redis.call('TIME')
      age = math.max(0, now[1] * 1000 + math.floor(now[2] / 1000) - tonumber(string.match(oldest, '^%d+')))
    end
    return { lag, group['pending'], age }
  end
end
return { 0, 0, 0 }
