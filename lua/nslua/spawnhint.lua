-- A step of a plan that failed, as an error object that names it, what it was about and what would grant it.

local core = require "nslua.core"
local namespace = require "nslua.namespace"
local privilege = require "nslua.privilege"

local M = {}

local E = core.errno

local function path_of(job)
  for _, entry in ipairs(job.env) do
    local value = entry:match "^PATH=(.*)$"
    if value then
      return value
    end
  end
  return not job.clear_env and os.getenv "PATH" or nil
end

-- Why a program was not started.
local function exec(job, errno, detail)
  local name = job.argv[1]
  if errno == E.ENOENT and detail ~= "" then
    return detail .. " is there, but the interpreter or loader that it names is not"
  elseif errno == E.ENOENT and not name:find("/", 1, true) then
    return ("no '%s' on PATH %s"):format(name, path_of(job) or "(the default one)")
  elseif errno == E.EACCES and detail ~= "" then
    return detail .. " may not be executed"
  end
  return detail ~= "" and detail or name
end

-- For the step "join net" or "unshare net": the type.
local function named(step, verb)
  return step:match("^" .. verb .. " (%l+)")
end

-- How this plan gets the rights it lacks without root: from a user namespace of its own, if it has none yet.
local function grant(job)
  local flags = core.namespace.flags
  local list = { "user" }
  for _, t in ipairs(namespace.types) do
    if job.unshare % (2 * flags[t]) >= flags[t] then
      if t == "user" then
        return nil
      end
      list[#list + 1] = t
    end
  end
  return not job.joined.user and ("with unshare = %q, map_users = \"root\""):format(table.concat(list, ",")) or nil
end

-- The numbers of `fds`, and what is moved out of their way, lie below the limit of open files.
local function few_fds(job, errno)
  if errno ~= E.EINVAL and errno ~= E.EBADF and errno ~= E.EMFILE then
    return nil
  end
  local most = 2
  for _, kept in ipairs(job.fds or {}) do
    most = math.max(most, kept.as)
  end
  local limit = privilege.open_files()
  -- the three of stdio, each that is kept, and the socket that failures are told by
  if limit and most + 1 + 3 + #(job.fds or {}) + 1 > limit then
    return ("fd %d and what has to move out of its way do not fit below the limit of open files, %d: RLIMIT_NOFILE, `ulimit -n`"):format(most, limit)
  end
end

-- Whether the plan makes a mount namespace: its root is changed by pivot_root(2), else by chroot(2).
local function makes_mount(job)
  local flag = core.namespace.flags.mount
  return job.unshare % (2 * flag) >= flag
end

local function hint(job, step, errno, detail)
  local joined, made = named(step, "join"), named(step, "unshare")
  if joined then
    for _, join in ipairs(job.join) do
      if join.name == joined then
        if errno == E.EINVAL and joined == "pid" then
          return "only a pid namespace below this process's own can be joined"
        elseif errno == E.EINVAL and joined == "user" then
          return "a process cannot re-enter its own user namespace"
        end
        return privilege.hint(errno, { fd = join.fd, types = { joined } })
      end
    end
  elseif made then
    return privilege.hint(errno, { new = { made }, grant = grant(job) })
  elseif step == "map users" then
    return require("nslua.idmap").hint(job.maps, detail, errno)
  elseif step == "stdio" then
    return few_fds(job, errno) or privilege.hint(errno, {})
  elseif errno == E.EPERM and step == "mount_proc" then
    return "in a user namespace a new proc needs the old one fully visible: something is mounted below /proc"
      .. " (or the plan makes no pid namespace: unshare = \"pid\")"
  elseif errno == E.EPERM and step == "time" then
    return privilege.missing("CAP_SYS_TIME", nil, grant(job))
  elseif errno == E.EPERM and step == "root" and not makes_mount(job) then
    return privilege.missing("CAP_SYS_CHROOT", nil, grant(job))
  elseif errno == E.EPERM and step == "owner" then
    return privilege.missing "CAP_SETGID"
  elseif errno == E.EPERM and (step == "uid" or step == "gid" or step == "groups") then
    return step == "groups" and privilege.missing "CAP_SETGID" or privilege.missing(step == "uid" and "CAP_SETUID" or "CAP_SETGID")
  elseif errno == E.EINVAL and (step == "uid" or step == "gid" or step == "groups") then
    return "that id is not mapped in the program's user namespace"
  elseif errno == E.EPERM and (step == "mounts" or step == "propagation" or step == "root" or step == "hostname") then
    return privilege.missing("CAP_SYS_ADMIN", nil, grant(job))
  end
  return privilege.hint(errno, { new = {} })
end

---The fields of the error object.
---@param call string
---@param job table     the prepared plan
---@param step string   "join net"
---@param errno integer
---@param detail string?
---@return table
function M.explain(call, job, step, errno, detail)
  detail = detail or ""
  if step == "exec" then
    detail = exec(job, errno, detail)
  end
  local net = job.joined.net
  return {
    call = ("%s: %s"):format(call, step), step = step, errno = errno, detail = detail ~= "" and detail or nil,
    netns = step ~= "exec" and net and step:find "net" and net:describe() or nil,
    hint = step ~= "exec" and hint(job, step, errno, detail) or nil,
  }
end

return M
