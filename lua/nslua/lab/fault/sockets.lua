-- Faults of what the kernel keeps for sockets: queues that are full, ports that are used up.

local core = require "nslua.core"
local errors = require "nslua.error"
local eventually = require("nslua.eventually").eventually
local inside = require "nslua.inside"
local programs = require "nslua.lab.fault.programs"
local ways = require "nslua.lab.fault.ways"

local packet = core.packet
local STREAM, DGRAM = 1, 2 -- socket(2)
local LOOPBACK = "127.0.0.1"

-- A socket of TCP that listens.
local function waiting(node, port)
  return node.sockets:list({ proto = "tcp", state = "listen", sport = port }, { brief = true })[1]
end

-- Requests for connections that a node has dropped.
local function dropped(node)
  return require("nslua.inspect").look.counters(node)["TcpExt.ListenDrops"]
end

---@type table<string, nslua.lab.fault.Known>
return {
  accept_queue = { why = "a program that is stopped takes no connections, and its queue is full", run = function(node)
    local backlog = 4
    local undo = programs.serve_otherwise(node, function(_, options)
      return programs.acceptor(node, options.port, "0.0.0.0", backlog)
    end)
    local _, service = programs.served(node)
    local go_on = programs.stop(service)
    local fds = programs.connect(node, LOOPBACK, service.port, backlog + 3)
    eventually(function()
      return waiting(node, service.port).recv_queue > backlog
    end)
    return ways.all { undo, programs.closer(fds), go_on }
  end },
  small_backlog = { why = "net.core.somaxconn lets too few connections wait for a busy program", run = function(node)
    local most = 2
    local back = ways.sysctl(node, "net.core.somaxconn", most)
    local undo = programs.serve_otherwise(node, function(_, options)
      return programs.acceptor(node, options.port, "0.0.0.0", 128, true)
    end)
    local _, service = programs.served(node)
    local fds = programs.connect(node, LOOPBACK, service.port, most + 3)
    eventually(function()
      return waiting(node, service.port).recv_queue > most
    end)
    return ways.all { back, undo, programs.closer(fds) }
  end },
  syn_queue = { why = "a neighbour floods a port with connections that it does not finish", run = function(node)
    local at = ways.first_device(node)
    local other = node.lab.node[at.peer]
    local _, service = programs.served(node)
    local unload = ways.load(other, "table inet nslua_syn_queue",
      ("chain input { type filter hook input priority filter; tcp sport %d tcp flags & (syn | ack) == syn | ack drop; };"):format(service.port))
    local undo = { ways.sysctl(node, "net.ipv4.tcp_syncookies", 0), ways.sysctl(node, "net.ipv4.tcp_max_syn_backlog", 16), unload }
    local before = dropped(node)
    undo[4] = programs.closer((programs.connect(other, at.inet, service.port, 20)))
    eventually(function()
      return dropped(node) > before
    end)
    return ways.all(undo)
  end },
  port_exhaustion = { why = "all ports to connect from are used", run = function(node)
    local most = 8
    local fd = inside.raw_socket(node, 2, STREAM, 0)
    assert(packet.bind(fd, core.inet.bytes(LOOPBACK), 0))
    assert(packet.listen(fd, 64))
    local _, port = packet.name(fd)
    local first = port > 50000 and 40000 or 50010 -- the port itself is another
    local back = ways.sysctl(node, "net.ipv4.ip_local_port_range", ("%d %d"):format(first, first + most - 1))
    local fds, code = programs.connect(node, LOOPBACK, port, most + 1)
    fds[#fds + 1] = fd
    if code ~= "EADDRNOTAVAIL" then
      programs.closer(fds)()
      back()
      errors.raise { call = "lab.fault", netns = node.node_name, message = ("connections past the last port: %s"):format(code or "no error") }
    end
    return ways.all { back, programs.closer(fds) }
  end },
  ping_group_range = { why = "nobody without CAP_NET_RAW may ping", run = function(node)
    return ways.sysctl(node, "net.ipv4.ping_group_range", "1 0")
  end },
  socket_drops = { why = "a program that is stopped does not read what comes to it by UDP", run = function(node)
    local name, service = programs.served(node)
    local fd = inside.raw_socket(node, 2, DGRAM, 0)
    assert(packet.connect(fd, core.inet.bytes(LOOPBACK), service.port))
    local go_on = programs.stop(service)
    local function lost()
      for _, row in ipairs(node.sockets:list { proto = "udp", sport = service.port }) do
        if row.memory.sock_drop > 0 then
          return true
        end
      end
      return false
    end
    local text = ("x"):rep(8192)
    local ok = pcall(eventually, function()
      for _ = 1, 64 do
        packet.send(fd, text) -- ECONNREFUSED where nothing listens
      end
      return lost()
    end)
    fd:close()
    if not ok then
      go_on()
      errors.misuse("lab.fault: %s of %s hears nothing by UDP", name, node.node_name)
    end
    return go_on
  end },
}
