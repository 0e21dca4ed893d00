-- ns.container: containers by name. They are found by what their engines leave on disk: no daemon need answer.

local addresses = require "nslua.container.addresses"
local api = require "nslua.container.api"
local cgroups = require "nslua.container.cgroups"
local check = require "nslua.check"
local core = require "nslua.core"
local errors = require "nslua.error"
local handles = require "nslua.container.handle"
local held = require "nslua.container.held"
local namespace = require "nslua.namespace"
local netns = require "nslua.netns"
local procfs = require "nslua.procfs"
local state = require "nslua.container.state"

local M = {}

---@package
---@class nslua.container.Entry
---@field engine string
---@field container string     id
---@field names string[]
---@field pid? integer         of its first process; nil where it has none
---@field start? integer       when that was started, in clock ticks since boot
---@field started? fun(): integer?, integer?  what its runtime says: its pid, and when that was started; asked where no cgroup tells
---@field cgroups? string[]    words that its cgroup has one of; default: the id
---@field state string
---@field image? string
---@field created? string
---@field uid? integer         whose engine it is, where that is not root's
---@field pod? table
---@field labels table<string, string>

-- In the order of preference: what docker has is containerd's too, and what both have runc's.
local readers = {
  { "docker", require "nslua.container.docker" },
  { "podman", require "nslua.container.podman" }, -- and crio
  { "containerd", require "nslua.container.containerd" },
  { "machine", require "nslua.container.machine" },
  { "runc", require "nslua.container.runc" }, -- and crun
}

-- prefix -> the engines it means
local prefixes = {
  docker = { docker = true }, podman = { podman = true }, crio = { crio = true }, containerd = { containerd = true }, runc = { runc = true },
  crun = { crun = true }, machine = { machine = true }, lxc = { lxc = true }, lxd = { lxc = true }, incus = { lxc = true }, pod = {},
}
local order = { "docker", "podman", "crio", "containerd", "runc", "crun", "machine", "lxc", "lxd", "incus", "pod" }

-- For a terminal: names may be anything in a broken file.
local function shown(text)
  text = text:gsub("[%c\127]", "?"):gsub("\xc2[\x80-\x9f]", "?")
  while true do
    local ok, bad = utf8.len(text)
    if ok then
      return text
    end
    text = text:sub(1, bad - 1) .. "?" .. text:sub(bad + 1)
  end
end

local function pod_name(pod)
  return pod.name and table.concat({ pod.namespace or "default", pod.name, pod.container }, "/")
end

local function name_of(entry)
  local name = entry.pod and pod_name(entry.pod) or entry.names[1] or entry.container
  return shown(name == entry.container and #name == 64 and name:sub(1, 12) or name)
end

local function describe(entry)
  return ("%s:%s (%s%s)"):format(entry.engine, name_of(entry), shown(entry.container:sub(1, 12)), entry.pid and "" or ", not running")
end

local function raise(errno, name, message, more)
  local e = more or {}
  e.call, e.errno, e.detail, e.message = "container.find", errno, '"' .. shown(name) .. '"', message
  errors.raise(e)
end

-- What was found, as a handle.
local function opened(entry, pidfd, files)
  local ok, handle = pcall(namespace.open, pidfd, "net", "container.find")
  if not ok then
    pidfd:close()
    error(handle, 0)
  end
  local root = procfs.dir(entry.pid) .. "/root"
  local current <close> = netns.current()
  return handles.of(handle, { engine = entry.engine, container = entry.container, container_name = name_of(entry), pid = entry.pid, pidfd = pidfd,
    root = root, image = entry.image, pod = entry.pod, files_root = files.root, label = entry.engine .. " " .. name_of(entry),
    host_network = current.inode == handle.inode })
end

-- The process behind the number in a state file, if it still is the container's.
local function hold(name, entry, files)
  local what = describe(entry)
  local pidfd, why, errno
  if entry.pid then
    pidfd, why, errno = held.pidfd(entry)
  end
  if pidfd then
    local ok, handle = pcall(opened, entry, pidfd, files)
    if ok or not errors.is(handle, "ESRCH") then
      return ok and handle or error(handle, 0)
    end
    errno = core.errno.ESRCH -- it has ended just now
  end
  if errno and errno ~= core.errno.ESRCH then
    errors.check("container.find", { detail = what }, nil, why, errno)
  elseif why == "another" then
    raise(core.errno.ESRCH, name, ("%s is not running: pid %d, which it had, is another process now"):format(what, entry.pid))
  end
  local how = entry.state == "restarting" and ": it ends, and is started again and again" or entry.state ~= "running" and ": " .. entry.state or ""
  raise(core.errno.ESRCH, name, (what:gsub(", not running", "")) .. " is not running" .. how)
end

-- Several may tell of one container: docker, and its containerd. Ids of 64 digits are nobody else's; others are names, which engines give each for
-- itself; and what a user's files say takes nothing from what root's do.
local function identity(entry)
  local engine, whose = entry.engine, entry.uid and ("@%d"):format(entry.uid) or ""
  if engine == "runc" or engine == "crun" then
    engine = entry.pid or engine -- both may tell of one
  end
  return (#entry.container == 64 and "" or engine .. ":" .. (entry.namespace or "") .. "/") .. entry.container .. whose
end

-- Of the entries those that are called so, else those whose id begins so.
local function matching(entries, word)
  local exact, begin, seen = {}, {}, {}
  for _, entry in ipairs(entries) do
    local called = entry.container == word or entry.pod and pod_name(entry.pod) == word
    for _, name in ipairs(entry.names) do
      called = called or name == word
    end
    local hexadecimal = #entry.container == 64 and word:find "^%x+$"
    local list = called and exact or hexadecimal and entry.container:sub(1, #word) == word and begin
    if list and not seen[identity(entry)] then
      seen[identity(entry)] = true
      list[#list + 1] = entry
    end
  end
  return #exact > 0 and exact or begin
end

-- The containers of a pod, "namespace/name" or "name"; one of them with "namespace/name/container". All are in one network: its sandbox stands
-- for it.
local function of_pod(entries, word)
  local parts = {}
  for part in word:gmatch "[^/]+" do
    parts[#parts + 1] = part
  end
  local space, name, container = parts[1], parts[2], parts[3]
  if not name then
    space, name = nil, space
  end
  local pods, keys, seen = {}, {}, {}
  for _, entry in ipairs(entries) do
    local pod = entry.pod
    if pod and pod.name == name and (not space or pod.namespace == space) and (not container or pod.container == container)
      and not seen[identity(entry)] then
      seen[identity(entry)] = true
      local key = table.concat({ pod.namespace or "", pod.name, pod.uid }, "/")
      local known = pods[key]
      if not known then
        keys[#keys + 1] = key
      end
      if not known or not known.pid and entry.pid or pod.sandbox and entry.pid then
        pods[key] = entry
      end
    end
  end
  local out = {}
  for i, key in ipairs(keys) do
    out[i] = pods[key]
  end
  return out
end

-- What the engines' files say, of those that are asked.
local function read(files, engines, word)
  local out, known = {}, {}
  for _, reader in ipairs(readers) do
    local asked = not engines or engines[reader[1]] or reader[1] == "podman" and engines.crio or reader[1] == "runc" and engines.crun
    for _, entry in ipairs(asked and reader[2].list(files, word, not engines and known or nil) or {}) do
      if not engines or engines[entry.engine] then
        out[#out + 1] = entry
        known[entry.container] = true
      end
    end
  end
  return out
end

-- Where files say nothing: the daemons, then the cgroups of all processes.
local function ask(files, engines, word)
  local found = {}
  for _, engine in ipairs { "docker", "podman" } do
    if not engines or engines[engine] then
      found = found[1] and found or api.find(files, engine, word)
    end
  end
  if found[1] or files.root ~= "" then
    return found
  end
  local entries = {}
  for _, entry in ipairs(cgroups.list()) do
    if not engines or engines[entry.engine] then
      entries[#entries + 1] = entry
    end
  end
  return matching(entries, word)
end

---Find a running container. The handle is that of its network namespace, with more to it: `run` runs the host's programs in its network, and
---`run{ ..., join = "all" }` its own in all its namespaces.
---
---`name`: a name, an id or the beginning of an id; "docker:web", "podman:web", "containerd:NAMESPACE/ID", "crio:", "runc:", "crun:", "lxc:",
---"machine:" ask one engine; "pod:NAMESPACE/NAME" is a pod of Kubernetes, "pod:NAMESPACE/NAME/CONTAINER" one of its containers; "pid:12",
---"netns:NAME" and "/path" are namespaces without one. It is looked for in the state files of the engines, root's and users', then by the sockets
---of docker and podman, then in the cgroups of all processes; its process is checked to be its own. Raises ENOENT where there is none, ENOTUNIQ
---where several are meant (with `candidates`), ESRCH where it does not run.
---@param name string
---@param options? { root: string? }  state files below another root directory
---@return nslua.Container
function M.find(name, options)
  options = options or {}
  check.argument("container.find", "name", name, "string")
  check.options("container.find", options, { root = "string" })
  if name:find "^/" or name:find "^pid:%d+$" then
    return netns.open(name)
  elseif name:find "^netns:" then
    return netns.open((name:gsub("^netns:", "")))
  end
  local prefix, word = name:match "^(%w+):/*(.*)$"
  if prefix and not prefixes[prefix] then
    errors.misuse("container.find: %s", check.unknown("container engine", prefix, order))
  end
  local engines = prefix and prefix ~= "pod" and prefixes[prefix] or nil
  word = word or name
  local files = state.files(options.root)
  local found = {}
  if prefix == "pod" then
    found = of_pod(read(files), word)
  elseif word ~= "" then
    found = matching(read(files, engines, word), word)
    found = found[1] and found or ask(files, engines, word)
  end
  if #found == 1 then
    return hold(name, found[1], files)
  end
  local candidates = {}
  for i, entry in ipairs(found) do
    candidates[i] = describe(entry)
  end
  if #found > 1 then
    raise(core.errno.ENOTUNIQ, name, "several containers are called so: " .. table.concat(candidates, ", "), { candidates = candidates })
  end
  local names = {}
  for _, entry in ipairs(read(state.files(options.root), engines)) do
    names[#names + 1] = shown(prefix == "pod" and entry.pod and pod_name(entry.pod) or entry.names[1] or "")
  end
  local near = check.nearest(word, names)
  local hint = #files.problems > 0 and "not readable: " .. shown(table.concat(files.problems, ", ")) or nil
  if hint and hint:find(core.strerror(core.errno.EACCES), 1, true) then
    hint = hint .. "; root may read that"
  end
  local what = prefix == "pod" and "pod" or (prefix and prefix .. " " or "") .. "container"
  if near then
    hint = ("did you mean '%s'?%s"):format(near, hint and "; " .. hint or "")
  end
  raise(core.errno.ENOENT, name, "no such " .. what, { hint = hint })
end

---@class nslua.ContainerRow
---@field engine string
---@field container string   id
---@field name string        the first of its names; of a container in a pod "NAMESPACE/POD/CONTAINER"; control characters are "?"
---@field names string[]
---@field state string       "running", "paused", "restarting", "exited", "created", "dead"
---@field pid integer?       of its first process; nil where it does not run
---@field image string?
---@field created string?    as its engine writes it
---@field pod table?
---@field labels table<string, string>
---@field uid integer?       whose engine it is, where that is not root's
---@field netns integer?     inode of its network namespace; nil where it does not run, or may not be looked at
---@field host_network boolean?  it shares the network that this process is in
---@field shares string[]?   names of the others in that network namespace
---@field addresses string[]?  the global ones in its network, "172.17.0.2", where they were asked for; nil where that is the one this process is in

local function row_of(entry, text, inode)
  local row = { engine = entry.engine, container = entry.container, name = name_of(entry), names = entry.names, state = entry.state,
    image = entry.image, created = entry.created, pod = entry.pod, labels = entry.labels, uid = entry.uid }
  if text and held.was(entry, text) then
    inode = inode or procfs.inode(procfs.dir(entry.pid), "net")
    if inode then -- it has not ended since
      row.pid, row.netns = entry.pid, inode
      return row
    end
  end
  local pidfd, why
  if entry.pid then
    pidfd, why = held.pidfd(entry, text)
  end
  if pidfd then
    row.pid, row.netns = entry.pid, inode or procfs.inode(procfs.dir(entry.pid), "net")
    pidfd:close()
  elseif why == "ended" or why == "another" then
    row.state = row.state == "running" and "exited" or row.state -- its engine has not noticed, or does not run itself
  elseif entry.pid then
    row.pid = entry.pid -- that it may not be looked at says nothing against it
  end
  return row
end

---The containers of the machine, by engine and name.
---@param options? { all: boolean?, addresses: boolean?, root: string? }  all: also those that do not run, nor are started again and again;
---  addresses: those of their networks too; root: state files below another root directory
---@return nslua.ContainerRow[]
---@return string[] problems  what could not be read
function M.list(options)
  options = options or {}
  check.options("container.list", options, { all = "boolean", addresses = "boolean", root = "string" })
  local files, seen, out, rank = state.files(options.root), {}, {}, {}
  local top <close> = files:hold() -- luacheck: ignore
  local here = procfs.inode("/proc/thread-self", "net")
  local walk = cgroups.walk() -- meanwhile the engines' files are read, and their processes' networks
  local entries = read(files)
  local asked = options.addresses and addresses.ask(entries, here) or nil
  local all, texts = cgroups.read(walk)
  local told, known = {}, {}
  local function take(list)
    for _, entry in ipairs(list) do
      local key = identity(entry)
      if not seen[key] then
        seen[key] = true
        local text = entry.pid and texts[entry.pid]
        local row = row_of(entry, text, asked and asked.inodes[entry.pid])
        if text and row.pid and #entry.container == 64 and text:find(entry.container, 1, true) then
          told[text] = false -- what has an id in its cgroup is this one, and nothing unknown
        end
        known[entry.container] = row.pid ~= nil or not entry.uid or known[entry.container]
        if row.pid or options.all or row.state == "restarting" then
          out[#out + 1] = row
          rank[row.engine] = rank[row.engine] or #out
        end
      end
    end
  end
  take(entries)
  if files.root == "" then
    take(cgroups.list(known, all, told))
  end
  if asked then
    addresses.give(out, asked, here)
  end
  local groups = {}
  for _, row in ipairs(out) do
    if row.netns then
      row.host_network = row.netns == here
      groups[row.netns] = groups[row.netns] or {}
      table.insert(groups[row.netns], row)
    end
  end
  for _, group in pairs(groups) do
    for _, row in ipairs(group) do
      row.shares = {}
      for _, other in ipairs(row.host_network and {} or group) do
        row.shares[#row.shares + 1] = other ~= row and other.name or nil
      end
    end
  end
  table.sort(out, function(a, b)
    if a.engine ~= b.engine then
      return rank[a.engine] < rank[b.engine]
    elseif a.name ~= b.name then
      return a.name < b.name
    end
    return a.container < b.container
  end)
  return out, files.problems
end

return M
