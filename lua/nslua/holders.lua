-- Who is in a network namespace, and everything that keeps it alive.

local core = require "nslua.core"
local errors = require "nslua.error"
local netns = require "nslua.netns"
local procfs = require "nslua.procfs"
local rundir = require "nslua.rundir"

local M = {}

local knamespace = core.namespace

local function processes(call)
  local pids, message, errno = procfs.numbers "/proc"
  return errors.check(call, nil, pids, message, errno)
end

local with = netns.with

---Processes whose first thread is in the namespace, as `ip netns pids` lists them.
---@param target any  whatever ns.netns.open takes
---@return integer[] pids  sorted
function M.pids(target)
  return with(target, function(handle)
    local out = {}
    for _, pid in ipairs(processes "netns.pids") do
      if procfs.inode(procfs.dir(pid), "net") == handle.inode then
        out[#out + 1] = pid
      end
    end
    return out
  end)
end

---Every name of the namespace a process is in (`ip netns identify` prints one of them).
---@param target? any  a pid, or whatever ns.netns.open takes (default: this thread's own)
---@return string[] names  sorted; empty where it has none
function M.identify(target)
  local function names(handle)
    local out = {}
    for _, name in ipairs(rundir.names "netns.identify") do
      local state, st = rundir.state(name)
      if state == "alive" and st.inode == handle.inode and st.device == handle.device then
        out[#out + 1] = name
      end
    end
    return out
  end
  if target == nil then
    local own = netns.current()
    local out = names(own)
    own:close()
    return out
  end
  return with(target, names)
end

-- What the fds of one process hold: the namespace itself, sockets in it.
local function scan_fds(pid, handle, skip, found, seen)
  local dir = procfs.dir(pid) .. "/fd"
  local fds, _, errno = procfs.numbers(dir)
  if not fds then
    return errno == core.errno.ENOENT or errno == core.errno.ESRCH
  end
  local whole, pidfd = true, nil
  for _, fd in ipairs(fds) do
    local link, inode = knamespace.peek(("%s/%.0f"):format(dir, fd))
    if link and inode == handle.inode then
      if not (skip and skip.pid == pid and skip.fd == fd) then
        found.fds[#found.fds + 1] = { pid = pid, fd = fd }
      end
    elseif link and (link:sub(1, 8) == "socket:[" or link == "/dev/net/tun") then
      -- A socket that several processes share is asked once: its inode is its name. A tun fd has no inode of its own.
      local inside = seen[link]
      if inside == nil then
        pidfd = pidfd or knamespace.pidfd(pid)
        local copy, _, why = nil, nil, core.errno.ESRCH
        if pidfd then
          copy, _, why = knamespace.getfd(pidfd, fd)
        end
        if copy then
          local net
          net, _, why = knamespace.of_socket(copy)
          if net then
            local device, home = net:stat()
            inside = device == handle.device and home == handle.inode
            net:close()
          elseif why == core.errno.EPERM then
            whole = false
          else
            inside = false -- a socket of a family that has no namespace
          end
          copy:close()
        elseif why == core.errno.EPERM then
          whole = false
        end
        if link ~= "/dev/net/tun" then
          seen[link] = inside
        end
      end
      if inside then
        found.sockets[#found.sockets + 1] = { pid = pid, fd = fd, inode = tonumber(link:match "%d+") }
      end
    end
  end
  if pidfd then
    pidfd:close()
  end
  return whole
end

---@class nslua.Holders
---@field processes { pid: integer, command: string }[]               whose first thread is inside
---@field threads { pid: integer, tid: integer, command: string }[]   inside, of processes whose first thread is not
---@field fds { pid: integer, fd: integer, command: string }[]        open on the namespace itself
---@field sockets { pid: integer, fd: integer, inode: integer?, command: string }[]  made inside; tun devices too (no inode)
---@field mounts { path: string, mount_namespace: integer, pid: integer? }[]  names of it, in every mount namespace that a process is in
---@field complete boolean   whether every process could be looked at
---@field unreadable integer processes that could not

---Everything that keeps a namespace alive, of what /proc shows. What it cannot show: an fd in flight in a unix socket.
---@param target any  whatever ns.netns.open takes
---@return nslua.Holders
function M.holders(target)
  return with(target, function(handle)
    local found = { processes = {}, threads = {}, fds = {}, sockets = {}, mounts = {}, unreadable = 0 }
    local self_pid = tonumber(core.file.readlink "/proc/self")
    -- The handle that was opened for this question is no holder.
    local skip = not rawequal(handle, target) and { pid = self_pid, fd = handle.fd:number() } or nil
    local seen_sockets, seen_mounts = {}, {}
    local function mounts(dir, pid)
      local mntns = procfs.inode(dir, "mnt")
      if not mntns or seen_mounts[mntns] then
        return
      end
      seen_mounts[mntns] = true
      for _, mount in ipairs(procfs.namespace_mounts(dir) or {}) do
        if mount.word == "net" and mount.inode == handle.inode then
          found.mounts[#found.mounts + 1] = { path = mount.path, mount_namespace = mntns, pid = pid }
        end
      end
    end
    mounts("/proc/thread-self", nil)
    for _, pid in ipairs(processes "netns.holders") do
      local first = #found.processes + #found.threads + #found.fds + #found.sockets
      local dir = procfs.dir(pid)
      local net, errno = procfs.inode(dir, "net")
      local readable = true
      if net == handle.inode then
        found.processes[#found.processes + 1] = { pid = pid }
      elseif not net then
        readable = errno == core.errno.ENOENT or errno == core.errno.ESRCH
      end
      for _, tid in ipairs(procfs.threads(pid)) do
        if net ~= handle.inode and procfs.inode(procfs.dir(pid, tid), "net") == handle.inode then
          found.threads[#found.threads + 1] = { pid = pid, tid = tid }
        end
      end
      mounts(dir, pid)
      if not scan_fds(pid, handle, skip, found, seen_sockets) then
        readable = false
      end
      if not readable then
        found.unreadable = found.unreadable + 1
      end
      if #found.processes + #found.threads + #found.fds + #found.sockets > first then
        local command = procfs.command(pid)
        for _, kind in ipairs { "processes", "threads", "fds", "sockets" } do
          for _, row in ipairs(found[kind]) do
            if row.pid == pid then
              row.command = command
            end
          end
        end
      end
    end
    found.complete = found.unreadable == 0
    return found
  end)
end

return M
