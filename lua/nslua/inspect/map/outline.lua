-- Which namespaces are told by themselves, and which where they hang: one whose links all lead to such as are told by themselves is a leaf.

local M = {}

---A key that sorts as people count: h2 before h10.
---@param text string
---@return string
function M.natural(text)
  return (text:gsub("%d+", function(n)
    return (("0"):rep(20) .. n):sub(-20)
  end))
end
local natural = M.natural

---@class nslua.map.Outline
---@field blocks nslua.map.Namespace[]           that are told by themselves
---@field leaf table<nslua.map.Namespace, true>  that are told with what they hang on
---@field alone nslua.map.Namespace[]            that have nothing but lo
---@field by_inode table<integer, nslua.map.Namespace>
---@field ends table<integer, nslua.map.Link[]>  of an inode: links by index

---Whether a link is what every namespace has from the beginning.
---@param each nslua.map.Link
---@return boolean
function M.usual(each)
  return each.kind == "loopback" or not each.up and (each.name == "tunl0" or each.name == "sit0" or each.name == "gre0"
    or each.name == "gretap0" or each.name == "erspan0" or each.name == "ip6tnl0" or each.name == "ip_vti0" or each.name == "ip6_vti0")
end

---@param map nslua.Map
---@return nslua.map.Outline
function M.of(map)
  local out = { blocks = {}, leaf = {}, alone = {}, by_inode = {}, ends = {} }
  local wired, list, degree, must, order = {}, {}, {}, {}, {}
  for i, space in ipairs(map.namespaces) do
    out.by_inode[space.inode], out.ends[space.inode] = space, {}
    for _, each in ipairs(space.links) do
      out.ends[space.inode][each.index] = each
    end
    order[space] = i
  end
  for _, space in ipairs(map.namespaces) do
    local n, far_away = 0, true
    for _, each in ipairs(space.links) do
      if not M.usual(each) then
        n = n + 1
        local far = each.peer or each.lower
        local other = far and far.netns and far.netns ~= space.inode and out.by_inode[far.netns]
        if other and not each.master and not each.tunnel then
          wired[space] = wired[space] or {}
          table.insert(wired[space], other)
        else
          far_away = false
        end
      end
    end
    degree[space] = n
    must[space] = space.host or space.current or n > 0 and not far_away or space.error ~= nil
    if n == 0 and not must[space] then
      table.insert(out.alone, space)
    else
      table.insert(list, space)
    end
  end
  table.sort(list, function(a, b)
    if must[a] ~= must[b] then
      return must[a]
    elseif degree[a] ~= degree[b] then
      return degree[a] > degree[b]
    end
    return order[a] < order[b]
  end)
  local told = {}
  for _, space in ipairs(list) do
    local hangs = not must[space]
    for _, other in ipairs(wired[space] or {}) do
      hangs = hangs and told[other]
    end
    if hangs then
      out.leaf[space] = true
    else
      told[space] = true
      table.insert(out.blocks, space)
    end
  end
  table.sort(out.blocks, function(a, b)
    return order[a] < order[b]
  end)
  return out
end

---The link at the other end.
---@param outline nslua.map.Outline
---@param far nslua.map.Far
---@return nslua.map.Link?
---@return nslua.map.Namespace?
function M.far(outline, far)
  local there = far.netns and outline.by_inode[far.netns] or nil
  return there and outline.ends[there.inode][far.index], there
end

---Addresses that say something: not those of link scope, unless all are wanted.
---@param each nslua.map.Link
---@param all? boolean
---@return string[]
function M.addresses(each, all)
  local out = {}
  for _, address in ipairs(each.addresses) do
    if all or not address:find "^fe80:" then
      out[#out + 1] = address
    end
  end
  return out
end

---Ports of each bridge, by its index, and the rest, in the order in which people count.
---@param space nslua.map.Namespace
---@param title fun(each: nslua.map.Link): string  what a port leads to
---@return table<integer, nslua.map.Link[]> ports
---@return nslua.map.Link[] rest  without the usual
function M.ports(space, title)
  local ports, rest, known = {}, {}, {}
  for _, each in ipairs(space.links) do
    known[each.index] = true
  end
  for _, each in ipairs(space.links) do
    if each.master_index and known[each.master_index] then
      ports[each.master_index] = ports[each.master_index] or {}
      table.insert(ports[each.master_index], each)
    elseif not M.usual(each) then
      rest[#rest + 1] = each
    end
  end
  for _, list in pairs(ports) do
    local key = {}
    for _, each in ipairs(list) do
      local far = title(each)
      key[each] = natural(far:find "^net:" and "~" or far) .. " " .. natural(each.name)
    end
    table.sort(list, function(a, b)
      return key[a] < key[b]
    end)
  end
  return ports, rest
end

return M
