-- Ids that one network namespace gives to others. rtnetlink(7), ip-netns(8), linux/net_namespace.h.

local device = require "nslua.rtnl.device"
local errors = require "nslua.error"
local netlink = require "nslua.netlink"
local schema = require "nslua.schema"

local M = {}

schema.struct("rtgenmsg", { c = "struct rtgenmsg", header = "linux/rtnetlink.h", prefix = "rtgen_" }, "family u8")
schema.set("nsid", { header = "linux/net_namespace.h", prefix = "NETNSA_" }, [[
  1  NSID          nsid          s32
  2  PID           pid           u32
  3  FD            fd            u32
  4  TARGET_NSID   target_nsid   s32
  5  CURRENT_NSID  current_nsid  s32
]])
schema.message("nsid", { head = "rtgenmsg", attrs = "nsid", c = "NSID", header = "linux/rtnetlink.h", new = 88, del = 89, get = 90 })

local NEW, GET = 88, 90
local NONE = -1 -- NETNSA_NSID_NOT_ASSIGNED

---The id that `handle` has for another namespace.
---@param handle table
---@param other any  a handle, name, pid or path
---@return integer? id  nil where it has none
function M.of(handle, other)
  local call = "netns.nsid_of"
  local target, owned = device.netns(other, call)
  local S = schema.compile "nsid"
  local ok, row = pcall(netlink.ask, { handle = handle, object = { name = "nsid", get = GET, schema = S, class = M.class } }, call,
    S:encode { fd = target.fd:number() })
  if owned then
    target:close()
  end
  if not ok then
    error(row, 0)
  end
  local id = row.nsid
  return id ~= NONE and id or nil
end

---Give another namespace an id in `handle`.
---@param handle table
---@param other any   a handle, name, pid or path
---@param id? integer  0 or more; without, the kernel chooses
---@return integer id
function M.set(handle, other, id)
  local call = "netns.set_nsid"
  if id ~= nil and (type(id) ~= "number" or id % 1 ~= 0 or id < 0 or id > 2147483647) then
    errors.misuse("%s: id must be an integer from 0, got %s", call, tostring(id))
  end
  if netlink.transaction then
    netlink.transaction:note(handle, call, nil)
  end
  local target, owned = device.netns(other, call)
  local S = schema.compile "nsid"
  netlink.flush()
  local ok, e = pcall(netlink.write, { NEW, 0, S:encode { fd = target.fd:number(), nsid = id or NONE }, handle = handle, call = call, object = "nsid",
    schema = S, detail = id and ("id = %d"):format(id), far = target, fds = { target }, asked = { call = call, other, id } })
  local given = id
  if ok and not id then
    given = M.of(handle, target)
  end
  if owned then
    target:close()
  end
  if not ok then
    error(e, 0)
  end
  return given
end

---Every id that `handle` has for other namespaces; or that the one with id `target` has, as `handle` sees them.
---@param handle table
---@param target? integer
---@return integer[]|{ id: integer, current: integer? }[]  ascending
function M.list(handle, target)
  local S = schema.compile "nsid"
  local dump = netlink.dump(handle, "netns.nsids", "nsid", S, GET, S:encode { target_nsid = target })
  local out = {}
  for row in dump:each(S, M.class) do
    local current = row.current_nsid
    out[#out + 1] = target and { id = row.nsid, current = current ~= NONE and current or nil } or row.nsid
  end
  table.sort(out, target and function(a, b)
    return a.id < b.id
  end or nil)
  return out
end

M.class = schema.class { name = "nsid" }

return M
