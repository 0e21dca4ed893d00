-- What /proc tells of processes: their namespaces, threads, open files and mounts. proc(5)

local core = require "nslua.core"

local M = {}

local file = core.file

---The whole of a small file, or nil.
---@param path string
---@return string?
function M.read(path)
  local f = io.open(path, "r")
  if not f then
    return nil
  end
  local text = f:read "*a"
  f:close()
  return text
end

---Numbers that a directory's names are, sorted: processes of "/proc", threads of "/proc/1/task", fds of "/proc/1/fd".
---@param path string
---@return integer[]? numbers
---@return string? message
---@return integer? errno
function M.numbers(path)
  local names, message, errno = file.list(path)
  if not names then
    return nil, message, errno
  end
  local out = {}
  for _, name in ipairs(names) do
    local n = name:match "^%d+$" and tonumber(name)
    if n then
      out[#out + 1] = n
    end
  end
  table.sort(out)
  return out
end

---The directory of a process or of one of its threads.
---@param pid integer
---@param tid? integer
---@return string
function M.dir(pid, tid)
  return tid and ("/proc/%.0f/task/%.0f"):format(pid, tid) or ("/proc/%.0f"):format(pid)
end

---Inode of a namespace that a process or thread is in.
---@param dir string   see M.dir
---@param word string  as in /proc/PID/ns: "mnt"
---@return integer? inode
---@return integer? errno
function M.inode(dir, word)
  local text, _, errno = file.readlink(dir .. "/ns/" .. word)
  if not text then
    return nil, errno
  end
  return tonumber(text:match "%[(%d+)%]$")
end

---Threads beside the first, where there are any.
---@param pid integer
---@return integer[]
function M.threads(pid)
  local status = M.read(M.dir(pid) .. "/status")
  if not status or (tonumber(status:match "\nThreads:%s*(%d+)") or 1) < 2 then
    return {}
  end
  local out = {}
  for _, tid in ipairs(M.numbers(M.dir(pid) .. "/task") or {}) do
    if tid ~= pid then
      out[#out + 1] = tid
    end
  end
  return out
end

---The command line, or "[name]" of a process without one.
---@param pid integer
---@return string? command  nil once the process has ended
function M.command(pid)
  local text = M.read(M.dir(pid) .. "/cmdline")
  if not text then
    return nil
  elseif text == "" then
    local name = M.read(M.dir(pid) .. "/comm")
    return name and "[" .. name:gsub("\n$", "") .. "]"
  end
  return (text:gsub("%z+$", ""):gsub("%z", " "))
end

local SYS_PTRACE = 19 -- linux/capability.h
local INITIAL_USER = 4026531837 -- linux/proc_ns.h

-- Whether a text of /proc/PID/status has that capability in force. No integers of 64 bits before Lua 5.3.
local function capable(status, number)
  local mask = status:match "CapEff:%s*(%x+)"
  local at = math.floor(number / 4)
  local digit = mask and tonumber(mask:sub(-at - 1, -at - 1), 16) or 0
  return math.floor(digit / 2 ^ (number % 4)) % 2 == 1
end

local function in_group(status, gid)
  return (" " .. (status:match "Groups:([^\n]*)" or "") .. " "):find("%s" .. gid .. "%s") ~= nil
    or status:match "Gid:%s*%d+%s+%d+%s+%d+%s+(%d+)" == gid
end

---What hides processes of others from this one: the value of hidepid with which /proc is mounted. Ids and capabilities say something of others'
---processes in the initial user namespace only. proc(5)
---@return string? option  "noaccess" (they are seen, and cannot be looked at), "invisible" or "ptraceable"; nil: nothing
function M.hides()
  local options
  for line in (M.read "/proc/thread-self/mountinfo" or ""):gmatch "[^\n]+" do
    -- 142 101 0:41 / /proc rw,relatime - proc proc rw,gid=100,hidepid=invisible
    local point, kind, of_all = line:match "^%d+ %d+ %S+ %S+ (%S+) .- %- (%S+) %S+ (%S+)$"
    if point == "/proc" then
      options = kind == "proc" and "," .. of_all .. "," or nil -- the last one covers the others
    end
  end
  local names = { ["1"] = "noaccess", ["2"] = "invisible", ["4"] = "ptraceable", off = false, ["0"] = false } -- before 5.8 a number
  local option = options and options:match ",hidepid=([^,]+)," or "off"
  if names[option] ~= nil then
    option = names[option]
  end
  if not option then
    return nil
  end
  local status = M.read "/proc/thread-self/status" or ""
  if M.inode("/proc/thread-self", "user") == INITIAL_USER
    and (capable(status, SYS_PTRACE) or option ~= "ptraceable" and in_group(status, options:match ",gid=(%d+)," or "0")) then
    return nil
  end
  return option
end

---A path as mountinfo writes it: "\040" is a blank.
---@param text string
---@return string
function M.unescape(text)
  return (text:gsub("\\(%d%d%d)", function(octal)
    return string.char(tonumber(octal, 8))
  end))
end

---Bind mounts of namespaces in a process's mount namespace.
---@param dir string  see M.dir, or "/proc/thread-self"
---@return { word: string, inode: integer, path: string }[]? mounts
function M.namespace_mounts(dir)
  local text = M.read(dir .. "/mountinfo")
  if not text then
    return nil
  end
  local out = {}
  -- 43 42 0:4 net:[4026532246] /run/netns/blue rw shared:2 - nsfs nsfs rw
  for word, inode, path in text:gmatch "%d+ %d+ %S+ (%l+):%[(%d+)%] (%S+) [^\n]- %- nsfs [^\n]*" do
    out[#out + 1] = { word = word, inode = tonumber(inode), path = M.unescape(path) }
  end
  return out
end

return M
