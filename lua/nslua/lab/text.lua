-- A topology as the text that says it.

local errors = require "nslua.error"
local impairment = require "nslua.impairment"
local quoted = require "nslua.lab.quoted"
local units = require "nslua.units"

local M = {}

-- In the largest unit of which it is one or more; in one that reads as the same number.
local function exactly(value, read, suffixes)
  for digits = 6, 17 do
    for _, least in ipairs { 1, 0 } do
      for _, each in ipairs(suffixes) do
        local text = ("%." .. digits .. "g"):format(value / each[2])
        if not text:find "e" and tonumber(text) >= least then
          local ok, back = pcall(read, text .. each[1])
          if ok and back == value then
            return text .. each[1]
          end
        end
      end
    end
  end
  for digits = 1, 340 do -- without a unit
    local text = ("%." .. digits .. "f"):format(value)
    if tonumber(text) == value then
      return text
    end
  end
end

local forms = {
  duration = { units.duration, { { "s", 1 }, { "ms", 1e-3 }, { "us", 1e-6 }, { "ns", 1e-9 } } },
  rate = { units.rate, { { "gbit", 1e9 }, { "mbit", 1e6 }, { "kbit", 1e3 }, { "bit", 1 } } },
  fraction = { units.fraction, { { "%", 0.01 } } },
  size = { units.size, { { "b", 1 } } },
}
local form_of = { delay = "duration", jitter = "duration", rate = "rate", limit_bytes = "size", limit = false, gap = false, seed = false,
  distribution = false }
for word in pairs(impairment.words) do
  if form_of[word] == nil and word ~= "each_packet" then
    form_of[word] = "fraction"
  end
end

---A value of an impairment as text: "10ms", "100mbit", "1%".
---@param word string
---@param value any
---@return string
function M.value(word, value)
  local form = form_of[word]
  if type(value) == "table" then
    local parts = { "gemodel" }
    for _, each in ipairs { "p", "r", "h", "k" } do
      local part = value.gemodel[each]
      parts[#parts + 1] = part and each .. " " .. exactly(part, table.unpack(forms.fraction)) or nil
    end
    return table.concat(parts, " ")
  elseif form then
    return exactly(value, table.unpack(forms[form]))
  end
  return tostring(value)
end

local bare = { delay = true, rate = true, loss = true }
local order = { "delay", "jitter", "rate", "loss" }
do
  local rest = {}
  for word in pairs(impairment.words) do
    if not bare[word] and word ~= "jitter" then
      rest[#rest + 1] = word
    end
  end
  table.sort(rest)
  table.move(rest, 1, #rest, #order + 1, order)
end

local function same_bursts(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then
    return false
  end
  for _, word in ipairs { "p", "r", "h", "k" } do
    if a.gemodel[word] ~= b.gemodel[word] then
      return false
    end
  end
  return true
end

---What impairs a link, as the items between its dashes; what is of one direction has an arrow. A VXLAN's number is the first.
---@param link nslua.lab.TopologyLink
---@return string[]
function M.items(link)
  local out = {}
  local to, from = link.to or {}, link.from or {}
  local function put(mark, word, value)
    if value == true then
      out[#out + 1] = mark .. word
    elseif value ~= nil and value ~= false then
      local said = M.value(word, value)
      out[#out + 1] = mark .. (bare[word] and not tonumber(said) and type(value) ~= "table" and "" or word .. " ") .. said
    end
  end
  out[1] = link.vxlan and ("vxlan %d"):format(link.vxlan) or nil
  for _, word in ipairs(order) do
    if to[word] == from[word] or word == "loss" and same_bursts(to[word], from[word]) then
      put("", word, to[word])
    else
      put(">", word, to[word])
      put("<", word, from[word])
    end
  end
  return out
end

local function end_text(at)
  local parts = {}
  if not at then
    return ""
  end
  if at.dev then
    parts[1] = (at.dev == "vlan" or at.dev == "trunk" or at.dev == "dev" or at.dev == "foreign" or not at.dev:find "^[%a_][%w_.-]*$")
      and "dev " .. quoted.write(at.dev) or at.dev
  end
  for _, address in ipairs(at.address or {}) do
    parts[#parts + 1] = address
  end
  parts[#parts + 1] = at.foreign and "foreign" or nil
  for _, word in ipairs { "vlan", "trunk" } do
    local ids = at[word]
    if ids then
      parts[#parts + 1] = word .. " " .. table.concat(type(ids) == "table" and ids or { ids }, " ")
    end
  end
  return parts[1] and "[" .. table.concat(parts, " ") .. "]" or ""
end

local function options_text(node, degree)
  local parts = {}
  local default = degree > 1 and "router" or "host"
  if node.kind ~= "switch" and node.kind ~= default and not node.container then
    parts[1] = "kind=" .. node.kind
  end
  for _, word in ipairs { "ipv4", "ipv6" } do
    if node[word] ~= nil then
      parts[#parts + 1] = word .. "=" .. (node[word] and "on" or "off")
    end
  end
  if node.addresses == false then
    parts[#parts + 1] = "address=none"
  end
  for _, address in ipairs(node.addresses or {}) do
    parts[#parts + 1] = "address=" .. address
  end
  for _, service in ipairs(node.serve or {}) do
    parts[#parts + 1] = "serve=" .. service
  end
  for _, word in ipairs { "container", "bridge", "macvlan", "wire" } do
    parts[#parts + 1] = node[word] and word .. "=" .. quoted.write(node[word]) or nil
  end
  local names = {}
  for name in pairs(node.sysctl or {}) do
    names[#names + 1] = name
  end
  table.sort(names)
  for _, name in ipairs(names) do
    parts[#parts + 1] = name .. "=" .. quoted.write(node.sysctl[name])
  end
  return parts[1] and "{" .. table.concat(parts, ", ") .. "}" or ""
end

local function lab_options_text(topology)
  local parts = {}
  for _, word in ipairs { "ipv4", "ipv6", "multipath", "wire" } do
    if topology[word] ~= nil then
      parts[#parts + 1] = word .. "=" .. (topology[word] and "on" or "off")
    end
  end
  parts[#parts + 1] = topology.seed and ("seed=%d"):format(topology.seed)
  return parts[1] and "{" .. table.concat(parts, ", ") .. "}"
end

---The text of a topology: a line for each chain of links, in their order.
---@param topology nslua.lab.Topology
---@return string
function M.of(topology)
  local degree, by_name, told, lines = {}, {}, {}, { lab_options_text(topology) }
  for _, node in ipairs(topology.nodes) do
    by_name[node.name] = node
    if not node.name:find "^[%a_]" then
      errors.misuse("lab: node %s has no text: in a text names begin with a letter", node.name)
    end
  end
  for _, link in ipairs(topology.links) do
    for side = 1, 2 do
      degree[link[side]] = (degree[link[side]] or 0) + 1
    end
  end
  local function node_text(name)
    local node = by_name[name]
    local text = node.kind == "switch" and "(" .. name .. ")" or name
    if not told[name] then
      told[name] = true
      text = text .. options_text(node, degree[name] or 0)
    end
    return text
  end
  -- the order of the nodes is that in which they are named: those that come too late are named first, alone
  local seen, place = {}, 0
  for _, link in ipairs(topology.links) do
    for side = 1, 2 do
      if not seen[link[side]] then
        seen[link[side]] = true
        place = place + 1
        if topology.nodes[place].name ~= link[side] then
          seen = nil
          break
        end
      end
    end
    if not seen then
      break
    end
  end
  for _, node in ipairs(seen and {} or topology.nodes) do
    lines[#lines + 1] = node_text(node.name)
  end
  local line, last
  for _, link in ipairs(topology.links) do
    local items = M.items(link)
    if link.via then
      items[1] = ("%s via %s %s"):format(items[1], link.via[1], link.via[2])
    end
    for _, word in ipairs { "mtu", "cost" } do
      items[#items + 1] = link[word] and word .. " " .. tostring(link[word])
    end
    items[#items + 1] = link.name and "name " .. quoted.write(link.name)
    for _, subnet in ipairs(link.subnet or { link.subnet == false and "subnet none" or nil }) do
      items[#items + 1] = subnet
    end
    local dashes = items[1] and "--" .. table.concat(items, ", ") .. "--" or "--"
    local ends = link.ends or {}
    local near = end_text(ends[1])
    -- a bracket in the middle of a chain would be of the link before it
    if not line or last ~= link[1] or near ~= "" then
      lines[#lines + 1] = line
      line = node_text(link[1]) .. near
    end
    line = ("%s %s %s%s"):format(line, dashes, node_text(link[2]), end_text(ends[2]))
    last = link[2]
  end
  lines[#lines + 1] = line
  if seen then
    for i = place + 1, #topology.nodes do
      lines[#lines + 1] = node_text(topology.nodes[i].name)
    end
  end
  return table.concat(lines, "\n") .. "\n"
end

return M
