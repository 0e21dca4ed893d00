-- Containers by the cgroups of their processes: those of LXC and its managers, and what an unknown engine left no other trace of.

local core = require "nslua.core"
local procfs = require "nslua.procfs"

local M = {}

-- "/docker/ID", ".../cri-containerd-ID.scope", ".../libpod-ID.scope/container"; a process that watches over one is in a cgroup of its own
local function ids(line)
  local out = {}
  if not line:find("conmon", 1, true) then
    for before, id, after in line:gmatch "()%f[%x](%x+)%f[%X]()" do
      local left, right = line:sub(before - 1, before - 1), line:sub(after, after)
      if #id == 64 and (left == "/" or left == "-" or left == ":") and (right == "" or right == "." or right == "/") then
        out[#out + 1] = id
      end
    end
  end
  return out[#out] -- of nested ones the inner
end

-- "/lxc.payload.web", "/lxc/web"
local function lxc(line)
  return line:match "/lxc%.payload%.([^/]+)" or line:match "/lxc/([^/]+)"
end

-- The engine that a cgroup's name tells of.
local function engine_of(line, id)
  local before = line:match("([^/]*)" .. id)
  if line:find("/docker/" .. id, 1, true) or before == "docker-" then
    return "docker"
  elseif before == "libpod-" then
    return "podman"
  elseif before == "crio-" then
    return "crio"
  elseif before == "cri-containerd-" then
    return "containerd"
  end
  return "unknown"
end

-- The first of the processes: pid 1 of its pid namespace, else the oldest.
local function first_of(pids)
  local oldest, since
  for _, pid in ipairs(pids) do
    local status = procfs.read(procfs.dir(pid) .. "/status") or ""
    if status:match "\nNSpid:[^\n]*%s(%d+)\n" == "1" then
      return pid
    end
    local started = M.started(pid)
    if started and (not since or started < since) then
      oldest, since = pid, started
    end
  end
  return oldest
end

---When a process was started, in clock ticks since boot: field 22 of its stat. proc(5)
---@param pid integer
---@return integer?
function M.started(pid)
  local text = procfs.read(procfs.dir(pid) .. "/stat")
  local rest = text and text:match "^.*%) (.*)$" -- the name may have anything in it
  local n = 2
  for word in (rest or ""):gmatch "%S+" do
    n = n + 1
    if n == 22 then
      return math.tointeger(tonumber(word))
    end
  end
end

---The line of a process's cgroup that tells of its container: of the unified hierarchy, or of systemd's where that is empty.
---@param text string  /proc/PID/cgroup
---@return string
function M.line(text)
  local unified = text:match "^0::([^\n]*)" or text:match "\n0::([^\n]*)"
  if unified and unified ~= "/" then
    return unified
  end
  local named = text:match ":name=systemd:([^\n]*)"
  if named and named ~= "/" then
    return named
  end
  local longest = ""
  for path in text:gmatch "%d+:[^:\n]*:([^\n]*)" do
    longest = #path > #longest and path or longest
  end
  return longest
end

---Begin to read the cgroups of all processes; it goes on while something else is done.
---@return table? walk
function M.walk()
  return (core.cgroups.walk())
end

---What was read, of those that may be looked at.
---@param walk? table
---@return table all                     { pid, text, pid, text, ... }
---@return table<integer, string> texts  by pid
function M.read(walk)
  local all, texts = walk and walk:all() or {}, {}
  for i = 1, #all, 2 do
    texts[all[i]] = all[i + 1]
  end
  return all, texts
end

---@param known? table<string, any>  ids that nothing more is to be said of
---@param all? table                 of M.read
---@param told? table<string, false>  texts of cgroups that are those of known ones
---@return nslua.container.Entry[]
function M.list(known, all, told)
  local groups, order, of = {}, {}, told or {}
  all = all or M.read(M.walk())
  for i = 1, #all, 2 do
    local text = all[i + 1]
    local group = of[text] -- many processes are in the same
    if group == nil then
      local line = M.line(text)
      local id = ids(line)
      local name = not id and lxc(line) or nil
      local key = id or name
      group = key and not (known and known[key]) and (groups[key] or { pids = {}, line = line, id = id, name = name }) or false
      if group and not groups[key] then
        groups[key] = group
        order[#order + 1] = key
      end
      of[text] = group
    end
    if group then
      table.insert(group.pids, all[i])
    end
  end
  local out = {}
  for _, key in ipairs(order) do
    local group = groups[key]
    local pid = first_of(group.pids)
    local uid = group.line:match "/pod([%x_-]+)" -- of a pod: with "-" or, in systemd's names, "_"
    local engine = group.id and engine_of(group.line, group.id) or "lxc"
    out[#out + 1] = pid and { engine = engine, container = key, names = { group.name }, pid = pid, state = "running", labels = {},
      pod = uid and { uid = (uid:gsub("_", "-"):gsub("%-$", "")) } or nil } or nil
  end
  return out
end

return M
