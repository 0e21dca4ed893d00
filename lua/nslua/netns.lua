-- Network namespaces: handles, names, and what is done inside of them.

local core = require "nslua.core"
local errors = require "nslua.error"
local check = require "nslua.check"
local keeper = require "nslua.keeper"
local namespace = require "nslua.namespace"
local privilege = require "nslua.privilege"
local rundir = require "nslua.rundir"

local M = {}

local knamespace = core.namespace
local NET = knamespace.flags.net

---@class nslua.Netns: nslua.Namespace
---@field name string?   in /run/netns
---@field label string?  what messages call it
local Netns = { __name = "nslua.Netns", __eq = namespace.Namespace.__eq, __close = namespace.Namespace.__close }
M.Netns = Netns

local methods = {}
for name, fn in pairs(namespace.Namespace.methods) do
  methods[name] = fn
end
---Methods of every handle; what stands above adds its own here.
M.methods = methods

-- rtnetlink collections, made when first asked for.
local collections = { link = true, address = true, route = true, rule = true, neighbour = true }
M.collections = collections

local index = namespace.index(methods)
function Netns:__index(key)
  if collections[key] then
    namespace.fd_of(self, "netns." .. key)
    local collection = require("nslua.rtnl").collection(self, key)
    rawset(self, key, collection)
    return collection
  end
  return index(self, key)
end

function Netns:__tostring()
  return ("netns %s%s"):format(self:describe(), rawget(self, "fd") and "" or " (closed)")
end

namespace.class("net", Netns)

---Run `new` inside the user namespace of ours that a handle was made in, or say what was missing.
local function inside(self, call, result, message, errno, detail)
  if result ~= nil then
    return result
  end
  return errors.check(call, { netns = self:describe(), detail = detail, hint = privilege.hint(errno, { fd = rawget(self, "fd") }) },
    result, message, errno)
end

---A socket made inside, usable outside. Numbers as in socket(2).
---@param domain integer
---@param type integer
---@param protocol integer
---@return nslua.fd
function methods:raw_socket(domain, type, protocol)
  local fd = namespace.fd_of(self, "netns.socket")
  local userns = rawget(self, "userns")
  if userns and keeper.needed() then
    return keeper.socket(userns.fd, fd, domain, type, protocol, self:describe())
  end
  return inside(self, "netns.socket", knamespace.socket(fd, domain, type, protocol))
end

---Queue the writes that `fn` makes on this namespace's collections and send them together; one error for all that failed, in `.errors`.
---@param fn fun()  may not yield
function methods:batch(fn)
  return require("nslua.netlink").batch(self, fn)
end

---Give another namespace an id here. rtnetlink(7), RTM_NEWNSID.
---@param other any     a handle, name, pid or path
---@param id? integer   from 0; without, the kernel chooses
---@return integer id
function methods:set_nsid(other, id)
  return require("nslua.rtnl.nsid").set(self, other, id)
end

---The id another namespace has here.
---@param other any
---@return integer? id  nil: none
function methods:nsid_of(other)
  return require("nslua.rtnl.nsid").of(self, other)
end

---Every id given here.
---@return integer[]
function methods:nsids()
  return require("nslua.rtnl.nsid").list(self)
end

---@class nslua.NewNetns
---@field lo? boolean       bring lo up
---@field label? string     what messages call it
---@field userns? nslua.Namespace  make it in that user namespace (of ns.userns.new): no root needed

---A new namespace without a name. The handle owns it: closed and unused, the kernel frees it.
---@param options? nslua.NewNetns
---@return nslua.Netns
function M.new(options)
  options = options or {}
  check.options("netns.new", options, { lo = "boolean", label = "string", userns = "table" })
  local fd, message, errno, userns
  if options.userns then
    -- A copy: the handle given may be closed before this one.
    userns = namespace.open(options.userns, "user", "netns.new"):copy()
    local ok, made = pcall(keeper.netns, userns.fd, 1)
    if not ok then
      userns:close()
      error(made, 0)
    end
    fd = made[1]
  else
    fd, message, errno = knamespace.new_net()
    errors.check("netns.new", { netns = options.label, hint = privilege.hint(errno, { new = { "net" } }) }, fd, message, errno)
  end
  local self = namespace.wrap("net", fd, { label = options.label, userns = userns })
  if options.lo then
    local ok, err = pcall(methods.lo_up, self)
    if not ok then
      self:close()
      error(err, 0)
    end
  end
  return self
end

---Bring lo up.
---@return true
function methods:lo_up()
  local socket = self:raw_socket(2, 2, 0) -- AF_INET, SOCK_DGRAM
  local ok, message, errno = knamespace.lo_up(socket)
  socket:close()
  return inside(self, "netns.lo_up", ok, message, errno)
end

---A new namespace with a name in /run/netns, where `ip netns` sees it too. It outlives the script.
---@param name string
---@param options? { lo: boolean }
---@return nslua.Netns
function M.add(name, options)
  options = options or {}
  check.options("netns.add", options, { lo = "boolean" })
  local fd = rundir.bind("netns.add", name, function()
    local new, message, errno = knamespace.new_net()
    return errors.check("netns.add", { netns = name, hint = privilege.hint(errno, { new = { "net" } }) }, new, message, errno)
  end)
  local self = namespace.wrap("net", fd, { name = name })
  if options.lo then
    local ok, err = pcall(methods.lo_up, self)
    if not ok then
      self:close()
      rundir.unbind("netns.add", name)
      error(err, 0)
    end
  end
  return self
end

---Open a namespace: a bare string is a name in /run/netns, a number a pid; "/path", "pid:12", "fd:3", a handle, an fd, a process.
---@param target any
---@return nslua.Netns
function M.open(target)
  if type(target) ~= "string" then
    return namespace.open(target, "net", "netns.open")
  end
  if target:sub(1, 1) == "/" then
    local self = namespace.open_path("netns.open", target, "net", NET)
    local dir, name = target:match "^(.*)/([^/]+)$"
    if dir == rundir.path or dir == "/var/run/netns" then
      self.name = name
    end
    return self
  end
  local prefix, rest = target:match "^(%l[%w_-]*):(.*)$"
  if prefix == "pid" and rest:match "^%d+$" then
    return namespace.open_pid("netns.open", tonumber(rest), "net", NET)
  elseif prefix == "fd" and rest:match "^%d+$" then
    return namespace.open_fd("netns.open", tonumber(rest), "net", NET)
  elseif prefix and namespace.resolvers[prefix] then
    return namespace.open(namespace.resolvers[prefix](rest, "net"), "net", "netns.open")
  end
  local path = rundir.file(rundir.name("netns.open", target))
  local fd, message, errno = knamespace.open(path, NET)
  if not fd and errno == core.errno.EINVAL and rundir.state(target) == "stale" then
    message = path .. " is a file that was left behind, no living namespace: ns.netns.delete removes it"
  end
  errors.check("netns.open", { netns = target, hint = privilege.hint(errno, {}) }, fd, message, errno)
  return namespace.wrap("net", fd, { name = target })
end

---The namespace this thread is in.
---@return nslua.Netns
function M.current()
  return namespace.current "net"
end

---Remove a name. The namespace lives on while something holds it (see holders).
---@param name string
---@return true
function M.delete(name)
  return rundir.unbind("netns.delete", name)
end

---Remove every name.
---@return string[] deleted
function M.delete_all()
  local names = rundir.names "netns.delete_all"
  for _, name in ipairs(names) do
    rundir.unbind("netns.delete_all", name)
  end
  return names
end

---Give a namespace that exists a name.
---@param name string
---@param target any  a pid, or whatever `open` takes
---@return nslua.Netns
function M.attach(name, target)
  local fd = rundir.bind("netns.attach", name, function()
    local handle = M.open(target)
    local copy, message, errno = knamespace.dup(handle.fd, NET)
    if handle ~= target then
      handle:close()
    end
    return errors.check("netns.attach", { netns = name, hint = privilege.hint(errno, {}) }, copy, message, errno)
  end)
  return namespace.wrap("net", fd, { name = name })
end

return M
