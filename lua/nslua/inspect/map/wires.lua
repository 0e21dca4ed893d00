-- What leads from one link to another: veths, links that stand upon others, tunnels whose two ends are both seen.

local M = {}

---@class nslua.map.End
---@field netns integer   inode
---@field index integer?  of the link
---@field link string?    its name; nil: it was not seen

local function ends_of(space, each, far, spaces, by_index)
  local other = far.netns and by_index[far.netns] and by_index[far.netns][far.index]
  far.link = other and other.name or nil
  far.title = far.netns and spaces[far.netns] and spaces[far.netns].title or nil
  return { { netns = space.inode, index = each.index, link = each.name }, { netns = far.netns, index = far.index, link = far.link } }, other
end

-- Tunnels with the same kind and id, whose addresses are each other's.
local function tunnels(list, wires)
  local by = {}
  local function key(kind, id, from, to)
    return table.concat({ kind, id or "", from or "", to or "" }, " ")
  end
  for _, each in ipairs(list) do
    local has = each[2].tunnel
    if has.remote and has.local_ then
      by[key(each[2].kind, has.id, has.local_, has.remote)] = each
    end
  end
  for _, each in ipairs(list) do
    local space, link = each[1], each[2]
    local has = link.tunnel
    local other = has.remote and has.local_ and by[key(link.kind, has.id, has.remote, has.local_)]
    if other and other ~= each and not has.peer then
      local there, far = other[1], other[2]
      has.peer = { netns = there.inode, index = far.index, link = far.name, title = there.title }
      far.tunnel.peer = { netns = space.inode, index = link.index, link = link.name, title = space.title }
      wires[#wires + 1] = { kind = link.kind, ends = { { netns = space.inode, index = link.index, link = link.name },
        { netns = there.inode, index = far.index, link = far.name } }, up = link.up and far.up }
    end
  end
end

---@param list nslua.map.Namespace[]
---@return nslua.map.Wire[]
function M.of(list)
  local spaces, by_index, wires, ends = {}, {}, {}, {}
  for _, space in ipairs(list) do
    local known = {}
    spaces[space.inode], by_index[space.inode] = space, known
    for _, each in ipairs(space.links) do
      known[each.index] = each
    end
  end
  for _, space in ipairs(list) do
    for _, each in ipairs(space.links) do
      local far = each.peer
      if far then
        local pair, other = ends_of(space, each, far, spaces, by_index)
        local first = not other or space.inode < far.netns or space.inode == far.netns and each.index < far.index
        if first or not other.peer or other.peer.index ~= each.index then
          wires[#wires + 1] = { kind = each.kind, ends = pair, up = each.up and (not other or other.up) }
        end
      elseif each.lower then
        local pair = ends_of(space, each, each.lower, spaces, by_index)
        wires[#wires + 1] = { kind = each.kind, ends = pair, up = each.up }
      elseif each.tunnel then
        ends[#ends + 1] = { space, each }
      end
    end
  end
  tunnels(ends, wires)
  return wires
end

return M
