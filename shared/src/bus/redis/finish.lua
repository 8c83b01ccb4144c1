-- Acknowledges a job and, only if it was still pending, carries out the effects: the first to finish wins.
local stream, group, id = key(), arg(), arg()
if not guard_holds() then
  return 'guard_failed'
end
if redis.call('XACK', stream, group, id) == 0 then
  return 'lease_lost'
end
take_effect()
return 'done'
