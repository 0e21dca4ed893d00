-- ip addrlabel and ip netconf. ip-addrlabel(8), ip-netconf(8)

local M = {}

local function words_of(context, m, verb)
  local words = { "addrlabel", verb, "prefix", ("%s/%d"):format(m.address or "::", m.prefixlen or 0) }
  if m.dev_index and m.dev_index ~= 0 then
    words[#words + 1] = "dev"
    words[#words + 1] = context.link(m.dev_index)
  end
  if m.label then
    words[#words + 1] = "label"
    words[#words + 1] = ("%.0f"):format(m.label)
  end
  return words
end

M.addrlabel = {
  message = "addrlabel",
  write = function(context, m)
    return words_of(context, m, "add")
  end,
  delete = function(context, m)
    return words_of(context, m, "del")
  end,
  show = function()
    return { "addrlabel", "list" }
  end,
}

local special = { [-1] = "all", [-2] = "default" }

M.netconf = {
  message = "netconf", -- written by sysctl
  show = function(context, m)
    local words = { "netconf", "show" }
    if m.dev_index then
      words[#words + 1] = "dev"
      words[#words + 1] = special[m.dev_index] or context.link(m.dev_index)
    end
    return words
  end,
}

return M
