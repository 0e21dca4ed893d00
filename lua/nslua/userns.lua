-- User namespaces: made without changing the script's own, and held by a handle. user_namespaces(7)

local check = require "nslua.check"
local core = require "nslua.core"
local errors = require "nslua.error"
local idmap = require "nslua.idmap"
local keeper = require "nslua.keeper"
local namespace = require "nslua.namespace"
local privilege = require "nslua.privilege"

local M = {}

---@class nslua.Userns: nslua.Namespace
local Userns = { __name = "nslua.Userns", __eq = namespace.Namespace.__eq, __close = namespace.Namespace.__close,
  __tostring = namespace.Namespace.__tostring }
M.Userns = Userns

local methods = {}
for name, fn in pairs(namespace.Namespace.methods) do
  methods[name] = fn
end
M.methods = methods
Userns.__index = namespace.index(methods)

namespace.class("user", Userns)

---Its id maps, as they were written: outside ids are those of its parent.
---@return nslua.IdMaps
function methods:maps()
  return keeper.maps(namespace.fd_of(self, "userns.maps"))
end

---A second handle of the same namespace.
---@return nslua.Userns
function methods:copy()
  local fd = namespace.fd_of(self, "userns.copy")
  local copy, message, errno = core.namespace.dup(fd, core.namespace.flags.user)
  errors.check("userns.copy", { hint = privilege.hint(errno, {}) }, copy, message, errno)
  if keeper.trusted(fd) then
    keeper.trust(copy)
  end
  return namespace.wrap("user", copy, { label = rawget(self, "label") })
end

---@class nslua.NewUserns
---@field map_users? nslua.MapWord|(nslua.MapWord|nslua.IdRange)[]   words, ranges { inside, outside, count }, or a list of these
---@field map_groups? nslua.MapWord|(nslua.MapWord|nslua.IdRange)[]  default: the words of map_users
---@field setgroups? "deny"|"allow"
---@field label? string  what messages call it

---Make a user namespace. It takes no rights to map one's own id ("root", "current"); ranges take CAP_SETUID and CAP_SETGID, or newuidmap(1),
---newgidmap(1) and a line for the user in /etc/subuid and /etc/subgid, or in the source that a `subid:` line of /etc/nsswitch.conf names (it is
---asked by getsubids(1)). "auto" maps the user's first block there from id 0 on, "subids" maps it to itself, "all" maps every id there is here to
---itself. Single ids go before ranges: { "root", "auto" } maps root to the caller, the rest to subordinate ids.
---@param options? nslua.NewUserns
---@return nslua.Userns
function M.new(options)
  options = options or {}
  check.options("userns.new", options, { map_users = "string|table", map_groups = "string|table", setgroups = "string", label = "string" })
  local maps = idmap.resolve(options.map_users, options.map_groups, options.setgroups, "userns.new")
  return namespace.wrap("user", keeper.userns(maps), { label = options.label })
end

---Open the user namespace of a process, a path or an fd: what nslua.namespace.open takes.
---@param target any
---@return nslua.Userns
function M.open(target)
  return namespace.open(target, "user", "userns.open")
end

---The user namespace this process is in.
---@return nslua.Userns
function M.current()
  return namespace.current "user"
end

return M
