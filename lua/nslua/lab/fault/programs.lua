-- What faults do with the services of nodes: serve in another way, stop, fill their queues.

local core = require "nslua.core"
local errors = require "nslua.error"
local eventually = require("nslua.eventually").eventually
local inside = require "nslua.inside"
local netns = require "nslua.netns"
local procfs = require "nslua.procfs"

local M = {}

local packet = core.packet
local NONBLOCK = 0x800 -- SOCK_NONBLOCK, socket(2)
local PACKET, RAW = 17, 3 -- socket(2)
local FRAME = 65536 + 14 -- bytes: what is to be cut up is one frame here
local domains = { [4] = 2, [16] = 10 }

---The service that a node serves: of several, the first by name that has a port.
---@param node nslua.lab.Node
---@return string name
---@return nslua.lab.Service service
function M.served(node)
  local names = {}
  for name, service in pairs(rawget(node, "services") or {}) do
    names[#names + 1] = service.port and not service.closed and name or nil
  end
  table.sort(names)
  local name = names[1] or errors.misuse('lab.fault: %s serves nothing: node:serve("http") first', node.node_name)
  return name, node.services[name]
end

---Serve it in another way.
---@param node nslua.lab.Node
---@param change fun(name: string, options: table): nslua.lab.Service?  it stands in for the service
---@return fun() undo  whatever serves then, it is served as it was
function M.serve_otherwise(node, change)
  local name, service = M.served(node)
  local options, changed = service.options, {}
  for key, value in pairs(options) do
    changed[key] = value
  end
  service:close()
  node.services[name] = change(name, changed) or service
  return function()
    node.services[name]:close()
    node:serve(name, options)
  end
end

---A program that accepts what comes to a port, and says nothing. Its socket is its own: it is made anew where it is started again.
---@param node nslua.lab.Node
---@param port integer
---@param address string
---@param backlog integer
---@param busy? boolean  it has something else to do, and accepts nobody
---@return nslua.lab.Service
function M.acceptor(node, port, address, backlog, busy)
  local ip = core.inet.bytes(address)
  local service = node:service { function()
    local here = netns.current()
    local fd = inside.raw_socket(here, domains[#ip], 1, 0)
    assert(packet.set(fd, "reuseaddr", 1))
    assert(packet.bind(fd, ip, port))
    assert(packet.listen(fd, backlog))
    while busy do
      core.fd.poll({}, 60)
    end
    while true do
      local client = packet.accept(fd)
      if client then
        client:close()
      end
    end
  end, name = "acceptor", ready = { tcp = port }, restart = "always" }
  service.port, service.options = port, {}
  return service:wait_ready()
end

---A program that passes frames on between two devices, as it reads them: it knows nothing of what the kernel leaves to do to the device.
---@param node nslua.lab.Node
---@param devices integer[]  indexes
---@return nslua.lab.Service
function M.passer(node, devices)
  return node:service { function()
    local here, fds = netns.current(), {}
    for i, index in ipairs(devices) do
      fds[i] = inside.raw_socket(here, PACKET, RAW + NONBLOCK, 0)
      assert(core.wire.packet(fds[i], index, true, true))
    end
    io.stdout:write "passing\n"
    io.stdout:flush()
    while true do
      core.fd.poll({ { fds[1], "r" }, { fds[2], "r" } })
      for i, fd in ipairs(fds) do
        local frame = fd:read(FRAME)
        while frame do
          fds[3 - i]:write(frame) -- what is too large for the other device is lost
          frame = fd:read(FRAME)
        end
      end
    end
  end, name = "passer", ready = { output = "^passing$" } }:wait_ready()
end

---Stop a service's program by a signal, as a debugger or a hand at a terminal does; it has stopped when this returns.
---@param service nslua.lab.Service
---@return fun() undo
function M.stop(service)
  service:kill "STOP"
  local pid = service.pid
  eventually(function()
    return (procfs.read(("/proc/%d/stat"):format(pid)) or ""):find "%) T [^)]*$"
  end)
  return function()
    service:kill "CONT"
  end
end

---Begin connections, and keep them.
---@param node nslua.lab.Node
---@param to string       address
---@param port integer
---@param count integer   at most
---@return nslua.fd[] fds
---@return string? code   of the one that failed
function M.connect(node, to, port, count)
  local ip, out = core.inet.bytes(to), {}
  for i = 1, count do
    local fd = inside.raw_socket(node, domains[#ip], 1 + NONBLOCK, 0)
    local ok, _, errno = packet.connect(fd, ip, port)
    if not ok and errno ~= core.errno.EINPROGRESS then
      fd:close()
      return out, core.errno[errno]
    end
    out[i] = fd
  end
  return out
end

---@param fds nslua.fd[]
---@return fun()
function M.closer(fds)
  return function()
    for _, fd in ipairs(fds) do
      fd:close()
    end
  end
end

return M
