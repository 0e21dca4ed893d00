-- The numbers of declarations as C constant expressions, for a spec that has a compiler check them.

local plan = require "nslua.schema.plan"

local M = {}

---@param declared table  { structs =, enums =, sets =, messages = }
---@return { expression: string, value: integer, header: string, where: string, newer: boolean }[]
function M.of(declared)
  local out = {}
  local function add(expression, value, options, where)
    if options.header then
      local name = expression:gsub("%+", "", 1)
      out[#out + 1] = { expression = name, value = value, header = options.header, where = where, newer = name ~= expression }
    end
  end
  for name, s in pairs(declared.structs) do
    local where = "struct " .. name
    if s.options.c then
      add(("sizeof(%s)"):format(s.options.c), plan.struct_size(declared, name, where), s.options, where)
      for _, m in ipairs(s.members) do
        if m.member then
          add(("offsetof(%s, %s)"):format(s.options.c, m.member), m.off, s.options, m.where)
        end
      end
    end
  end
  for name, e in pairs(declared.enums) do
    for k, v in pairs(e.values) do
      local c = e.options.c and e.options.c[k]
      if c == nil and e.options.prefix then
        c = e.options.prefix .. k:gsub("_$", ""):upper()
      end
      if c then
        add(c, v, e.options, (e.bits and "flags " or "enum ") .. name)
      end
    end
  end
  for _, s in pairs(declared.sets) do
    for _, f in ipairs(s.fields) do
      if f.c ~= "-" and s.options.prefix then
        add(s.options.prefix .. f.c, f.id, s.options, f.where)
      end
    end
  end
  for name, m in pairs(declared.messages) do
    for _, verb in ipairs { "new", "del", "get", "set" } do
      if m[verb] and m.c then
        add("RTM_" .. verb:upper() .. m.c, m[verb], m, "message " .. name)
      end
    end
  end
  table.sort(out, function(a, b)
    return a.expression < b.expression
  end)
  return out
end

return M
