-- The state of namespaces as a value: ns.snapshot(target).

local check = require "nslua.check"
local core = require "nslua.core"
local errors = require "nslua.error"
local namespace = require "nslua.namespace"
local netns = require "nslua.netns"
local objects = require "nslua.inspect.record.objects"

local M = {}

---@class nslua.Snapshot
---@field time number    seconds since 1970
---@field namespaces { netns: string, inode: integer, container: string?, link: table[], address: table[], route: table[], rule: table[],
---neighbour: table[], conntrack: table[]? }[]  objects are plain tables with the keys of their rows

---@class nslua.SnapshotState: nslua.Snapshot
local Snapshot = { __name = "nslua.Snapshot" }
Snapshot.__index = Snapshot

---The state as text: a line for each object, below the names of the namespaces; without what follows from others (the kernel's routes of an
---address, the usual rules).
---@return string
function Snapshot:text()
  local out = {}
  for _, space in ipairs(self.namespaces) do
    out[#out + 1] = space.netns .. (space.container and " (" .. space.container .. ")" or "") .. ":"
    for _, what in ipairs(objects.all) do
      for _, object in ipairs(space[what] or {}) do
        if not objects.implied(what, object) then
          out[#out + 1] = "  " .. objects.line(what, object)
        end
      end
    end
  end
  return table.concat(out, "\n")
end
Snapshot.__tostring = Snapshot.text

---@package
---@param time number
---@param namespaces table[]
---@return nslua.Snapshot
function M.new(time, namespaces)
  return setmetatable({ time = time, namespaces = namespaces }, Snapshot)
end

local sets = {}
for _, what in ipairs(objects.all) do
  sets[what] = true
end

---@package
---@param call string
---@param list string[]?
---@return string[]
function M.wanted(call, list)
  if list ~= nil and type(list) ~= "table" then
    errors.misuse("%s: a list of objects expected, got %s", call, type(list))
  end
  for _, what in ipairs(list or {}) do
    if not sets[what] then
      errors.misuse("%s: %s", call, check.unknown("object", what, sets))
    end
  end
  return list and list[1] and list or objects.all
end

---@package
---What a container is called, or nil.
---@param handle nslua.Netns
---@return string?
function M.container(handle)
  local engine, id = rawget(handle, "engine"), rawget(handle, "container")
  return engine and id and ("%s:%s"):format(engine, rawget(handle, "name") or id:sub(1, 12)) or nil
end

local function read(handle, wanted)
  local out = { netns = handle:describe(), inode = handle.inode, container = M.container(handle) }
  for _, what in ipairs(wanted) do
    local list = {}
    local ok, rows = pcall(handle[what].list, handle[what])
    if not ok and what ~= "conntrack" then -- which a kernel may not have
      error(rows, 0)
    end
    for i, row in ipairs(ok and rows or {}) do
      list[i] = row:decode()
    end
    out[what] = ok and list or nil
  end
  return out
end

---The state of a namespace, or of several: links, addresses, routes, rules, neighbours, tracked connections, as plain tables, to be kept and
---compared with a later one: `print(ns.diff(before, ns.snapshot "docker:web"))`.
---@param target? any     what ns.netns.open takes, or a list of that (default: the current namespace)
---@param wanted? string[]  of "link", "address", "route", "rule", "neighbour", "conntrack" (default: all)
---@return nslua.Snapshot
function M.snapshot(target, wanted)
  local kinds = M.wanted("snapshot", wanted)
  local list = type(target) == "table" and not namespace.is(target) and target or { target or netns.current() }
  local out = {}
  for i, each in ipairs(list) do
    out[i] = netns.with(each, function(handle)
      return read(handle, kinds)
    end)
  end
  return M.new(core.file.now(), out)
end

return M
