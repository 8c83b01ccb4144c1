-- Carries out the effects if the guard holds.
if not guard_holds() then
  return 0
end
take_effect()
return 1
