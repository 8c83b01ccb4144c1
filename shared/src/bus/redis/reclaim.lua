-- Takes over silent jobs. What Redis slept through counts for nobody as silence: who last heard of it longer ago than it may
-- be, by the clock of Redis, takes nothing this time. Of suspects, jobs that this delivery would be the given one of, it takes
-- so many at most, and leaves the others as they are.
local stream, group, consumer, min_idle, count = key(), arg(), arg(), arg(), tonumber(arg())
local heard, longest, suspected, suspects = tonumber(arg()), tonumber(arg()), tonumber(arg()), tonumber(arg())
local taken, lost, from = {}, {}, '-'
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local answer = { taken, lost, string.format('%.0f', now) }
if math.abs(now - heard) > longest then
  return answer
end
while #taken < count do
  local silent = redis.pcall('XPENDING', stream, group, 'IDLE', min_idle, from, '+', 100)
  if is_error(silent) then
    if string.find(silent.err, 'NOGROUP', 1, true) then
      break
    end
    return silent
  end
  for _, job in ipairs(silent) do
    local id, deliveries = job[1], job[4] + 1
    local is_suspect = deliveries == suspected
    if #taken < count and not (is_suspect and suspects == 0) then
      local entry = redis.call('XCLAIM', stream, group, consumer, 0, id)[1]
      if entry then
        taken[#taken + 1] = { id, entry[2][2], deliveries }
        suspects = suspects - (is_suspect and 1 or 0)
      else
        lost[#lost + 1] = id
      end
    end
  end
  if #silent < 100 then
    break
  end
  from = '(' .. silent[#silent][1]
end
return answer
