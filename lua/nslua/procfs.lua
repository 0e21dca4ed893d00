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
