-- Begins every script: takes keys and arguments one after the other, and the steps that several scripts share.
-- No script starts with `#!lua`: a Redis that is full refuses those outright, but runs a plain one whose first write
-- needs no memory (XACK), and that is how accepted work drains.
local key_index, arg_index = 0, 0

local function key()
  key_index = key_index + 1
  return KEYS[key_index]
end

local function arg()
  arg_index = arg_index + 1
  return ARGV[arg_index]
end

local function set()
  local name, value, ttl = key(), arg(), arg()
  redis.call('SET', name, value, 'PX', ttl)
end

-- Appends an event, and a copy to the mailbox its stream is routed to.
local function publish()
  local stream, payload, ttl = key(), arg(), arg()
  local now = redis.call('TIME')
  -- What is older than its time to live goes, so that the stream of a long session stays small.
  local oldest = math.max(0, now[1] * 1000 + math.floor(now[2] / 1000) - ttl)
  local id = redis.call('XADD', stream, 'MINID', '=', string.format('%.0f', oldest), '*', 'd', payload)
  redis.call('PEXPIRE', stream, ttl)
  local mailbox = redis.call('GET', 'route:' .. stream)
  if mailbox then
    redis.call('XADD', mailbox, 'MAXLEN', '~', 10000, '*', 's', stream, 'i', id, 'd', payload)
    redis.call('PEXPIRE', mailbox, ttl)
  end
  return id
end

-- Appends a job, and writes its state, unless its idempotency key was seen; false when it was.
local function produce()
  local stream, seen = key(), key()
  local payload, seen_ttl, sets = arg(), arg(), tonumber(arg())
  local id = false
  if redis.call('SET', seen, '', 'NX', 'PX', seen_ttl) then
    id = redis.call('XADD', stream, '*', 'd', payload)
  else
    -- As append does, and for the same reason.
    redis.call('PEXPIRE', seen, seen_ttl)
  end
  for _ = 1, sets do
    if id then
      set()
    else
      key_index, arg_index = key_index + 1, arg_index + 2
    end
  end
  return id
end

-- Whether the guard that comes next holds; no guard always does.
local function guard_holds()
  local kind = arg()
  if kind == 'none' then
    return true
  end
  local value = redis.call('GET', key())
  local expected = false
  if kind == 'equals' then
    expected = arg()
  end
  return value == expected
end

-- Carries out all the effects that come next.
local function take_effect()
  for _, effect in ipairs({ publish, produce, set }) do
    for _ = 1, tonumber(arg()) do
      effect()
    end
  end
end

local function is_error(reply)
  return type(reply) == 'table' and reply.err ~= nil
end

-- The reply to XINFO as a table for each row; none for an absent stream.
local function rows(...)
  if redis.call('EXISTS', (select(2, ...))) == 0 then
    return {}
  end
  local found = {}
  for i, row in ipairs(redis.call('XINFO', ...)) do
    found[i] = {}
    for j = 1, #row, 2 do
      found[i][row[j]] = row[j + 1]
    end
  end
  return found
end

-- How many entries a group has not read; no more than `most`.
local function unread(stream, group, most)
  return #redis.call('XRANGE', stream, '(' .. group['last-delivered-id'], '+', 'COUNT', most)
end
