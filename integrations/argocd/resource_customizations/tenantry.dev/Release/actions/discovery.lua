-- What can be done with a release on its way. One that is taken back stays so.
local is_paused, is_back = obj.spec.paused == true, obj.spec.rolledBack == true
return {
  pause = {disabled = is_paused or is_back, displayName = "Let no further tenant begin"},
  resume = {disabled = not is_paused or is_back, displayName = "Go on"},
  rollback = {disabled = is_back, displayName = "Bring all tenants back to what they ran before"},
}
