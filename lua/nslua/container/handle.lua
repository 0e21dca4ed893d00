-- Handles of containers: their network namespace, and the process that all else of them is reached by.

local core = require "nslua.core"
local errors = require "nslua.error"
local namespace = require "nslua.namespace"
local netns = require "nslua.netns"

local M = {}

local MOST = 1 << 20 -- bytes of a file of the container that is read

---@class nslua.Container: nslua.Netns
---@field engine string     "docker", "podman", "crio", "containerd", "runc", "crun", "lxc", "machine"; "unknown" where only cgroups tell of it
---@field container string  its id
---@field name string
---@field pid integer       its first process
---@field pidfd nslua.fd    of that process: never of another that got its number
---@field root string       its root directory as this process sees it: "/proc/812/root". What is in there is the container's word
---@field image string?
---@field pod { namespace: string?, name: string?, uid: string?, container: string?, sandbox: boolean? }?  of Kubernetes
---@field host_network boolean  it has no network of its own: this is the one that this process is in
local Container = {}
for key, value in pairs(netns.Netns) do
  Container[key] = value
end
Container.__name = "nslua.Container"

local methods = {}

function Container:__index(key)
  local value = methods[key]
  if value ~= nil then
    return value
  elseif key == "name" then
    return rawget(self, "container_name") -- a raw `name` is one in /run/netns
  end
  return netns.Netns.__index(self, key)
end
namespace.derive("net", Container)

---@return string
function Container:__tostring()
  return ("%s (pid %d)%s"):format(rawget(self, "label"), rawget(self, "pid"), rawget(self, "fd") and "" or " (closed)")
end

---Make a handle of a network namespace one of a container.
---@param handle nslua.Netns
---@param fields table
---@return nslua.Container
function M.of(handle, fields)
  for key, value in pairs(fields) do
    handle[key] = value
  end
  return setmetatable(handle, Container)
end

---Whether its first process still runs.
---@return boolean
function methods:running()
  return rawget(self, "fd") ~= nil and core.namespace.pidfd_alive(self.pidfd) == true
end

---A text file of the container, found below its root: no symlink of it leads out, and it is read to a bound. Raises where it is no file, or the
---container has ended.
---@param path string   "/etc/resolv.conf"
---@param most? integer  bytes; default 1 MiB
---@return string text
---@return boolean more  there was more than that
function methods:read_file(path, most)
  local text, more, errno = core.foreign.read(self.root, path, most or MOST)
  if not self:running() then
    errors.raise { call = "container.read_file", netns = rawget(self, "label"), errno = core.errno.ESRCH, message = "the container has ended" }
  end
  errors.check("container.read_file", { netns = rawget(self, "label") }, text, more, errno)
  return text, more
end

---What its resolver reads: /etc/hosts or /etc/resolv.conf; nothing where it has none, or where that is none that is stored: to read /proc/kmsg
---takes from it.
---@param name "hosts"|"resolv.conf"
---@return string
function methods:etc_file(name)
  return core.foreign.read(self.root, "/etc/" .. name, MOST, true) or ""
end

---Ports of the machine that lead into it, as its engine wrote them down: docker, and what uses CNI. What the machine's rules say is in
---`look{ "published" }`.
---@return { proto: string, port: integer, host_port: integer, host_address: string? }[]  by port of the host; no address: every one
function methods:published()
  local files = require("nslua.container.state").files(rawget(self, "files_root"))
  return require("nslua.container.published").of(files, self.engine, self.container)
end

-- The host's programs see its files of names, as they are when a first one starts: what they ask for is what it would get.
for _, verb in ipairs { "run", "spawn", "exec", "output", "fork", "shell" } do
  methods[verb] = function(self, plan, ...)
    if rawget(self, "etc_files") == nil then
      local files = {}
      for _, name in ipairs(not self.host_network and { "hosts", "resolv.conf" } or {}) do
        local text = self:etc_file(name)
        files[#files + 1] = text ~= "" and { name = name, text = text } or nil
      end
      rawset(self, "etc_files", files)
    end
    if type(plan) == "table" and plan.join == "all" and not self:running() then
      errors.raise { call = verb, netns = rawget(self, "label"), errno = core.errno.ESRCH, message = "the container has ended" }
    end
    return namespace.Namespace.methods[verb](self, plan, ...)
  end
end

return M
