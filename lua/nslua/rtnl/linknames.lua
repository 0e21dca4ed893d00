-- Names of a namespace's links, kept by its events: what a row tells of is called as it was at that time.

local verbs = require "nslua.rtnl.verbs"

local M = {}

local NEW, DEL, AF_BRIDGE = 16, 17, 7
local LEFT = 1024 -- names of links that are gone are kept for what is told of them later: so many

---@class nslua.LinkNames
---@field set table     the row set of what is told now
---@field left integer  links that are gone and have their names in it
local Names = {}
Names.__index = Names

---Ask for the names there are.
function Names:ask()
  self.set, self.left = verbs.rowset(self.collection), 0
  self.set.names = require("nslua.rtnl.link").names(self.collection.handle)
end

---The row of a message.
---@param what string
---@param bytes string
---@return nslua.Row
function Names:row(what, bytes)
  local object = self.collection.handle[what].object
  return (object.schema or verbs.schema(object)):row(bytes, object.class, self.set)
end

---Take notice of an event.
---@param kind integer
---@param bytes string
function Names:follow(kind, bytes)
  if kind == DEL and bytes:byte(1) ~= AF_BRIDGE then
    self.left = self.left + 1
    if self.left > LEFT then
      self:ask()
    end
  elseif kind == NEW then
    local row = self:row("link", bytes)
    local index, name = row.index, row.name
    local names = self.set.names
    local old = names[index]
    if name and old and name ~= old then -- rows of before keep the names of before
      local copy = {}
      for i, each in pairs(names) do
        copy[i] = each
      end
      self.set = verbs.rowset(self.collection)
      self.set.names, names = copy, copy
    end
    names[index] = name or old
  end
end

---Those of a namespace whose events of links are listened for already.
---@param handle table
---@return nslua.LinkNames
function M.new(handle)
  local self = setmetatable({ collection = handle.link }, Names)
  self:ask()
  return self
end

return M
