-- Namespaces made, named, entered and left; sysctls; tun devices: what goes through the core beside rtnetlink and programs.

local core = require "nslua.core"
local namespace = require "nslua.namespace"
local netlink = require "nslua.trace.netlink"
local out = require "nslua.trace.out"
local process = require "nslua.trace.process"
local sh = require "nslua.trace.sh"
local spaces = require "nslua.trace.spaces"

local M = {}

local flags = core.namespace.flags
local RUN = "/run/netns/"
local AF_NETLINK = 16

local function has(bits, bit)
  return math.floor(bits / bit) % 2 == 1
end

local function options(bits)
  local words = {}
  for _, t in ipairs(namespace.types) do
    if has(bits, flags[t]) then
      words[#words + 1] = "--" .. t
    end
  end
  return words
end

-- net.ipv4.ip_forward; where a link has a dot in its name, with slashes, which sysctl(8) takes too.
local function sysctl_name(path)
  local rest = path:match "^/proc/sys/(.+)$"
  return rest and (rest:find(".", 1, true) and rest or (rest:gsub("/", ".")))
end

local function write_line(space, path, text)
  local name, value = sysctl_name(path), text:gsub("\n$", "")
  local words = spaces.enter(space, true)
  if name then
    for _, word in ipairs { "sysctl", "-w", name .. "=" .. value } do
      words[#words + 1] = word
    end
  else
    for _, word in ipairs { "sh", "-c", ("echo %s >%s"):format(sh.quote(value), sh.quote(path)) } do
      words[#words + 1] = word
    end
  end
  return sh.join(words)
end

local function read_line(space, path)
  local words = spaces.enter(space, true)
  local name = sysctl_name(path)
  words[#words + 1] = name and "sysctl" or "cat"
  words[#words + 1] = name or path:gsub("^/proc/thread%-self/", "/proc/self/")
  return sh.join(words)
end

-- Wrap functions of one of the core's tables: each gets the original, and gives what stands in its place.
local function wrap(t, wrappers)
  for name, wrapper in pairs(wrappers) do
    if t[name] then
      t[name] = wrapper(t[name])
    end
  end
end

-- The network namespace this thread is in now.
local function here(began, note)
  local fd = core.namespace.current(flags.net)
  if fd then
    local space = spaces.made(fd, began, note)
    spaces.settle(space)
    fd:close()
  end
end

-- Making, opening ----------------------------------------------------------------------------------------------------------------

local function new_net(original)
  return function(...)
    local began = core.fd.clock()
    local fd, message, errno = original(...)
    if fd then
      spaces.made(fd, began)
    else
      out.comment("unshare --net", out.time(core.fd.clock() - began) .. " " .. out.failure(errno, message))
    end
    return fd, message, errno
  end
end

local function open(original)
  return function(path, ...)
    local fd, message, errno = original(path, ...)
    if fd then
      local pid = path:match "^/proc/(%d+)/ns/"
      spaces.source(fd, path, pid and tonumber(pid))
    end
    return fd, message, errno
  end
end

local pidfds = setmetatable({}, { __mode = "k" })

local function pidfd(original)
  return function(pid, ...)
    local fd, message, errno = original(pid, ...)
    if fd then
      pidfds[fd] = pid
    end
    return fd, message, errno
  end
end

local function of_pidfd(original)
  return function(from, ...)
    local fd, message, errno = original(from, ...)
    if fd and pidfds[from] then
      spaces.source(fd, nil, pidfds[from])
    end
    return fd, message, errno
  end
end

-- Moving -------------------------------------------------------------------------------------------------------------------------

local function unshare(original)
  return function(bits, ...)
    local began = core.fd.clock()
    local ok, message, errno = original(bits, ...)
    local words = options(bits)
    table.insert(words, 1, "unshare")
    local time = out.time(core.fd.clock() - began)
    out.comment(sh.join(words), time .. (ok and " ok, this process" or " " .. out.failure(errno, message)))
    if ok and has(bits, flags.net) then
      here(began, "where this process is now")
    end
    return ok, message, errno
  end
end

local function setns(original)
  return function(fd, bits, ...)
    local words
    if pidfds[fd] then
      words = options(bits)
      table.insert(words, 1, ("--target=%.0f"):format(pidfds[fd]))
      table.insert(words, 1, "nsenter")
    else
      local name
      for t, flag in pairs(flags) do
        name = bits == flag and t or name
      end
      words = name and type(fd) == "userdata" and process.nsenter { { name = name, fd = fd } } or { "nsenter" }
    end
    local began = core.fd.clock()
    local ok, message, errno = original(fd, bits, ...)
    out.comment(sh.join(words), out.time(core.fd.clock() - began) .. (ok and " ok, this process" or " " .. out.failure(errno, message)))
    return ok, message, errno
  end
end

-- Where a function stands: "lab.lua:7".
local function place(fn)
  local info = type(fn) == "function" and type(debug) == "table" and debug.getinfo(fn, "S")
  return info and info.what ~= "C" and ("%s:%d"):format(info.short_src, info.linedefined) or "a C function"
end

local function call(original)
  return function(fd, home, fn, ...)
    local words = spaces.enter(spaces.of(fd))
    out.comment(("%s: Lua function %s"):format(words[1] and sh.join(words) or "here", place(fn)))
    return original(fd, home, fn, ...)
  end
end

-- Inside -------------------------------------------------------------------------------------------------------------------------

local function socket(original)
  return function(fd, domain, kind, protocol, ...)
    local made, message, errno = original(fd, domain, kind, protocol, ...)
    if made then
      netlink.socket(made, spaces.of(fd), domain == AF_NETLINK and protocol or nil)
    end
    return made, message, errno
  end
end

local function lo_up(original)
  return function(fd, ...)
    local began = core.fd.clock()
    local ok, message, errno = original(fd, ...)
    local space = netlink.space(fd)
    local words = space and spaces.tool(space, "ip") or { "ip" }
    for _, word in ipairs { "link", "set", "lo", "up" } do
      words[#words + 1] = word
    end
    out.result(sh.join(words), began, ok, errno, message)
    return ok, message, errno
  end
end

local function write(original)
  return function(fd, path, text, ...)
    local line = write_line(spaces.of(fd), path, text)
    local began = core.fd.clock()
    local ok, message, errno = original(fd, path, text, ...)
    out.result(line, began, ok, errno, message)
    return ok, message, errno
  end
end

-- Each has its line.
local function write_all()
  return function(fd, list)
    for _, file in ipairs(list) do
      local ok, message, errno = core.namespace.write(fd, file[1], file[2])
      if not ok and errno ~= core.errno.ENOENT then
        return ok, message, errno
      end
    end
    return true
  end
end

local opened = setmetatable({}, { __mode = "k" })

local function read(original)
  return function(fd, path, ...)
    local space = spaces.of(fd)
    local began = core.fd.clock()
    local file, message, errno = original(fd, path, ...)
    if file then
      opened[file] = space
    end
    if out.all and path:find "^/proc/" then
      out.comment(read_line(space, path), out.time(core.fd.clock() - began) .. (file and " ok" or " " .. out.failure(errno, message)))
    end
    return file, message, errno
  end
end

-- A tun device is attached to by a program or made to stay: the line is that of the second.
local devices = setmetatable({}, { __mode = "k" })

local function attach(original)
  return function(fd, name, how, ...)
    local got, message, errno = original(fd, name, how, ...)
    devices[fd] = { name = got or name, how = how or {} }
    if not got then
      out.comment(sh.join { "ip", "tuntap", "add", "dev", name, "mode", how and how.tap and "tap" or "tun" }, out.failure(errno, message))
    end
    return got, message, errno
  end
end

local function persist(original)
  return function(fd, user, group, ...)
    local began = core.fd.clock()
    local ok, message, errno = original(fd, user, group, ...)
    local device = devices[fd] or { name = "?", how = {} }
    local words = opened[fd] and spaces.tool(opened[fd], "ip") or { "ip" }
    for _, word in ipairs { "tuntap", "add", "dev", device.name, "mode", device.how.tap and "tap" or "tun" } do
      words[#words + 1] = word
    end
    for word, value in pairs { user = user, group = group } do
      words[#words + 1] = word
      words[#words + 1] = ("%.0f"):format(value)
    end
    for _, word in ipairs { "pi", "vnet_hdr", "multi_queue" } do
      if device.how[word] then
        words[#words + 1] = word
      end
    end
    out.result(sh.join(words), began, ok, errno, message)
    return ok, message, errno
  end
end

-- Steps done inside a user namespace: sockets, namespaces, files. nslua.keeper
local function errand(original)
  return function(steps, ...)
    local began = core.fd.clock()
    local fds, message, errno, at = original(steps, ...)
    local space, n = nil, 0
    for i, step in ipairs(steps) do
      local what = step[1]
      if what == "join" and step[3] == flags.net then
        space = spaces.of(step[2])
      elseif what == "write" and space then
        out.result(write_line(space, step[2], step[3]), began, fds, errno, message)
      elseif not fds and i == at then
        out.comment(("%s in a user namespace"):format(what), out.time(core.fd.clock() - began) .. " " .. out.failure(errno, message))
      end
      if what == "new" or what == "socket" or what == "open" or what == "user" then
        n = n + 1
        local fd = fds and fds[n]
        if fd and what == "new" then
          spaces.made(fd, began, "in a user namespace of the script")
        elseif fd and what == "socket" then
          netlink.socket(fd, space, step[2] == AF_NETLINK and step[4] or nil)
        elseif fd and what == "open" and space then
          opened[fd] = space
        elseif fd and what == "user" then
          out.comment("unshare --user", out.time(core.fd.clock() - began) .. " ok, held by the script")
        end
      end
    end
    return fds, message, errno, at
  end
end

local function keeper(original)
  return function(...)
    local began = core.fd.clock()
    local found, pid, mount, user, proc = original(...)
    local text = "unshare --pid --mount --fork: the keeper, which ends with the script"
    out.comment(text, out.time(core.fd.clock() - began) .. (found and " ok" or " " .. out.failure(mount, pid)))
    return found, pid, mount, user, proc
  end
end

-- Names --------------------------------------------------------------------------------------------------------------------------

local function naming(space, name, path)
  local target = space.name
  if space.pending then
    return { "ip", "netns", "add", name }
  elseif target then
    return nil, ("touch %s && mount --bind %s %s"):format(sh.quote(path), sh.quote(RUN .. target), sh.quote(path))
  elseif space.pid then
    return { "ip", "netns", "attach", name, space.pid }
  elseif space.own then
    return nil, ("ip netns attach %s $$"):format(sh.quote(name))
  end
  return nil, ("touch %s && mount --bind %s %s"):format(sh.quote(path), sh.quote(spaces.path(space)), sh.quote(path))
end

local function bind(original)
  return function(source, target, ...)
    local name = target:sub(1, #RUN) == RUN and target:sub(#RUN + 1)
    local number = name and source:match "^/proc/[%w-]+/fd/(%d+)$"
    local space = number and spaces.of(tonumber(number))
    local began = core.fd.clock() - (space and space.pending and space.pending.took or 0)
    local ok, message, errno = original(source, target, ...)
    if space then
      local words, line = naming(space, name, target)
      out.result(line or sh.join(words), began, ok, errno, message)
      if ok then
        spaces.named(space, name)
      end
    elseif target ~= "/run/netns" then
      out.result(sh.join { "mount", "--bind", source, target }, began, ok, errno, message)
    end
    return ok, message, errno
  end
end

local function unlink(original)
  return function(path, ...)
    local began = core.fd.clock()
    local ok, message, errno = original(path, ...)
    local name = path:sub(1, #RUN) == RUN and path:sub(#RUN + 1)
    if name then
      out.result(sh.join { "ip", "netns", "delete", name }, began, ok, errno, message)
      if ok then
        spaces.unnamed(name)
      end
    else
      out.result(sh.join { "rm", path }, began, ok, errno, message)
    end
    return ok, message, errno
  end
end

-- Handles: what the script calls a namespace, and when it lets go of one that has no name.
local function handles()
  local holders = setmetatable({}, { __mode = "kv" })
  local made = namespace.wrap
  function namespace.wrap(t, fd, fields)
    local self = made(t, fd, fields)
    if t == "net" then
      local space = spaces.of(rawget(self, "fd"))
      if space.pending and not space.label then
        space.label = rawget(self, "label")
      end
      if rawget(self, "anonymous") then
        holders[space] = self
        spaces.settle(space)
      end
    end
    return self
  end
  local methods = namespace.Namespace.methods
  local close = methods.close
  function methods.close(self, ...)
    local fd = self.type == "net" and rawget(self, "fd")
    local space = fd and rawget(self, "anonymous") and spaces.of(fd)
    local function after(...)
      if space and holders[space] == self then
        spaces.closed(space)
      end
      return ...
    end
    return after(close(self, ...))
  end
end

-- Of the time namespace that this process's children will be in.
local function time_offsets()
  local set = namespace.set_time_offsets
  function namespace.set_time_offsets(offsets, ...)
    local words = { "unshare", "--time" }
    for _, clock in ipairs { "monotonic", "boottime" } do
      if type(offsets) == "table" and offsets[clock] then
        words[#words + 1] = "--" .. clock
        words[#words + 1] = offsets[clock]
      end
    end
    out.comment(sh.join(words) .. ": offsets for this process's children")
    return set(offsets, ...)
  end
end

---Put the printing versions in the place of the core's.
function M.start()
  wrap(core.namespace, { new_net = new_net, open = open, pidfd = pidfd, of_pidfd = of_pidfd, unshare = unshare, setns = setns, call = call,
    socket = socket, lo_up = lo_up, write = write, write_all = write_all, read = read })
  wrap(core.tun, { attach = attach, persist = persist })
  wrap(core.errand, { run = errand })
  wrap(core.keeper, { start = keeper })
  wrap(core.mount, { bind = bind })
  wrap(core.file, { unlink = unlink })
  handles()
  time_offsets()
end

return M
