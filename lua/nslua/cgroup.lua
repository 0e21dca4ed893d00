-- The cgroups of a process, as files to join them by. cgroups(7)

local core = require "nslua.core"
local errors = require "nslua.error"
local privilege = require "nslua.privilege"
local procfs = require "nslua.procfs"

local M = {}

-- "1:name=systemd:/x" has the controllers "name=systemd"; version 2 has none.
local function hierarchies(text)
  local out = {}
  for controllers, path in text:gmatch "%d+:([^:\n]*):([^\n]*)" do
    out[#out + 1] = { controllers = controllers, path = path }
  end
  return out
end

-- Where hierarchies are mounted: by their controllers, "" for version 2.
local function mounts()
  local out = {}
  for line in (procfs.read "/proc/thread-self/mountinfo" or ""):gmatch "[^\n]+" do
    -- 31 23 0:27 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate
    local root, place, kind, super = line:match "^%d+ %d+ %S+ (%S+) (%S+) .- %- (cgroup2?) %S+ (%S+)"
    local mount = kind and { root = procfs.unescape(root), place = procfs.unescape(place), super = "," .. super .. "," }
    if kind == "cgroup2" then
      out[""] = out[""] or mount
    elseif kind then
      out[#out + 1] = mount
    end
  end
  return out
end

-- The mount of a version 1 hierarchy has all its controllers among its options.
local function mount_of(list, controllers)
  if controllers == "" then
    return list[""]
  end
  for _, mount in ipairs(list) do
    local all = true
    for controller in controllers:gmatch "[^,]+" do
      all = all and mount.super:find("," .. controller .. ",", 1, true) ~= nil
    end
    if all then
      return mount
    end
  end
end

---The `cgroup.procs` files of a process's cgroups, open for writing: who writes 0 there is in it. Hierarchies that are not mounted here
---are left out; none at all raises.
---@param call string
---@param pid integer
---@return nslua.fd[]
function M.entries(call, pid)
  local path = procfs.dir(pid) .. "/cgroup"
  local file, message, errno = core.fd.open(path, "r")
  errors.check(call .. ": cgroup", { detail = path }, file, message, errno)
  file:close()
  local out, list = {}, mounts()
  local ok, err = pcall(function()
    for _, h in ipairs(hierarchies(procfs.read(path) or "")) do
      local mount = mount_of(list, h.controllers)
      if mount then
        local rest = h.path
        if rest == mount.root or mount.root == "/" then
          rest = mount.root == "/" and rest or "/"
        elseif rest:sub(1, #mount.root + 1) == mount.root .. "/" then
          rest = rest:sub(#mount.root + 1)
        end
        if (rest .. "/"):find("/../", 1, true) then
          errors.raise { call = call .. ": cgroup", errno = core.errno.ENOENT, detail = rest,
            message = ("the cgroup of pid %.0f is outside of this process's cgroup namespace"):format(pid) }
        end
        local procs = mount.place .. rest .. "/cgroup.procs"
        local fd, why, en = core.fd.open(procs, "rw")
        if fd or en ~= core.errno.EROFS then -- else a hierarchy that is only shown here
          out[#out + 1] = errors.check(call .. ": cgroup", { detail = procs, hint = privilege.hint(en, {}) }, fd, why, en)
        end
      end
    end
  end)
  if ok and #out == 0 then
    ok, err = false, errors.new { call = call .. ": cgroup", errno = core.errno.ENOENT, message = "no cgroup file system is mounted here" }
  end
  if not ok then
    for _, fd in ipairs(out) do
      fd:close()
    end
    error(err, 0)
  end
  return out
end

return M
