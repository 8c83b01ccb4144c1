-- The consumers of a group: name, entries in hand, and milliseconds since its last sign of life.
local stream, wanted = key(), arg()
local found = {}
for _, group in ipairs(rows('GROUPS', stream)) do
  if group['name'] == wanted then
    for i, consumer in ipairs(rows('CONSUMERS', stream, wanted)) do
      found[i] = { consumer['name'], consumer['pending'], consumer['idle'] }
    end
  end
end
return found
