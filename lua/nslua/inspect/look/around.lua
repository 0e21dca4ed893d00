-- The namespaces that the links of one lead to: what they are called, open while they are looked at.

local core = require "nslua.core"
local namespace = require "nslua.namespace"
local netrow = require "nslua.netrow"
local ns = require "nslua"

local M = {}

-- What a namespace is called: its name in /run/netns, its container, a process in it.
local function title(row, inode, here, names)
  if inode == here then
    return "this namespace"
  elseif names.named[inode] then
    return names.named[inode]
  end
  if not names.containers then
    names.containers = {}
    local ok, rows = pcall(ns.container.list)
    for _, each in ipairs(ok and rows or {}) do
      names.containers[each.netns or 0] = names.containers[each.netns or 0] or each.engine .. " " .. each.name
    end
  end
  if names.containers[inode] then
    return names.containers[inode]
  elseif row.pid then
    return ("pid %d (%s)"):format(row.pid, (row.command or "?"):match "^%S*":match "[^/]*$")
  end
  return row.paths[1] or ("net:[%d]"):format(inode)
end

local Around = {}
Around.__index = Around

---Close what was opened.
function Around:close()
  for _, each in pairs(self.open) do
    if not each.borrowed then
      each.handle:close()
    end
  end
  self.open = {}
end
Around.__close = Around.close

-- Those whose id is in `wanted` are opened, the one of this process first, and then those that the script has open, which need no right; most others
-- are found without a look at every open file.
local function find(self, handle, wanted)
  local current = ns.netns.current()
  local here = current.inode
  local function take(other, name, borrowed)
    local ok, id = pcall(handle.nsid_of, handle, other)
    if ok and id and wanted[id] then
      self.open[id], wanted[id] = { handle = other, name = name, inode = other.inode, borrowed = borrowed }, nil
    elseif not borrowed then
      other:close()
    end
  end
  take(current, "this namespace")
  for other in pairs(namespace.live) do
    if next(wanted) and other.type == "net" and rawget(other, "fd") and other ~= handle and other.inode ~= here then
      take(other, other:describe(), true)
    end
  end
  local names = { named = {} }
  for quick = 1, 2 do
    if not next(wanted) then
      return
    end
    for _, row in ipairs(ns.netns.list()) do
      names.named[row.inode or 0] = row.name
    end
    for _, row in ipairs(ns.namespace.list { type = "net", fds = quick == 2, sockets = quick == 2 }) do
      local other = next(wanted) and row.inode ~= here and row.inode ~= handle.inode and netrow.open(row)
      if other then
        take(other, title(row, row.inode, here, names))
      end
    end
  end
end

---@param handle nslua.Netns
---@param links nslua.Link[]
---@return table  `open`: by the id that they have in `handle`, { handle, name, inode }; to be closed
function M.of(handle, links)
  local self, wanted = setmetatable({ open = {} }, Around), {}
  for _, row in ipairs(links) do
    if row.link_netnsid and row.link_index then
      wanted[row.link_netnsid] = true
    end
  end
  if next(wanted) then
    local ok, e = pcall(find, self, handle, wanted)
    if not ok then
      self:close()
      error(e, 0)
    end
  end
  return self
end

---The other end of a veth, or what a link stands upon: where it is, what it is called there, and the bridge that it is a port of.
---@param self table  of M.of
---@param handle nslua.Netns
---@param row nslua.Link
---@return table?
function M.peer(self, handle, row)
  if not row.link_index or row.link_index == 0 then
    return nil
  elseif not row.link_netnsid then
    local other = handle.link:get(row.link_index)
    return other and { name = other.name, space = "the same namespace", netns = handle.inode, bridge = other.master, up = other.up } or nil
  end
  local there = self.open[row.link_netnsid]
  local ok, other = pcall(function()
    return there and there.handle.link:get(row.link_index)
  end)
  if not ok or not other then -- this process may not look there, or it has gone
    return { name = ("if%d"):format(row.link_index), space = there and there.name or ("nsid %d"):format(row.link_netnsid) }
  end
  return { name = other.name, space = there.name, netns = there.inode, bridge = other.master, up = other.up, index = other.index,
    state = other.port and other.port.state, hairpin = other.port and other.port.hairpin }
end

---The text of a process's name.
---@param pid integer
---@return string?
function M.command(pid)
  local text = core.foreign.read("/", ("/proc/%d/comm"):format(pid), 64)
  return text and (text:gsub("\n$", "")) or nil
end

return M
