-- What lines call a network namespace: the name it has in /run/netns, a stand-in that the lines make for one without a name, or a path that
-- is there while the script runs.

local core = require "nslua.core"
local out = require "nslua.trace.out"
local sh = require "nslua.trace.sh"

local M = {}

local RUN = "/run/netns/"

---@class nslua.trace.Space
---@field key string
---@field own boolean?     the one the script was started in
---@field name string?     in /run/netns, or the stand-in's
---@field standin boolean? the name exists in the lines alone
---@field pending table?   made, and not told yet: { began, took }
---@field path string?     where it was opened
---@field pid integer?     process it was opened from
---@field label string?    what the script calls it

local spaces, taken, count = {}, {}, 0
local fds = setmetatable({}, { __mode = "kv" }) -- of this process, while somebody else has them: a trace keeps nothing alive
local paths, pids = setmetatable({}, { __mode = "k" }), setmetatable({}, { __mode = "k" })

local function key_of(device, inode)
  return device and ("%s:%s"):format(tostring(device), tostring(inode)) or nil
end

local function key_at(path)
  local st = core.file.stat(path)
  return st and key_of(st.device, st.inode)
end

local function find_name(key)
  for _, name in ipairs(core.file.list "/run/netns" or {}) do
    if key_at(RUN .. name) == key then
      return name
    end
  end
end

local function at_key(key, fd)
  local space = key and spaces[key]
  if space and (space.gone or space.name and not space.standin and key_at(RUN .. space.name) ~= key) then
    if space.gone then
      space = nil
    else
      space.name = find_name(key) -- the name was taken away or moved
    end
  end
  if not space then
    space = { key = key, name = key and find_name(key) }
    if key then
      spaces[key] = space
    end
  end
  if fd then
    if not (fds[space] and fds[space]:isopen()) then
      fds[space] = fd
    end
    space.path = paths[fd] or space.path
    space.pid = pids[fd] or space.pid
  end
  return space
end

---Note where an fd of a namespace came from.
---@param fd userdata
---@param path? string
---@param pid? integer
function M.source(fd, path, pid)
  paths[fd], pids[fd] = path, pid
end

---The process an fd of a namespace was opened from.
---@param fd userdata
---@return integer?
function M.pid_of(fd)
  return pids[fd]
end

---The namespace of an fd.
---@param fd userdata|integer
---@return nslua.trace.Space
function M.of(fd)
  if type(fd) == "number" then
    return at_key(key_at(("/proc/thread-self/fd/%.0f"):format(fd)))
  end
  local ok, device, inode = pcall(fd.stat, fd)
  return at_key(ok and key_of(device, inode) or nil, fd)
end

-- A name for the lines: of the label where that is one.
local function stand_in(space)
  count = count + 1
  local pid, label = out.pid(), space.label
  local name = ("nslua-%s-%s"):format(pid, label and label:find "^[%w_.]+[%w_.-]*$" and #label < 64 and label or ("%d"):format(count))
  while taken[name] do
    name = name .. ("-%d"):format(count)
  end
  taken[name] = true
  space.name, space.standin = name, true
end

---Tell of a namespace that was made and has no name.
---@param space nslua.trace.Space
function M.settle(space)
  local pending = space.pending
  if pending then
    space.pending = nil
    stand_in(space)
    out.explain()
    out.effect(sh.join { "ip", "netns", "add", space.name }, out.time(pending.took) .. " ok" .. (pending.note and ", " .. pending.note or ""))
  end
end

---A namespace that was just made.
---@param fd userdata
---@param began number
---@param note? string
---@return nslua.trace.Space
function M.made(fd, began, note)
  local ok, device, inode = pcall(fd.stat, fd)
  local key = ok and key_of(device, inode) or nil
  local old = key and spaces[key]
  if old then -- the kernel uses numbers again: that one is gone
    M.closed(old)
  end
  local space = { key = key, pending = { took = core.fd.clock() - began, note = note } }
  fds[space] = fd
  if key then
    spaces[key] = space
  end
  return space
end

---A namespace of a stand-in is closed.
---@param space nslua.trace.Space
function M.closed(space)
  if space.pending then
    M.settle(space)
  end
  if space.standin and not space.gone then
    space.gone = true
    out.closing(sh.join { "ip", "netns", "delete", space.name }, "closed")
  end
end

---A namespace has got a name; the first it had is what it is called.
---@param space nslua.trace.Space
---@param name string
function M.named(space, name)
  space.pending = nil
  space.name = space.name or name
end

---Forget who has a name.
---@param name string
function M.unnamed(name)
  for _, space in pairs(spaces) do
    if space.name == name and not space.standin then
      space.name = nil
    end
  end
end

---Where it can be opened while the script runs.
---@param space nslua.trace.Space
---@return string
function M.path(space)
  M.settle(space)
  if space.name then
    return RUN .. space.name
  elseif space.pid then
    return ("/proc/%.0f/ns/net"):format(space.pid)
  elseif space.path then
    return (space.path:gsub("^/proc/self/", "/proc/" .. out.pid() .. "/"):gsub("^/proc/thread%-self/", "/proc/" .. out.pid() .. "/"))
  elseif space.own then
    return ("/proc/%s/ns/net"):format(out.pid())
  end
  local ok, number = pcall(function()
    return fds[space]:number()
  end)
  return ("/proc/%s/fd/%s"):format(out.pid(), ok and ("%.0f"):format(number) or "?")
end

---ip(8), tc(8) or bridge(8) in a namespace.
---@param space nslua.trace.Space
---@param tool string
---@return string[]
function M.tool(space, tool)
  M.settle(space)
  if space.own then
    return { tool }
  elseif space.name then
    return { tool, "-n", space.name }
  end
  return { "nsenter", "--net=" .. M.path(space), tool }
end

---A program in a namespace.
---@param space nslua.trace.Space
---@param view? boolean  with its own /sys and /etc, as of ip netns exec
---@return string[]
function M.enter(space, view)
  M.settle(space)
  if space.own then
    return {}
  elseif space.name and view then
    return { "ip", "netns", "exec", space.name }
  end
  return { "nsenter", "--net=" .. M.path(space) }
end

---What ip(8) takes after `netns`.
---@param space nslua.trace.Space
---@return string
function M.argument(space)
  M.settle(space)
  return space.name or M.path(space)
end

---What comments call it.
---@param space nslua.trace.Space
---@return string
function M.describe(space)
  return space.name or space.own and "the script's own namespace" or M.path(space)
end

---Note the namespace the script is started in.
function M.start()
  local fd = core.namespace.current(core.namespace.flags.net)
  if fd then
    M.of(fd).own = true
    fd:close()
  end
end

return M
