-- What can be done with a tenant as it is.
local is_suspended = obj.spec.suspended == true
local is_failed = false
if obj.status ~= nil and obj.status.conditions ~= nil then
  for _, condition in ipairs(obj.status.conditions) do
    if condition.type == "Stalled" and condition.status == "True" and condition.reason == "MigrationFailed" then
      is_failed = true
    end
  end
end
return {
  reconcile = {disabled = false, displayName = "Look at everything anew"},
  resume = {disabled = not is_suspended, displayName = "Bring back into service"},
  retry = {disabled = not is_failed, displayName = "Run the migration again"},
  rotate = {disabled = false, displayName = "Give a new login of the database"},
  suspend = {disabled = is_suspended, displayName = "Take out of service"},
}
