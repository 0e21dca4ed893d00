-- ns.container: containers by name. They are found by what their engines leave on disk: no daemon is asked, none need answer.

local core = require "nslua.core"
local errors = require "nslua.error"
local check = require "nslua.check"
local procfs = require "nslua.procfs"
local state = require "nslua.container.state"

local M = {}

---@package
---@class nslua.container.Entry
---@field engine string
---@field container string  id
---@field names string[]
---@field pid? integer      of its first process; nil where it has none

-- In the order of preference: docker's containers are containerd's too.
local order = { "docker", "podman", "containerd" }
local engines = {
  docker = require "nslua.container.docker",
  podman = require "nslua.container.podman",
  containerd = require "nslua.container.containerd",
}

---@class nslua.Container
---@field engine string     "docker", "podman", "containerd"
---@field container string  its id
---@field name string
---@field pid integer       its first process
---@field pidfd nslua.fd    of that process: never of another that got its number
local Container = { __name = "nslua.Container" }
Container.__index = Container

---@return string
function Container:__tostring()
  return ("%s:%s (pid %d)"):format(self.engine, self.name, self.pid)
end

---Drop the pidfd. The container is not touched.
---@return true
function Container:close()
  return self.pidfd:close()
end
Container.__close = Container.close

-- For a terminal: names may be anything in a broken file.
local function shown(text)
  return (text:gsub("%c", "?"))
end

local function name_of(entry)
  return shown(entry.names[1] or entry.container:sub(1, 12))
end

local function describe(entry)
  return ("%s:%s (%s%s)"):format(entry.engine, name_of(entry), shown(entry.container:sub(1, 12)), entry.pid and "" or ", not running")
end

local function raise(errno, name, message, more)
  local e = more or {}
  e.call, e.errno, e.detail, e.message = "container.find", errno, ("%q"):format(name), message
  errors.raise(e)
end

---Whether a cgroup's path names a container: "/docker/ID", "/libpod-ID.scope/container", "cri-containerd-ID.scope".
---@param text string  of /proc/PID/cgroup
---@param id string
---@return boolean
local function in_cgroup(text, id)
  local from = 1
  while true do
    local first, last = text:find(id, from, true)
    if not first then
      return false
    elseif text:find("^[/:-]", first - 1) and text:find("^[/.\n]", last + 1) then
      return true
    end
    from = last + 1
  end
end

-- The process behind the number in a state file, if it still is the container's.
local function hold(name, entry)
  local what = describe(entry)
  local pidfd, message, errno
  if entry.pid then
    pidfd, message, errno = core.namespace.pidfd(entry.pid)
  end
  if entry.pid and not pidfd and errno ~= core.errno.ESRCH then
    errors.check("container.find", { detail = what }, pidfd, message, errno)
  end
  local cgroup = pidfd and procfs.read(procfs.dir(entry.pid) .. "/cgroup")
  if pidfd and not core.namespace.pidfd_alive(pidfd) then
    cgroup = nil
  end
  if cgroup and in_cgroup(cgroup, entry.container) then
    return setmetatable({ engine = entry.engine, container = entry.container, name = name_of(entry), pid = entry.pid, pidfd = pidfd }, Container)
  elseif pidfd then
    pidfd:close()
  end
  if cgroup then
    raise(core.errno.ESRCH, name, ("%s is not running: pid %d, which it had, is another process now"):format(what, entry.pid))
  end
  raise(core.errno.ESRCH, name, (what:gsub(", not running", "")) .. " is not running")
end

-- Of the entries those that are called so, else those whose id begins so.
local function matching(entries, word)
  local exact, begin, seen = {}, {}, {}
  for _, entry in ipairs(entries) do
    local called = entry.container == word
    for _, name in ipairs(entry.names) do
      called = called or name == word
    end
    local hexadecimal = #entry.container == 64 and word:find "^%x+$"
    local list = called and exact or hexadecimal and entry.container:sub(1, #word) == word and begin
    if list and not seen[entry.container] then
      seen[entry.container] = true
      list[#list + 1] = entry
    end
  end
  return #exact > 0 and exact or begin
end

---Find a running container.
---
---`name`: a name, an id or the beginning of an id; "docker:web", "podman:web", "containerd:NAMESPACE/ID" ask one engine. It is looked for in the
---state files of the engines, root's and the user's own, and its process is checked to be in its cgroup. Raises ENOENT where there is none,
---ENOTUNIQ where several are meant (with `candidates`), ESRCH where it does not run.
---@param name string
---@param options? { root: string? }  state files below another root directory
---@return nslua.Container
function M.find(name, options)
  options = options or {}
  check.argument("container.find", "name", name, "string")
  check.options("container.find", options, { root = "string" })
  local engine, word = name:match "^(%w+):/*(.*)$"
  if engine and not engines[engine] then
    errors.misuse("container.find: %s", check.unknown("container engine", engine, order))
  end
  word = word or name
  local files, entries = state.files(options.root), {}
  for _, candidate in ipairs(engine and { engine } or order) do
    for _, entry in ipairs(engines[candidate].list(files, word)) do
      entries[#entries + 1] = entry
    end
  end
  local found = word ~= "" and matching(entries, word) or {}
  if #found == 1 then
    return hold(name, found[1])
  end
  local candidates = {}
  for i, entry in ipairs(found) do
    candidates[i] = describe(entry)
  end
  if #found > 1 then
    raise(core.errno.ENOTUNIQ, name, "several containers are called so: " .. table.concat(candidates, ", "), { candidates = candidates })
  end
  local unread = #files.problems > 0 and "; not readable: " .. table.concat(files.problems, ", ") or ""
  raise(core.errno.ENOENT, name, ("no such %scontainer"):format(engine and engine .. " " or "") .. unread)
end

return M
