-- One examination: the snapshots of the namespaces that are looked at, and what was found.

local snapshot = require "nslua.inspect.doctor.snapshot"
local spaces = require "nslua.inspect.doctor.spaces"

local M = {}

---@class nslua.doctor.Examination
---@field quick boolean
---@field ports { proto: "tcp"|"udp", port: integer }[]  that something should listen on
local Examination = {}
Examination.__index = Examination

---@param options { quick: boolean?, ports: table? }
---@return nslua.doctor.Examination
function M.new(options)
  return setmetatable({ quick = options.quick or false, ports = options.ports or {}, spaces = spaces.new(), snapshots = {}, findings = {},
    unseen = {} }, Examination)
end

---The snapshot of a namespace, the same for all who ask.
---@param handle nslua.Netns
---@return nslua.doctor.Snapshot
function Examination:of(handle)
  local known = self.snapshots[handle.inode]
  if not known then
    known = snapshot.new(self, self.spaces:of(handle))
    self.snapshots[handle.inode] = known
  end
  return known
end

---The namespace that has an id in another; nil where it cannot be found.
---@param of nslua.doctor.Snapshot
---@param nsid integer
---@return nslua.doctor.Snapshot?
function Examination:by_nsid(of, nsid)
  repeat
    for i = (of.asked or 0) + 1, of.nsids[nsid] and 0 or #self.spaces.all do
      local handle = self.spaces.all[i].handle
      local id = rawget(handle, "fd") and of.handle:nsid_of(handle)
      if id then
        of.nsids[id] = handle
      end
      of.asked = i
      if id == nsid then
        break
      end
    end
  until of.nsids[nsid] or not self.spaces:census()
  local handle = of.nsids[nsid]
  return handle and self:of(handle)
end

function Examination:close()
  self.spaces:close()
end
Examination.__close = Examination.close

return M
