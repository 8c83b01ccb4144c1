-- Renews leases; XCLAIM alone would also take jobs from others.
local stream, group, consumer = key(), arg(), arg()
for i = arg_index + 1, #ARGV do
  local held = redis.pcall('XPENDING', stream, group, ARGV[i], ARGV[i], 1, consumer)
  if is_error(held) then
    if string.find(held.err, 'NOGROUP', 1, true) then
      return 0
    end
    return held
  end
  if #held == 1 then
    redis.call('XCLAIM', stream, group, consumer, 0, ARGV[i], 'JUSTID')
  end
end
return 1
