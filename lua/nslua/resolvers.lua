-- What "prefix:rest" stands for where a namespace is named. Filled by the composition root: floor 1 knows nobody above it.

---@type table<string, fun(rest: string, type: string): any>
-- prefix -> function that gives a target, which is resolved again (see nslua.namespace.open).
return {}
