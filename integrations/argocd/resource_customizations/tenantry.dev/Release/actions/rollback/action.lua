-- It cannot be taken back: the next step is a new Release.
obj.spec.rolledBack = true
return obj
