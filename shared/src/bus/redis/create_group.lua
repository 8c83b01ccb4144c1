-- A group that starts at the first entry. Created any later, its lag would be unknown. One that is there is not created again:
-- a Redis that is full refuses that, and would let nobody in who empties it.
local stream, group = key(), arg()
for _, row in ipairs(rows('GROUPS', stream)) do
  if row['name'] == group then
    return 1
  end
end
return redis.pcall('XGROUP', 'CREATE', stream, group, '0', 'MKSTREAM')
