-- By the conditions that kstatus and Flux read, so that all say the same. A status of an older manifest says nothing of this one.
if obj.metadata.deletionTimestamp ~= nil then
  return {status = "Progressing", message = "it is being deleted"}
end
local status = obj.status
if status == nil or status.conditions == nil or status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "the operator hasn't looked at it yet"}
end
local conditions = {}
for _, condition in ipairs(status.conditions) do
  conditions[condition.type] = condition
end
local ready, stalled = conditions["Ready"], conditions["Stalled"]
if stalled ~= nil and stalled.status == "True" then
  return {status = "Degraded", message = stalled.message}
end
if ready == nil then
  return {status = "Progressing", message = "the operator hasn't looked at it yet"}
end
if ready.status == "True" then
  local is_suspended = ready.reason == "Suspended" or ready.reason == "Expired" or ready.reason == "DeletionScheduled"
  return {status = is_suspended and "Suspended" or "Healthy", message = ready.message}
end
return {status = "Progressing", message = ready.message}
