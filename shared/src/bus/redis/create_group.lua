-- A group that starts at the first entry. Created any later, its lag would be unknown.
local stream, group = key(), arg()
local reply = redis.pcall('XGROUP', 'CREATE', stream, group, '0', 'MKSTREAM')
if is_error(reply) and not string.find(reply.err, 'BUSYGROUP', 1, true) then
  return reply
end
return 1
