-- Why the kernel said no: which namespace lacked which capability, which limit was reached, and what grants it.

local core = require "nslua.core"

local M = {}

local CAPS = {
  CAP_SETGID = 6, CAP_SETUID = 7, CAP_NET_ADMIN = 12, CAP_NET_RAW = 13, CAP_SYS_CHROOT = 18, CAP_SYS_PTRACE = 19, CAP_SYS_ADMIN = 21,
  CAP_SYS_TIME = 25,
}

local function read(path)
  local f = io.open(path, "r")
  local text = f and f:read "*a"
  if f then
    f:close()
  end
  return text
end

---Whether this thread has a capability in its own user namespace. capabilities(7)
---@param name string  "CAP_SYS_ADMIN"
---@return boolean
function M.has(name)
  local hex = (read "/proc/thread-self/status" or ""):match "CapEff:%s*(%x+)"
  if not hex then
    return false
  end
  -- One hexadecimal digit holds four bits; the whole number would not fit a double.
  local bit = CAPS[name]
  local digit = tonumber(hex:sub(-1 - math.floor(bit / 4), -1 - math.floor(bit / 4)), 16)
  return math.floor(digit / 2 ^ (bit % 4)) % 2 == 1
end

---"user:[4026531837]": the user namespace of this process, or of a namespace fd's owner.
---@param fd? nslua.fd
---@return string? name  nil where this process may not see it
function M.userns(fd)
  if not fd then
    return core.file.readlink "/proc/thread-self/ns/user"
  end
  local owner = core.namespace.userns(fd)
  if not owner then
    return nil
  end
  local _, inode = owner:stat()
  owner:close()
  return inode and ("user:[%s]"):format(tostring(inode))
end

---What AppArmor's restriction of user namespaces asks for, where it is on (Ubuntu 23.10): the namespace can be made, and the next step in it fails.
---@return string?
function M.apparmor()
  local sysctl = read "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"
  if sysctl and sysctl:match "^1" then
    local program = core.file.readlink "/proc/self/exe" or "/path/of/this/program"
    return ("AppArmor restricts user namespaces: sysctl kernel.apparmor_restrict_unprivileged_userns=0, or a profile for this program: "
      .. "abi <abi/4.0>, profile nslua %s flags=(unconfined) { userns, }"):format(program)
  end
end

---What grants the right to make a user namespace where this machine refuses it. user_namespaces(7)
---@return string
local function userns_refused()
  local sysctl = read "/proc/sys/kernel/unprivileged_userns_clone"
  if sysctl and sysctl:match "^0" then
    return "user namespaces are off for normal users: sysctl kernel.unprivileged_userns_clone=1"
  end
  local apparmor = M.apparmor()
  if apparmor then
    return apparmor
  elseif (read "/proc/self/status" or ""):match "Seccomp:%s*2" then
    return "this process has a seccomp filter (as containers do), which may refuse user namespaces"
  end
  return "a chroot or a security module refuses user namespaces here"
end

---What a call may do instead without rights: the words for `grant` of M.missing and M.hint.
M.grants = {
  netns = "in a user namespace (userns = ns.userns.new{ map_users = \"root\" }, or `unshare -rn`)",
  anonymous = "make one without a name: ns.netns.new{ userns = ns.userns.new{ map_users = \"root\" } }",
  own = "work in a namespace of this script's own: ns.netns.new{ userns = ns.userns.new{ map_users = \"root\" } }",
}

---What is missing after EPERM for an act that needs a capability.
---@param capability string
---@param fd? nslua.fd    a namespace the act was on: the capability is needed in its owner
---@param grant? string   how this call is made without being root, where there is a way
---@return string hint
function M.missing(capability, fd, grant)
  local here = M.userns() or "user:[?]"
  local owner = fd and M.userns(fd)
  if not M.has(capability) then
    local foreign = owner and owner ~= here
    grant = grant or foreign and "in that user namespace"
    return ("this process has no %s in %s%s: run as root%s"):format(
      capability, here, foreign and (", nor in " .. owner .. " that owns the target") or "", grant and ", or " .. grant or "")
  end
  if fd and owner ~= here then
    return ("%s is needed in %s, which owns the target; this process has it in %s only: enter that user namespace first, or run as its root"):format(
      capability, owner or "a user namespace beyond this process's view", here)
  end
  return ("this process has %s in %s, but not where it is needed: run as root of the machine"):format(capability, here)
end

local LIMITS = { cgroup = "cgroup", ipc = "ipc", mount = "mnt", net = "net", pid = "pid", time = "time", user = "user", uts = "uts" }

---What to raise after ENOSPC for a new namespace: /proc/sys/user holds this user namespace's limits, its ancestors have theirs.
---@param types string[]
---@return string hint
function M.limit(types)
  local found, nested = {}, ""
  for _, t in ipairs(types) do
    if t == "user" or t == "pid" then
      nested = (" (or they nest deeper than the 32 levels there are of %s namespaces)"):format(t)
    end
    local name = ("user.max_%s_namespaces"):format(LIMITS[t])
    local value = (read("/proc/sys/user/max_" .. LIMITS[t] .. "_namespaces") or "?"):gsub("%s+$", "")
    found[#found + 1] = ("%s = %s"):format(name, value)
  end
  return ("the limit of namespaces is reached: %s in this user namespace, or less in one above; raise it with sysctl%s"):format(
    table.concat(found, ", "), nested)
end

---The hint for an errno of unshare(2), setns(2) or an open of a namespace; nil where the errno says all.
---@param errno integer?
---@param act { new: string[]?, fd: nslua.fd?, types: string[]?, capability: string?, pid: any, grant: string? }
---@return string?
function M.hint(errno, act)
  local E = core.errno
  if errno == E.EPERM then
    for _, t in ipairs(act.new or {}) do
      if t == "user" then
        return userns_refused()
      end
    end
    return M.missing(act.capability or "CAP_SYS_ADMIN", act.fd, act.grant)
  elseif errno == E.ENOSPC and act.new then
    return M.limit(act.new)
  elseif errno == E.EUSERS and act.new then
    return "user namespaces nest 32 deep at most"
  elseif errno == E.EMFILE then
    return "RLIMIT_NOFILE: every fd of this process is in use; raise it with `ulimit -n`, or close handles"
  elseif errno == E.ENFILE then
    return "the machine has no more open files: sysctl fs.file-max"
  elseif errno == E.EACCES and act.pid then
    return M.has "CAP_SYS_PTRACE" and "the process has capabilities that this one lacks, or a security module protects it"
      or "namespaces of another user's process: CAP_SYS_PTRACE over it is missing (PTRACE_MODE_READ); run as root"
  elseif errno == E.EINVAL or errno == E.EUSERS then
    for _, t in ipairs(act.types or act.new or {}) do
      if (t == "user" or t == "time" or t == "mount") and M.threads() > 1 then
        return ("this process has %d threads; %s namespaces are changed by single-threaded processes: use ns.run, ns.spawn or ns.fork"):format(
          M.threads(), t)
      end
    end
  end
end

---How many files this process may have open: RLIMIT_NOFILE. getrlimit(2)
---@return integer? limit  nil: none
function M.open_files()
  return tonumber((read "/proc/self/limits" or ""):match "Max open files%s+(%d+)")
end

---Threads of this process.
---@return integer
function M.threads()
  return tonumber((read "/proc/self/status" or ""):match "Threads:%s*(%d+)") or 1
end

return M
