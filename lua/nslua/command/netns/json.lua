-- JSON as ip -j and ip -j -p print it: keys in its order, every object of a list on lines of its own.

local schema = require "nslua.schema"

local KEYS = { "nsid", "current-nsid", "name", "id", "stale" }
local INDENT = "    "

---Print rows.
---@param o { pretty: boolean? }
---@param rows table[]  with some of KEYS
return function(o, rows)
  local out = {}
  for i, row in ipairs(rows) do
    local parts = {}
    for _, key in ipairs(KEYS) do
      if row[key] ~= nil then
        local text = ("%s:%s%s"):format(schema.json(key), o.pretty and " " or "", schema.json(row[key]))
        parts[#parts + 1] = o.pretty and ("\n%s%s%s"):format(INDENT, INDENT, text) or text
      end
    end
    out[i] = "{" .. table.concat(parts, ",") .. (o.pretty and "\n" .. INDENT .. "}" or "}")
  end
  local format = not o.pretty and "[%s]\n" or #out > 0 and "[ %s ]\n" or "[%s ]\n"
  io.write(format:format(table.concat(out, ",")))
end
