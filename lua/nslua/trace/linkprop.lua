-- ip link property add, del: alternative names. ip-link(8)

local link = require "nslua.trace.link"

local M = { message = "linkprop" }

local function property(verb)
  return function(context, m)
    local words = { "link", "property", verb }
    link.target(context, m, words, true)
    for _, name in ipairs(m.prop_list and m.prop_list.altnames or {}) do
      words[#words + 1] = "altname"
      words[#words + 1] = name
    end
    return words
  end
end

M.write, M.delete = property "add", property "del"

return M
