-- prio: bands, the first that has something is served. tc-prio(8). `priomap`: the band of each of the 16 priorities.

local errors = require "nslua.error"

local usual = { 1, 2, 2, 2, 1, 2, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1 }

return {
  { kind = "prio",
    needed = true,
    type = "struct(tc_prio)",
    words = { bands = "count", priomap = "any" },
    write = function(data, call)
      data.bands = data.bands or 3
      local map = {}
      local given = data.priomap or {}
      if type(given) ~= "table" or #given > 16 then
        errors.misuse("%s: priomap must be a list of up to 16 bands", call)
      end
      for i = 1, 16 do
        map[i] = given[i] or usual[i]
      end
      data.priomap = map
    end,
    classes = {},
  },
}
