-- The part of a map that is around something: a container, a namespace, a lab, and what their links lead to.

local check = require "nslua.check"
local errors = require "nslua.error"

local M = {}

local function all_names(space)
  local out = { space.title, table.unpack(space.names) }
  for _, c in ipairs(space.containers) do
    for _, name in ipairs { c.name, c.engine .. ":" .. c.name, c.id, c.engine .. ":" .. c.id, c.pod, c.pod and "pod:" .. c.pod } do
      out[#out + 1] = name
    end
  end
  if space.lab then
    for _, name in ipairs { space.lab.name, "lab:" .. space.lab.name, ("%s/%s"):format(space.lab.name, space.lab.node) } do
      out[#out + 1] = name
    end
  end
  return out
end

local SHORT = 4 -- characters that are enough of a container's id

local function fits(space, what)
  if type(what) ~= "string" then
    return space.inode == what
  end
  for _, name in ipairs(all_names(space)) do
    if name == what then
      return true
    end
  end
  for _, c in ipairs(space.containers) do
    if #what >= SHORT and (c.id:sub(1, #what) == what or (c.engine .. ":" .. c.id):sub(1, #what) == what and #what >= #c.engine + 1 + SHORT) then
      return true
    end
  end
  return false
end

-- Inodes of those it leads to, for each.
local function neighbours(map)
  local out = {}
  for _, wire in ipairs(map.wires) do
    local a, b = wire.ends[1].netns, wire.ends[2].netns
    if a and b and a ~= b then
      out[a], out[b] = out[a] or {}, out[b] or {}
      table.insert(out[a], b)
      table.insert(out[b], a)
    end
  end
  return out
end

-- A namespace that is only on the way: without links that lead to what is left out, and bridges that have then nothing on them.
local function trimmed(space, near)
  local gone, had, has, links = {}, {}, {}, {}
  for _, link in ipairs(space.links) do
    local far = link.peer or link.lower
    gone[link] = far and far.netns and not near[far.netns] or false
    if link.master_index then
      had[link.master_index] = true
      has[link.master_index] = has[link.master_index] or not gone[link]
    end
  end
  for _, link in ipairs(space.links) do
    if not gone[link] and (not had[link.index] or has[link.index]) then
      links[#links + 1] = link
    end
  end
  local out = {}
  for key, value in pairs(space) do
    out[key] = value
  end
  out.links = links
  return out
end

---@param map nslua.Map
---@param what string|integer
---@param hops integer
---@return table  the fields of the map
function M.of(map, what, hops)
  local near, edge, near_by = {}, {}, neighbours(map)
  for _, space in ipairs(map.namespaces) do
    if fits(space, what) then
      near[space.inode], edge[#edge + 1] = 0, space.inode
    end
  end
  if not edge[1] then
    local known = {}
    for _, space in ipairs(map.namespaces) do
      for _, name in ipairs(all_names(space)) do
        known[name] = true
      end
    end
    errors.raise { call = "map.around", errno = require("nslua.core").errno.ENOENT,
      message = check.unknown("container, namespace or lab", tostring(what), known) }
  end
  for hop = 1, hops do
    local further = {}
    for _, inode in ipairs(edge) do
      for _, other in ipairs(near_by[inode] or {}) do
        if not near[other] then
          near[other], further[#further + 1] = hop, other
        end
      end
    end
    edge = further
  end
  local out = { version = map.version, time = map.time, complete = map.complete, missed = map.missed, namespaces = {}, wires = {} }
  for _, space in ipairs(map.namespaces) do
    local far = near[space.inode]
    out.namespaces[#out.namespaces + 1] = far and (far > 0 and trimmed(space, near) or space) or nil
  end
  for _, wire in ipairs(map.wires) do
    local a, b = wire.ends[1].netns, wire.ends[2].netns
    if near[a] and (near[b] or not b) then
      out.wires[#out.wires + 1] = wire
    end
  end
  return out
end

return M
