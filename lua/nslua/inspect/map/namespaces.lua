-- The network namespaces of the machine: what holds them, and what they are called.

local core = require "nslua.core"
local census = require "nslua.census"
local containers = require "nslua.container"
local labs = require "nslua.lab"
local namespace = require "nslua.namespace"
local netfds = require "nslua.netfds"
local netns = require "nslua.netns"
local procfs = require "nslua.procfs"

local M = {}

local NET = core.namespace.flags.net

local function word(command)
  return command and command:match "^%[.-%]" or (command or "?"):match "^%S*":match "[^/]*$"
end

-- In the words that other commands take, where there are some.
local function title(space)
  local container, lab = space.containers[1], space.lab
  if space.host then
    return "host"
  elseif lab then
    return "lab:" .. lab.name .. "/" .. lab.node
  elseif container then
    local pod = container.pod
    return pod and "pod:" .. pod or container.engine ~= "unknown" and container.engine .. ":" .. container.name or container.name
  elseif space.names[1] then
    return space.names[1]
  elseif space.current then
    return "this namespace"
  elseif space.pid then
    return ("pid:%d %s"):format(space.pid, word(space.command))
  elseif space.paths[1] then
    return space.paths[1]
  end
  return ("net:[%d]"):format(space.inode)
end

local function names_of(row)
  local out, seen = {}, {}
  local function take(path)
    local name = path:match "^/run/netns/([^/]+)$" or path:match "^/var/run/netns/([^/]+)$"
    if name and not seen[name] then
      seen[name] = true
      out[#out + 1] = name
    end
  end
  for _, path in ipairs(row.paths) do
    take(path)
  end
  if not out[1] then
    for _, mount in ipairs(row.mounts) do
      take(mount.path)
    end
  end
  table.sort(out)
  return out
end

-- Containers of each network namespace; what only a cgroup tells of is behind what has a name.
local function containers_by_inode(missed)
  local out = {}
  local ok, rows, problems = pcall(containers.list)
  if not ok then
    missed[#missed + 1] = "names of containers: " .. tostring(rows)
    return out
  end
  for _, row in ipairs(rows) do
    if row.netns then
      out[row.netns] = out[row.netns] or {}
      local pod = row.pod and row.pod.name and (row.pod.namespace or "default") .. "/" .. row.pod.name or nil
      table.insert(out[row.netns], { engine = row.engine, id = row.container, name = row.name, image = row.image, pid = row.pid, pod = pod,
        uid = row.uid })
    end
  end
  for _, problem in ipairs(problems) do
    missed[#missed + 1] = "names of containers: not readable: " .. problem
  end
  return out
end

---@return nslua.map.Namespace[] spaces
---@return boolean complete
---@return string[] missed
function M.list()
  local rows = census.list { type = "net" }
  local missed = table.move(rows.missed, 1, #rows.missed, 1, {})
  if rows.unreadable > 0 then
    table.insert(missed, 1, ("what %d process%s hold%s that could not be looked at"):format(rows.unreadable, rows.unreadable == 1 and "" or "es",
      rows.unreadable == 1 and "s" or ""))
  end
  local in_container, in_lab = containers_by_inode(missed), {}
  for _, member in ipairs(labs.members()) do
    in_lab[member.inode] = { name = member.lab, node = member.node, uid = member.uid }
  end
  local current <close> = netns.current()
  local here, kernel = current.inode, procfs.inode("/proc/2", "net")
  local first = procfs.read "/proc/2/comm" == "kthreadd\n" and kernel or nil
  local out = {}
  for i, row in ipairs(rows) do
    local space = { inode = row.inode, id = row.id, owner = row.owner, names = names_of(row), containers = in_container[row.inode] or {},
      lab = in_lab[row.inode], pid = row.pid, command = row.command, processes = row.nprocs, holder = row.holder,
      holder_command = row.holder and procfs.command(row.holder) or nil, held = row.found,
      paths = row.paths, mounts = row.mounts, current = row.inode == here or nil, links = {} }
    space.host = first == row.inode or (row.pid == 2 and row.command == "[kthreadd]") or nil
    if space.host or space.current then
      space.containers = space.host and {} or space.containers -- of containers without a network of their own
    end
    out[i] = space
  end
  for _, space in ipairs(out) do
    space.title = title(space)
  end
  return out, rows.complete, missed
end

local function right(fd, inode)
  if fd then
    local handle = namespace.wrap("net", fd, {})
    if handle.inode == inode then
      return handle
    end
    handle:close() -- the process has moved
  end
end

---Let what is asked of a handle go by the user namespace that it belongs to, where this process has no other way in.
M.enterable = namespace.found

---Open one; what it was found by may have gone.
---@param space nslua.map.Namespace
---@return nslua.Netns?
function M.open(space)
  local inode, path = space.inode, nil
  if space.current then
    return netns.current()
  end
  local function try(...)
    return right((core.namespace.open(path:format(...), NET)), inode)
  end
  local handle
  path = "%s"
  handle = space.paths[1] and try(space.paths[1])
  path = "%s/ns/net"
  handle = handle or space.pid and try(procfs.dir(space.pid))
  if not handle and space.id then
    handle = right((core.namespace.by_id(("%d"):format(space.id), NET, inode)), inode)
  end
  path = "%s/root%s"
  for _, mount in ipairs(handle and {} or space.mounts) do
    handle = handle or mount.pid and try(procfs.dir(mount.pid), mount.path)
  end
  if handle or not space.holder then
    return handle
  end
  path = "%s/task/%d/ns/net"
  for _, tid in ipairs(procfs.numbers(procfs.dir(space.holder) .. "/task") or {}) do
    handle = handle or try(procfs.dir(space.holder), tid)
  end
  path = "%s"
  netfds.each_of(space.holder, function(found, fd)
    handle = handle or found == inode and try(fd) or nil
    return handle ~= nil
  end)
  return handle
end

return M
