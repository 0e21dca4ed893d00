-- ns.journal: what happened in network namespaces, kept in a file and asked of it.

local snapshot = require "nslua.inspect.record.snapshot"

return {
  record = require("nslua.inspect.record.recorder").record,
  open = require("nslua.inspect.record.journal").open,
  check = function(list)
    return snapshot.wanted("record", list)
  end,
}
