-- It does nothing by itself, so there is nothing of it that could be unwell; its deletion waits for the tenants that use it.
if obj.metadata.deletionTimestamp ~= nil then
  local message = "it is being deleted"
  if obj.status ~= nil and obj.status.conditions ~= nil then
    for _, condition in ipairs(obj.status.conditions) do
      if condition.type == "InUse" and condition.status == "True" then
        message = condition.message
      end
    end
  end
  return {status = "Progressing", message = message}
end
return {status = "Healthy"}
