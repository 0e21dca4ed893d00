-- What is done inside a network namespace from outside of it: sockets, files of /proc, sysctls, a Lua function.

local core = require "nslua.core"
local errors = require "nslua.error"
local check = require "nslua.check"
local keeper = require "nslua.keeper"
local namespace = require "nslua.namespace"
local privilege = require "nslua.privilege"

local M = {}

---@class nslua.fd  a file descriptor: closed by close(), `<close>` or when it is collected
---@field number fun(self): integer    its number, while the handle owns it; `pollfd`, `getfd` are the same, for event loops
---@field release fun(self): integer   its number, which the caller owns from now on
---@field close fun(self): true        once or more often
---@field isopen fun(self): boolean
---@field read fun(self, bytes: integer?): string?  one read(2), of 65536 bytes at most by default: "" at the end; nil, reason, errno where it fails
---@field write fun(self, text: string): integer?   write(2): how many bytes went
---@field nonblock fun(self, yes: boolean): true

local knamespace = core.namespace
local ERRAND = 100 -- sockets that one errand makes at most

-- Pass a core result through, or raise it with the namespace's name and what was missing.
local function checked(self, call, detail, result, message, errno, capability)
  if result ~= nil then
    return result
  end
  local hint = privilege.hint(errno, { fd = rawget(self, "fd"), capability = capability, grant = privilege.grants.own })
  return errors.check(call, { netns = self:describe(), detail = detail, hint = hint }, result, message, errno)
end

-- The fd of the user namespace of ours that a handle was made in, where this process has to enter it first.
local function userns_of(self, call)
  local userns = rawget(self, "userns")
  return userns and keeper.needed() and namespace.fd_of(userns, call) or nil
end

---A socket made inside, usable outside. Numbers as in socket(2).
---@param domain integer
---@param type integer
---@param protocol integer
---@return nslua.fd
function M:raw_socket(domain, type, protocol)
  check.argument("netns.socket", "domain", domain, "0-2147483647")
  check.argument("netns.socket", "type", type, "0-2147483647")
  check.argument("netns.socket", "protocol", protocol, "0-2147483647")
  local fd = namespace.fd_of(self, "netns.socket")
  local userns = userns_of(self, "netns.socket")
  if userns then
    return keeper.socket(userns, fd, domain, type, protocol, self:describe())
  end
  local socket, message, errno = knamespace.socket(fd, domain, type, protocol)
  local capability
  if errno == core.errno.EPERM then -- it was the socket that was refused, where there was no way to go
    local here = namespace.current "net"
    capability = here == self and "CAP_NET_RAW" or nil
    here:close()
  end
  return checked(self, "netns.socket", nil, socket, message, errno, capability)
end

local domains = { unix = 1, inet = 2, inet6 = 10, netlink = 16, packet = 17, vsock = 40 }
local types = { stream = 1, dgram = 2, raw = 3, seqpacket = 5 }
local protocols = { icmp = 1, tcp = 6, udp = 17, icmp6 = 58, sctp = 132, mptcp = 262 }

local function number(what, value, words)
  if type(value) == "number" then
    return value
  end
  local n = type(value) == "string" and words[value]
  if not n then
    errors.misuse("netns.socket: %s", check.unknown(what, value, words))
  end
  return n
end

---A socket of the namespace: an fd made inside, usable outside, for luv, cqueues, LuaSocket. socket(2)
---@param domain string|integer     "inet", "inet6", "unix", "packet", "netlink", "vsock"
---@param type string|integer       "stream", "dgram", "raw", "seqpacket"
---@param protocol? string|integer  "tcp", "udp", "icmp", "icmp6", "sctp", "mptcp" (default 0: the type's own)
---@return nslua.fd
function M:socket(domain, type, protocol)
  return self:raw_socket(number("socket domain", domain, domains), number("socket type", type, types),
    protocol and number("protocol", protocol, protocols) or 0)
end

---A socket in each of many namespaces. Where user namespaces of this script have to be entered, one errand makes those of each.
---@param handles nslua.Netns[]
---@param domain integer    numbers as in socket(2)
---@param type integer
---@param protocol integer
---@return nslua.fd[]  in the order of the handles
---@package
function M.sockets(handles, domain, type, protocol)
  local out, steps, places = {}, {}, {}
  local of -- the user namespace of those that are gathered
  local function finish()
    for i, fd in ipairs(steps[1] and keeper.sockets(namespace.fd_of(of, "netns.socket"), steps) or {}) do
      out[places[i]] = fd
    end
    steps, places = {}, {}
  end
  for i, handle in ipairs(handles) do
    if userns_of(handle, "netns.socket") then
      local userns = rawget(handle, "userns")
      if of ~= userns or #steps == ERRAND then
        finish()
        of = userns
      end
      steps[#steps + 1] = { namespace.fd_of(handle, "netns.socket"), domain, type, protocol }
      places[#places + 1] = i
    else
      out[i] = M.raw_socket(handle, domain, type, protocol)
    end
  end
  finish()
  return out
end

---Bring lo up.
---@return true
function M:lo_up()
  local socket = self:raw_socket(domains.inet, types.dgram, 0)
  local ok, message, errno = knamespace.lo_up(socket)
  socket:close()
  return checked(self, "netns.lo_up", nil, ok, message, errno)
end

-- The file as this thread's own namespace shows it once it is inside: /proc/net is the link self/net, of the first thread.
local function inside_path(call, path)
  if type(path) ~= "string" then
    errors.misuse("%s: a path expected, got %s", call, type(path))
  end
  local rest = path:match "^/proc/net/(.+)$" or path:match "^/proc/self/net/(.+)$" or path:match "^/proc/thread%-self/net/(.+)$"
  local full = rest and "/proc/thread-self/net/" .. rest or path:match "^/proc/sys/net/.+$" and path
  if not full or ("/" .. full .. "/"):find("/../", 1, true) or full:find("\0", 1, true) then
    errors.misuse("%s: %q is no file that a network namespace has of its own (those under /proc/net and /proc/sys/net); use run for others",
      call, path)
  end
  return full
end

---Open a file inside, to read from and for ioctl(2). Raises what the keeper says.
---@param self nslua.Netns
---@param call string
---@param path string
---@param mode? "rw"  to read from where it is missing
---@return nslua.fd?
---@return string? message
---@return integer? errno
---@private
function M.open(self, call, path, mode)
  local fd = namespace.fd_of(self, call)
  local userns = userns_of(self, call)
  if userns then
    return keeper.file(userns, fd, path, nil, call, self:describe(), mode)
  end
  return knamespace.read(fd, path, mode)
end
local open = M.open

local function read(self, call, path)
  local file = checked(self, call, nil, open(self, call, path))
  local parts = {}
  while true do
    local bytes, message, errno = file:read(4096) -- procfs gives a page at a time
    if not bytes then
      file:close()
      checked(self, call, path, bytes, message, errno)
    elseif bytes == "" then
      break
    end
    parts[#parts + 1] = bytes
  end
  file:close()
  return table.concat(parts)
end

---The text of a file under /proc/net or /proc/sys/net, as it is inside.
---@param path string  "/proc/net/snmp"
---@return string
function M:read(path)
  return read(self, "netns.read", inside_path("netns.read", path))
end

-- "net.ipv4.ip_forward" or "net/ipv4/ip_forward"; as in sysctl(8) the first separator decides, and the other one stands for itself:
-- "net.ipv4.conf.eth0/100.forwarding" is of the device eth0.100.
local function sysctl_path(name)
  if type(name) ~= "string" then
    errors.misuse("netns.sysctl: a name expected, got %s", type(name))
  end
  local path = name
  if (name:match "[./]") == "." then
    path = name:gsub("[./]", { ["."] = "/", ["/"] = "." })
  end
  if path:sub(1, 4) ~= "net/" then
    errors.misuse("netns.sysctl: %q is not of a network namespace: names begin with \"net.\"", name)
  end
  return inside_path("netns.sysctl", "/proc/sys/" .. path)
end

---Read a sysctl of the namespace, or set it.
---@param name string  "net.ipv4.ip_forward"
---@param value? string|number|boolean  what to set it to
---@return string|integer|true  an integer where the whole text is one; true when set
function M:sysctl(name, value)
  local path = sysctl_path(name)
  if value == nil then
    local text = read(self, "netns.sysctl", path):gsub("%s+$", "")
    return text:match "^-?%d+$" and #text < 16 and tonumber(text) or text
  end
  check.argument("netns.sysctl", "value", value, "string|number|boolean")
  if type(value) == "boolean" then
    value = value and "1" or "0"
  elseif type(value) == "number" then
    value = value == math.floor(value) and ("%.0f"):format(value) or tostring(value)
  end
  local netlink = package.loaded["nslua.netlink"]
  if netlink and netlink.transaction then
    local old = M.sysctl(self, name)
    netlink.transaction:note(self, "netns.sysctl", function()
      M.sysctl(self, name, old)
    end)
  end
  local fd = namespace.fd_of(self, "netns.sysctl")
  local userns = userns_of(self, "netns.sysctl")
  local detail = ("%s = %q"):format(name, value)
  if not userns then
    return checked(self, "netns.sysctl", detail, knamespace.write(fd, path, value .. "\n"))
  end
  local ok, e = pcall(keeper.file, userns, fd, path, value .. "\n", "netns.sysctl", self:describe())
  if not ok then
    if errors.is(e) then
      e.detail = detail
    end
    error(e, 0)
  end
  return true
end

local allowed = knamespace.host()

---Allow `call` in a program that is not nslua. Its threads, if it makes any inside a call, would keep that namespace for ever, and a
---library that opens sockets in other threads would not notice the move; nslua makes no threads.
---@param yes boolean
function M.allow_call(yes)
  check.argument("netns.allow_call", "argument", yes, "boolean")
  allowed = yes or knamespace.host()
end

-- What makes the way back cheap is kept while a handle that has called is open, and shared by all of them.
local shared = setmetatable({}, { __mode = "v" }) -- collected handles do not count down: then it is collected too
local users = setmetatable({}, { __mode = "k" })
local Home = {}
Home.__index = Home

function Home:close()
  local home = self.home
  self.home = nil
  users[home] = users[home] - 1
  if users[home] == 0 then
    home:close()
  end
end

local function hold_home()
  local home = shared.home
  if not home or not home:isopen() then
    home = knamespace.home()
    if not home then
      return nil
    end
    shared.home = home
    users[home] = 0
  end
  users[home] = users[home] + 1
  return setmetatable({ home = home }, Home)
end

function namespace.moved()
  if shared.home then
    shared.home:close()
  end
end

local call = knamespace.call
local depth = 0

local function returned(self, ok, ...)
  depth = depth - 1
  if ok then
    return ...
  end
  local message, errno = ...
  if ok == false then
    error(message, 0)
  end
  local hint = privilege.hint(errno, { fd = rawget(self, "fd") })
  if errno == core.errno.EPERM then
    hint = "this thread may not go there and come back; fork runs a function inside in a process of its own: handle:fork(fn)"
      .. (hint and " (" .. hint .. ")" or "")
  end
  return errors.check("netns.call", { netns = self:describe(), hint = hint }, ok, message, errno)
end

---Run fn(...) with this thread inside the namespace, and come back: its results, or its error. Calls nest; fn cannot yield. Linux
---resolves /proc/net by the process, so inside a thread that is not the first read /proc/thread-self/net.
---In a program other than nslua `ns.netns.allow_call(true)` must have been called.
---@param fn function
---@return any ...
function M:call(fn, ...)
  local fd = rawget(self, "fd") or namespace.fd_of(self, "netns.call")
  if type(fn) ~= "function" then
    errors.misuse("netns.call: a function expected, got %s", type(fn))
  elseif not allowed then
    errors.misuse "netns.call moves a thread of this program, which is not nslua: ns.netns.allow_call(true) allows it"
  end
  local held = rawget(self, "home")
  if not held and depth == 0 then
    held = hold_home()
    rawset(self, "home", held)
  end
  depth = depth + 1
  return returned(self, call(fd, held and held.home, fn, ...))
end

return M
