-- Lets go of jobs that a consumer holds: idle for so long that whoever looks next takes them, and counted as delivered as
-- often as stands behind each id. Done twice, it has done the same.
local stream, group, consumer, idle = key(), arg(), arg(), arg()
for i = arg_index + 1, #ARGV, 2 do
  local held = redis.pcall('XPENDING', stream, group, ARGV[i], ARGV[i], 1, consumer)
  if is_error(held) then
    if string.find(held.err, 'NOGROUP', 1, true) then
      return 0
    end
    return held
  end
  if #held == 1 then
    redis.call('XCLAIM', stream, group, consumer, 0, ARGV[i], 'IDLE', idle, 'RETRYCOUNT', ARGV[i + 1], 'JUSTID')
  end
end
return 1
