-- Removes what every group has read and acknowledged, and the consumers that are long gone and hold nothing; mends what Redis
-- takes for the lag.
local stream, gone_after = key(), tonumber(arg())

local function parts(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end

local function is_before(a, b)
  local a_ms, a_seq = parts(a)
  local b_ms, b_seq = parts(b)
  return a_ms < b_ms or (a_ms == b_ms and a_seq < b_seq)
end

-- A Redis that was restarted does not know how much was read since it last rewrote its file, and would tell everybody who asks
-- (what scales workers by it, too) of a lag that is none, for ever. A long queue is left until it is short.
local function mend_lag(group)
  local count = unread(stream, group, 1001)
  if count > 1000 or group['lag'] == count then
    return
  end
  local about = redis.call('XINFO', 'STREAM', stream)
  for i = 1, #about, 2 do
    if about[i] == 'entries-added' then
      local read = string.format('%.0f', about[i + 1] - count)
      redis.call('XGROUP', 'SETID', stream, group['name'], group['last-delivered-id'], 'ENTRIESREAD', read)
    end
  end
end

local keep_from
for _, group in ipairs(rows('GROUPS', stream)) do
  mend_lag(group)
  local first
  if group['pending'] > 0 then
    first = redis.call('XPENDING', stream, group['name'])[2]
  else
    local ms, seq = string.match(group['last-delivered-id'], '^(%d+)-(%d+)$')
    first = ms .. '-' .. string.format('%.0f', tonumber(seq) + 1)
  end
  if not keep_from or is_before(first, keep_from) then
    keep_from = first
  end
  for _, consumer in ipairs(rows('CONSUMERS', stream, group['name'])) do
    if consumer['pending'] == 0 and consumer['idle'] > gone_after then
      redis.call('XGROUP', 'DELCONSUMER', stream, group['name'], consumer['name'])
    end
  end
end
if not keep_from then
  return 0
end
return redis.call('XTRIM', stream, 'MINID', '=', keep_from)
