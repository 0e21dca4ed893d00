-- Network namespaces that processes hold by an fd. proc(5)
--
-- Only the text of the links is asked for: what else is open may be on a server that never answers. An fd that was opened by the name of a bind
-- mount shows that name, and is not seen here.

local core = require "nslua.core"
local procfs = require "nslua.procfs"

local M = {}

local O_NONBLOCK = 2048 -- asm-generic/fcntl.h; nobody else gives it to an fd of a namespace, where it means nothing

---Mark an fd of a namespace as one that only looks at it: two who look would keep it alive for each other.
---@param fd nslua.Fd
function M.mark(fd)
  fd:nonblock(true)
end

-- Whether it is so marked. Of a process that this one may not ask, the fds were not told either.
local function marked(path)
  local flags = (procfs.read((path:gsub("/fd/", "/fdinfo/"))) or ""):match "flags:%s*([0-7]+)"
  return flags ~= nil and math.floor(tonumber(flags, 8) / O_NONBLOCK) % 2 == 1
end

-- Each fd of a process that is one of a network namespace, until `visit` is content.
local function of(pid, visit)
  local dir = procfs.dir(pid) .. "/fd/"
  for _, fd in ipairs(procfs.numbers(dir) or {}) do
    local path = ("%s%.0f"):format(dir, fd)
    local inode = tonumber((core.file.readlink(path) or ""):match "^net:%[(%d+)%]$")
    if inode and visit(inode, path, pid) then
      return true
    end
  end
  return false
end

M.each_of = of

---Visit every fd of a network namespace that this process may see.
---@param visit fun(inode: integer, path: string, pid: integer): boolean?  true: no more
function M.each(visit)
  for _, pid in ipairs(procfs.numbers "/proc" or {}) do
    if of(pid, visit) then
      return
    end
  end
end

---A process that holds a namespace so, other than this one and those that only look at it.
---@param inode integer
---@param likely? integer  that is asked first
---@return integer? pid
function M.holder(inode, likely)
  local own, found = tonumber(core.file.readlink "/proc/self"), nil
  local function visit(i, path, pid)
    found = i == inode and pid ~= own and not marked(path) and pid or nil
    return found ~= nil
  end
  if not (likely and of(likely, visit)) then
    M.each(visit)
  end
  return found
end

return M
