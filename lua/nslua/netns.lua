-- Network namespaces: handles, names, and what is done inside of them.

local core = require "nslua.core"
local errors = require "nslua.error"
local check = require "nslua.check"
local namespace = require "nslua.namespace"
local privilege = require "nslua.privilege"
local rundir = require "nslua.rundir"
local units = require "nslua.units"

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
M.methods = setmetatable(methods, { __index = require "nslua.handed" })

-- rtnetlink collections, made when first asked for.
local collections = require("nslua.rtnl").names
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

Netns.__keys = { methods, require "nslua.handed", collections } -- for completion
namespace.class("net", Netns)

---fn(handle) of whatever `open` takes; what was opened for it is closed after.
---@generic T
---@param target any
---@param fn fun(handle: nslua.Netns): T
---@return T
function M.with(target, fn)
  local handle = M.open(target)
  local function finish(ok, ...)
    if not rawequal(handle, target) then
      handle:close()
    end
    if not ok then
      error((...), 0)
    end
    return ...
  end
  return finish(pcall(fn, handle))
end

-- What is done inside stands in a file of its own, loaded when first asked for: not every program that names a namespace does it.
local from_inside = { "raw_socket", "socket", "lo_up", "read", "sysctl", "call" }
for _, name in ipairs(from_inside) do
  methods[name] = function(...)
    local inside = require "nslua.inside"
    for _, other in ipairs(from_inside) do
      methods[other] = inside[other]
    end
    return inside[name](...)
  end
end
function M.allow_call(yes)
  require("nslua.inside").allow_call(yes)
end

---Queue the writes that `fn` makes on this namespace's collections and send them together; one error for all that failed, in `.errors`.
---A request that fails does not stop the others. An error of `fn` itself (a misspelt key, a link name that is looked up in vain) ends the
---batch: what is queued is dropped, but what had been sent, as a look-up may do, stays.
---@param fn fun()  may not yield
function methods:batch(fn)
  namespace.fd_of(self, "netns.batch")
  return require("nslua.netlink").batch(self, fn)
end

---All or nothing: where `fn` raises or is interrupted, what its writes on this namespace's collections did is taken back. See ns.transaction.
---@param fn fun(): any  may not yield
---@return any ...  what it returns
function methods:transaction(fn)
  namespace.fd_of(self, "netns.transaction")
  return require("nslua.transaction").transaction({ self }, fn)
end

---A family of generic netlink in this namespace: `a:netlink(ns.netlink.ethtool)`, its commands as methods. See ns.netlink.family.
---@param family nslua.FamilySchema|string  "ethtool", "nlctrl", "seg6", "wireguard": the ones that are declared already
---@return nslua.Family
function methods:netlink(family)
  namespace.fd_of(self, "netns.netlink")
  return require("nslua.genl.family").open(self, family)
end

---Give another namespace an id here: what link rows call `link_netnsid`. Once given it stays. rtnetlink(7), RTM_NEWNSID.
---@param other any      whatever ns.netns.open takes
---@param id? integer    the kernel chooses one where it is missing
---@return integer id
function methods:set_nsid(other, id)
  check.argument("netns.set_nsid", "id", id, "integer|nil")
  namespace.fd_of(self, "netns.set_nsid")
  return M.with(other, function(handle)
    return require("nslua.rtnl.nsid").set(self, handle, id)
  end)
end

---The id another namespace has here.
---@param other any  whatever ns.netns.open takes
---@return integer? id  nil: none
function methods:nsid_of(other)
  namespace.fd_of(self, "netns.nsid_of")
  return M.with(other, function(handle)
    return require("nslua.rtnl.nsid").of(self, handle)
  end)
end

---The ids of other namespaces here; with `target`, an id, those that namespace has for others: `id` there, and `current` here (nil: none).
---@param options? { target: integer }
---@return integer[]|{ id: integer, current: integer? }[] ids  sorted
function methods:nsids(options)
  check.options("netns.nsids", options or {}, { target = "integer" })
  namespace.fd_of(self, "netns.nsids")
  return require("nslua.rtnl.nsid").list(self, options and options.target)
end

---Listen for changes in this namespace: `a:monitor{ "link", "address" }`. See ns.monitor.
---@param options? table
---@return nslua.Monitor
function methods:monitor(options)
  namespace.fd_of(self, "netns.monitor")
  local copy = {}
  for key, value in pairs(options or {}) do
    copy[key] = value
  end
  copy.netns = { self }
  return require("nslua.monitor").monitor(copy)
end

-- The far ends, in namespaces this script has open or is in, of the veths here: { handle, index, address }.
local function far_ends(self, here)
  local out = {}
  local function look(handle, link)
    if rawget(handle, "fd") and handle ~= self and self:nsid_of(handle) == link.link_netnsid then
      local far = handle.link:get(link.link_index)
      if far and far.kind == "veth" then
        out[#out + 1] = { handle = handle, index = far.index, address = far.address }
      end
      return true
    end
  end
  for _, link in ipairs(self.link:list { kind = "veth" }) do
    if link.link_netnsid and not look(here, link) then
      for handle in pairs(namespace.live) do
        if handle.type == "net" and look(handle, link) then
          break
        end
      end
    end
  end
  return out
end

-- Whether the far ends are gone before the time is over.
local function gone(ends, seconds)
  local deadline = core.fd.clock() + seconds
  while true do
    for i = #ends, 1, -1 do
      local far = rawget(ends[i].handle, "fd") and ends[i].handle.link:get(ends[i].index)
      if not far or far.address ~= ends[i].address then
        table.remove(ends, i)
      end
    end
    if not ends[1] or core.fd.clock() > deadline then
      return not ends[1]
    end
    core.fd.poll({}, 0.002)
  end
end

local close = methods.close

---Drop the fd and what was opened for the handle. A namespace of `new` is freed by that if nothing else holds it.
---@param options? { wait: boolean, timeout: number|string }  `wait`: until the far ends of its veths are gone from the namespaces this
---script has open, which the kernel does a moment later; for a namespace of `new` only. `timeout` in seconds, default 5
---@return boolean closed  false where the time ran out, since something else keeps the namespace alive (see holders)
function methods:close(options)
  if options ~= nil then
    check.options("netns.close", options, { wait = "boolean", timeout = "number|string" })
  end
  if not (options and options.wait and rawget(self, "fd") and rawget(self, "anonymous")) then
    return close(self)
  end
  local here = M.current()
  local ok, result = pcall(function()
    local ends = far_ends(self, here)
    close(self)
    return gone(ends, units.duration(options.timeout or 5, "netns.close: timeout"))
  end)
  close(here)
  close(self)
  if not ok then
    error(result, 0)
  end
  return result
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
    local ok, made = pcall(require("nslua.keeper").netns, userns.fd, 1)
    if not ok then
      userns:close()
      error(made, 0)
    end
    fd = made[1]
  else
    fd, message, errno = knamespace.new_net()
    local hint = privilege.hint(errno, { new = { "net" }, grant = privilege.grants.netns })
    errors.check("netns.new", { netns = options.label, hint = hint }, fd, message, errno)
  end
  local self = namespace.wrap("net", fd, { label = options.label, userns = userns, anonymous = true })
  if options.lo then
    local ok, err = pcall(methods.lo_up, self)
    if not ok then
      self:close()
      error(err, 0)
    end
  end
  return self
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
    local hint = privilege.hint(errno, { new = { "net" }, grant = privilege.grants.anonymous })
    return errors.check("netns.add", { netns = name, hint = hint }, new, message, errno)
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
  local handle = namespace.prefixed("netns.open", target, "net", NET)
  if handle then
    return handle
  end
  local path = rundir.file(rundir.name("netns.open", target))
  local fd, message, errno = knamespace.open(path, NET)
  if not fd and errno == core.errno.EINVAL and rundir.state(target) == "stale" then
    message = path .. " is a file that was left behind, no living namespace: ns.netns.delete removes it"
  end
  errors.check("netns.open", { netns = target, hint = privilege.hint(errno, {}) }, fd, message, errno)
  return namespace.found(namespace.wrap("net", fd, { name = target }))
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

---Remove every name. What cannot be removed does not keep the others; the first of them is raised then.
---@return string[] deleted  not what somebody else removed meanwhile
function M.delete_all()
  local deleted, failed = {}, nil
  for _, name in ipairs(rundir.names "netns.delete_all") do
    local ok, err = pcall(rundir.unbind, "netns.delete_all", name)
    if ok then
      deleted[#deleted + 1] = name
    elseif not errors.is(err, "ENOENT") then
      failed = failed or err
    end
  end
  if failed then
    error(failed, 0)
  end
  return deleted
end

---Give a namespace that exists a name.
---@param name string
---@param target any  a pid, or whatever `open` takes
---@return nslua.Netns
function M.attach(name, target)
  return namespace.wrap("net", rundir.bind("netns.attach", name, function()
    return M.with(target, function(handle)
      local copy, message, errno = knamespace.dup(handle.fd, NET)
      return errors.check("netns.attach", { netns = name, hint = privilege.hint(errno, {}) }, copy, message, errno)
    end)
  end), { name = name })
end

---@class nslua.NamedNetns
---@field name string
---@field inode integer?  of what is mounted there
---@field id integer?     nsid it has in the current namespace
---@field alive boolean   false for a file that was left behind, and for what is no network namespace

---The names in /run/netns, sorted.
---@return nslua.NamedNetns[]
function M.list()
  local out, here = {}, nil
  for _, name in ipairs(rundir.names "netns.list") do
    local state, st = rundir.state(name)
    if state then -- it may have gone since
      local row = { name = name, alive = state == "alive", inode = state == "alive" and st.inode or nil }
      if row.alive then
        here = here or M.current()
        local ok, id = pcall(here.nsid_of, here, rundir.file(name)) -- a name may look like "pid:1"
        row.id = ok and id or nil
      end
      out[#out + 1] = row
    end
  end
  if here then
    here:close()
  end
  return out
end

-- Questions about who is inside stand in a file of their own.
for _, name in ipairs { "pids", "identify", "holders" } do
  M[name] = function(target)
    return require("nslua.holders")[name](target)
  end
end

return M
