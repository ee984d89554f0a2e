-- The operator answers by status.lastHandledReconcileAt.
local now = os.date("!%Y-%m-%dT%H:%M:%SZ")
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["tenantry.dev/reconcile"] = now
return obj
