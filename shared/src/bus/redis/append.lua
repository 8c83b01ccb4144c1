-- Appends to a stream with one producer, if the guard holds; false when it does not. An entry that this very call appended
-- before its reply was lost is the newest one and bears the call's token.
local stream, payload, token, ttl = key(), arg(), arg(), arg()
if not guard_holds() then
  return false
end
local newest = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
if newest and newest[2][3] == 't' and newest[2][4] == token then
  -- Written again all the same: whoever asks whether a replica has it asks about what this connection wrote.
  redis.call('PEXPIRE', stream, ttl)
  return newest[1]
end
local id = redis.call('XADD', stream, '*', 'd', payload, 't', token)
redis.call('PEXPIRE', stream, ttl)
return id
