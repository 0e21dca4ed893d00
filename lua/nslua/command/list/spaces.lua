-- The network namespaces of the machine, and what they are called: their name in /run/netns, their container, a process.

local core = require "nslua.core"
local ls = require "nslua.command.ls.columns"
local netrow = require "nslua.netrow"
local ns = require "nslua"

local M = {}

---@class nslua.list.Space
---@field name string       "blue", "docker web", "pid 812 (sleep)", "net:[4026532000]"
---@field inode integer
---@field row? table        of ns.namespace.list; nil: this process's own

local function title(row, named, here)
  if named[row.inode] then
    return named[row.inode]
  end
  if row.inode == here then
    return "this namespace"
  end
  local container, engine = ls.container(row)
  if container then
    return engine and engine .. " " .. container or "container " .. container
  elseif row.pid then
    return ("pid %d (%s)"):format(row.pid, (row.command or "?"):match "^%S*":match "[^/]*$")
  end
  return row.paths[1] or ("net:[%d]"):format(row.inode)
end

---Open one; nil where this process may not, or it is gone.
---@param space nslua.list.Space
---@return nslua.Netns?
function M.enter(space)
  if not space.row then
    return ns.netns.current()
  end
  return netrow.open(space.row)
end

---Every one that can be found. None is open: there may be more than this process may have files.
---@param quick? boolean  not what only open files and sockets hold: that takes a look at every process
---@return nslua.list.Space[] sorted by name, this one first
function M.all(quick)
  local named, out = {}, {}
  for _, row in ipairs(ns.netns.list()) do
    if row.inode then
      named[row.inode] = row.name
    end
  end
  local current <close> = ns.netns.current()
  local here = current.inode
  for _, row in ipairs(ns.namespace.list { type = "net", fds = not quick, sockets = not quick }) do
    if row.inode ~= here then
      out[#out + 1] = { name = title(row, named, here), inode = row.inode, row = row }
    end
  end
  table.sort(out, function(a, b)
    return a.name < b.name
  end)
  table.insert(out, 1, { name = named[here] or "this namespace", inode = here })
  return out
end

-- By the handle that looks: what is called how, by its id there.
local titles = setmetatable({}, { __mode = "k" })

---What the namespace is called that has an id in another.
---@param handle nslua.Netns
---@param nsid integer
---@return string
function M.of_nsid(handle, nsid)
  local found = titles[handle] or { looks = 0 }
  titles[handle] = found
  while not found[nsid] and found.looks < 2 do -- most are found without a look at every open file
    found.looks = found.looks + 1
    for _, space in ipairs(M.all(found.looks == 1)) do
      local other <close> = M.enter(space)
      local ok, id = pcall(function()
        return other and handle:nsid_of(other)
      end)
      if ok and id then
        found[id] = found[id] or space.name
      end
    end
  end
  return found[nsid] or ("nsid %d"):format(nsid)
end

---Open what -n names.
---@param word string
---@return nslua.Netns
function M.open(word)
  local words = require "nslua.command.list.words"
  local ok, handle = pcall(require "nslua.command.cli.place".open, word)
  if ok then
    return handle
  elseif not require "nslua.error".is(handle) then
    error(handle, 0)
  end
  local why = (word:find "^%l[%w_-]*:" or handle.call == "container.find") and handle.message or core.strerror(handle.errno)
  local safe = require "nslua.command.cli.columns".safe
  words.wrong(255, 'Cannot open network namespace "%s": %s%s', safe(word), safe(why), handle.hint and "\n" .. handle.hint or "")
end

return M
