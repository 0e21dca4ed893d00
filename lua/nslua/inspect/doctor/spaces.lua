-- The namespaces that an examination may look into: those this process has open, this process's own, then the rest of the machine.

local namespace = require "nslua.namespace"
local netrow = require "nslua.netrow"
local netns = require "nslua.netns"

local M = {}

local MOST = 400 -- that are held open at a time

---@class nslua.doctor.Spaces
---@field all { handle: nslua.Netns, title: string, enter: string? }[]  `enter`: what `nslua enter` takes
---@field owned nslua.Netns[]  opened here
local Spaces = {}
Spaces.__index = Spaces

-- What a user would call it, and how it is entered.
local function words_of(handle, here)
  local lab, node = rawget(handle, "lab"), rawget(handle, "node_name")
  if lab and node then
    return node, ("lab exec '%s' %s"):format(lab.name or "?", node)
  elseif rawget(handle, "container") then
    return handle:describe(), ("enter '%s:%s'"):format(handle.engine, handle.container:sub(1, 12))
  elseif handle.inode == here then
    return rawget(handle, "label") or rawget(handle, "name") or "this namespace", nil
  elseif rawget(handle, "name") then
    return handle.name, ("enter '%s'"):format(handle.name)
  end
  local pid = rawget(handle, "pid")
  return handle:describe(), pid and ("enter pid:%d"):format(pid) or nil
end

local function add(self, handle)
  if not self.by_inode[handle.inode] then
    local title, enter = words_of(handle, self.here)
    local space = { handle = handle, title = title, enter = enter }
    self.by_inode[handle.inode] = space
    self.all[#self.all + 1] = space
  end
end

---@return nslua.doctor.Spaces
function M.new()
  local self = setmetatable({ all = {}, by_inode = {}, owned = {} }, Spaces)
  local current = netns.current()
  self.owned[1], self.here = current, current.inode
  -- names of a lab, a container are better than the number this process has
  for handle in pairs(namespace.live) do
    if rawget(handle, "type") == "net" and rawget(handle, "fd") and (rawget(handle, "node_name") or rawget(handle, "container")) then
      add(self, handle)
    end
  end
  for handle in pairs(namespace.live) do
    if rawget(handle, "type") == "net" and rawget(handle, "fd") and handle ~= current then
      add(self, handle)
    end
  end
  add(self, current)
  return self
end

---Add one that is asked about.
---@param handle nslua.Netns
---@return { handle: nslua.Netns, title: string, enter: string? }
function Spaces:of(handle)
  add(self, handle)
  return self.by_inode[handle.inode]
end

---The rest of the machine, once: true where there may be new ones.
---@return boolean
function Spaces:census()
  if self.counted then
    return false
  end
  self.counted = true
  local before = #self.all
  for _, row in ipairs(namespace.list { type = "net", fds = false, sockets = false }) do
    if not self.by_inode[row.inode] and #self.owned < MOST then
      local handle = netrow.open(row)
      if handle then
        self.owned[#self.owned + 1] = handle
        handle.pid = rawget(handle, "pid") or row.pid
        local command = row.command and row.command:match "^%S*":match "[^/]*$"
        handle.label = rawget(handle, "name") or row.pid and ("pid %d (%s)"):format(row.pid, (command or "?"):gsub("[%c\127]", "?")) or nil
        add(self, handle)
      end
    end
  end
  return #self.all > before
end

function Spaces:close()
  for _, handle in ipairs(self.owned) do
    handle:close()
  end
  self.owned = {}
end

return M
