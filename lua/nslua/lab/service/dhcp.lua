-- "dhcp": leases of IPv4 addresses on one link. RFC 2131, RFC 2132

local check = require "nslua.check"
local core = require "nslua.core"
local errors = require "nslua.error"
local inside = require "nslua.inside"
local units = require "nslua.units"

local server = require "nslua.lab.service.server"

local M = {}

local packet = core.packet
local DGRAM, NONBLOCK, INET = 2, 0x800, 2 -- socket(2)
local SERVER, CLIENT = 67, 68
local COOKIE = "\x63\x82\x53\x63"
local DISCOVER, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE, INFORM = 1, 2, 3, 4, 5, 6, 7, 8
local MASK, ROUTER, DNS, DOMAIN, ADDRESS, LEASE, TYPE, SERVER_ID, T1, T2, CLIENT_ID, END = 1, 3, 6, 15, 50, 51, 53, 54, 58, 59, 61, 255
local RESERVED = 30    -- seconds that an address is kept for who was offered it
local BROKEN = 600     -- seconds that one is not given which a client found taken
local LONGEST = 0xffffffff -- seconds of a lease: that is for ever
local MOST = 4096      -- addresses of a pool
local BROADCAST = "\255\255\255\255"

local function number(bytes)
  return (string.unpack(">I4", bytes))
end

local function bytes_of(n)
  return string.pack(">I4", n)
end

-- The interface that leads to a node or is called so; the only one, where nothing is said.
local function interface_of(node, call, value)
  local known = {}
  for _, interface in ipairs(node.plan.interfaces) do
    if interface.dev == value or interface.peer == value then
      return interface
    end
    known[#known + 1] = interface.dev
    known[#known + 1] = interface.peer
  end
  if value then
    errors.misuse("%s: link: %s", call, check.unknown("device or neighbour", value, known))
  elseif not node.plan.interfaces[1] or node.plan.interfaces[2] then
    errors.misuse("%s: link is needed: a device of %s or a neighbour", call, node.node_name)
  end
  return node.plan.interfaces[1]
end

local function ipv4(call, word, value)
  local bytes = type(value) == "string" and core.inet.bytes(value)
  return bytes and #bytes == 4 and bytes or errors.misuse("%s: %s: %s is no address of IPv4", call, word, tostring(value))
end

-- Addresses to give, in their order: of the range, but those that somebody of the plan has.
local function pool_of(options, call, interface, own, length)
  local first, last
  local size = 1 << (32 - length)
  local base = number(own) & ~(size - 1) & 0xffffffff
  if options.range then
    first, last = number(ipv4(call, "range[1]", options.range[1])), number(ipv4(call, "range[2]", options.range[2]))
    if first > last or first <= base or last >= base + size then
      errors.misuse("%s: range: %s to %s is no range of the link's subnet", call, options.range[1], options.range[2])
    end
  else
    first, last = base + math.max(1, size // 2), base + size - 2
  end
  local taken = { [number(own)] = true }
  for _, member in ipairs(interface.segment and interface.segment.members or {}) do
    for _, address in ipairs(member.addresses) do
      local bytes = core.inet.bytes((address:gsub("/.*", "")))
      if #bytes == 4 then
        taken[number(bytes)] = true
      end
    end
  end
  local out = {}
  for n = first, math.min(last, first + MOST - 1) do
    if not taken[n] then
      out[#out + 1] = bytes_of(n)
    end
  end
  return out[1] and out or errors.misuse("%s: no address of the link is free", call)
end

local function read_options(options, call, node)
  local interface = interface_of(node, call, options.link)
  local row = node.address:list({ dev = interface.dev, family = "inet" })[1]
  if not row then
    errors.misuse("%s: %s has no address of IPv4 on %s", call, node.node_name, interface.dev)
  end
  local address, bits = row.address:match "^([%d.]+)/(%d+)$"
  local own, length = core.inet.bytes(address), math.tointeger(tonumber(bits))
  local lease = units.duration(options.lease or 600, call .. ": lease") // 1
  if lease < 1 or lease > LONGEST then
    errors.misuse("%s: lease is 1 to %d seconds, got %s", call, LONGEST, tostring(options.lease))
  end
  options.dev, options.own, options.lease = interface.dev, own, math.tointeger(lease)
  options.mask = bytes_of(0xffffffff << (32 - length) & 0xffffffff)
  options.pool = pool_of(options, call, interface, own, length)
  options.router = options.router ~= false and (options.router and ipv4(call, "router", options.router) or node.kind == "router" and own) or nil
  local servers = {}
  for i, each in ipairs(type(options.dns) == "table" and options.dns or { options.dns or nil }) do
    servers[i] = ipv4(call, "dns", each)
  end
  options.servers = servers[1] and table.concat(servers) or nil
end

-- A request: its fields and options; nil where it is none.
local function parse(bytes)
  if #bytes < 240 or bytes:sub(237, 240) ~= COOKIE or bytes:byte(1) ~= 1 then
    return nil
  end
  local out = { head = bytes:sub(1, 12), xid = bytes:sub(5, 8), flags = bytes:sub(11, 12), ciaddr = bytes:sub(13, 16), giaddr = bytes:sub(25, 28),
    chaddr = bytes:sub(29, 44), hlen = math.min(bytes:byte(3), 16), options = {} }
  local at = 241
  while at <= #bytes and bytes:byte(at) ~= END do
    local code = bytes:byte(at)
    if code == 0 then
      at = at + 1
    else
      local n = bytes:byte(at + 1)
      if not n or at + 1 + n > #bytes then
        return nil
      end
      out.options[code] = (out.options[code] or "") .. bytes:sub(at + 2, at + 1 + n)
      at = at + 2 + n
    end
  end
  local type = out.options[TYPE]
  if not type or #type ~= 1 or (out.options[ADDRESS] and #out.options[ADDRESS] ~= 4) or (out.options[SERVER_ID] and #out.options[SERVER_ID] ~= 4) then
    return nil
  end
  out.type = type:byte()
  out.key = out.options[CLIENT_ID] or "\0" .. out.chaddr
  out.lladdr = out.chaddr:sub(1, out.hlen):gsub(".", function(c)
    return ("%02x:"):format(c:byte())
  end):sub(1, -2)
  return out
end

local NONE = "\0\0\0\0"

-- Leases: by client and by address.
local Leases = {}
Leases.__index = Leases

local function leases_of(options)
  local self = setmetatable({ pool = options.pool, is_ours = {}, by_key = {}, by_address = {} }, Leases)
  for _, address in ipairs(options.pool) do
    self.is_ours[address] = true
  end
  return self
end

function Leases:is_free(address, key)
  local held = self.by_address[address]
  return self.is_ours[address] and (not held or held.key == key or held.stop <= core.fd.clock())
end

function Leases:drop(key)
  local held = self.by_key[key]
  if held then
    self.by_key[key], self.by_address[held.address] = nil, nil
  end
end

function Leases:hold(address, key, seconds)
  local old = self.by_address[address]
  if old then
    self:drop(old.key)
  end
  self:drop(key)
  local held = { address = address, key = key, stop = core.fd.clock() + seconds }
  self.by_key[key], self.by_address[address] = held, held
end

-- The address for a client: the one it has, the one it wishes, the first that is free.
function Leases:choose(key, wish)
  local held = self.by_key[key]
  if held then
    return held.address
  elseif wish and self:is_free(wish, key) then
    return wish
  end
  for _, address in ipairs(self.pool) do
    if self:is_free(address, key) then
      return address
    end
  end
end

local words = { [OFFER] = "offer", [ACK] = "ack", [NAK] = "nak" }

-- What is said to a request: a type and an address; nil: nothing.
local function decide(leases, options, said)
  local wish = said.options[ADDRESS]
  local server_id = said.options[SERVER_ID]
  if said.type == DISCOVER then
    local address = leases:choose(said.key, wish)
    if address then
      local held = leases.by_key[said.key]
      leases:hold(address, said.key, math.max(RESERVED, held and held.stop - core.fd.clock() or 0))
      return OFFER, address
    end
  elseif said.type == REQUEST then
    if server_id and server_id ~= options.own then
      return leases:drop(said.key) -- it took another's
    end
    wish = wish or said.ciaddr
    local held = leases.by_key[said.key]
    if held and held.address == wish or not held and leases:is_free(wish, said.key) then
      leases:hold(wish, said.key, options.lease)
      return ACK, wish
    end
    return NAK, NONE
  elseif said.type == RELEASE then
    leases:drop(said.key)
    print("release " .. said.lladdr)
  elseif said.type == DECLINE and wish and leases.is_ours[wish] then
    leases:drop(said.key)
    leases:hold(wish, "declined " .. wish, BROKEN)
    print("decline " .. core.inet.text(wish) .. " " .. said.lladdr)
  elseif said.type == INFORM then
    return ACK, NONE
  end
end

local function render(options, said, type, address)
  local list = { string.pack("BBB", TYPE, 1, type), string.pack("Bs1", SERVER_ID, options.own) }
  local function add(code, value)
    if value then
      list[#list + 1] = string.pack("Bs1", code, value)
    end
  end
  if type ~= NAK then
    if said.type ~= INFORM then
      add(LEASE, bytes_of(options.lease))
      add(T1, bytes_of(options.lease // 2))
      add(T2, bytes_of(options.lease * 7 // 8))
    end
    add(MASK, options.mask)
    add(ROUTER, options.router)
    add(DNS, options.servers)
    add(DOMAIN, options.domain)
  end
  list[#list + 1] = "\xff"
  local ciaddr = type == ACK and said.ciaddr or NONE
  local out = "\2" .. said.head:sub(2, 3) .. "\0" .. said.xid .. "\0\0" .. said.flags .. ciaddr .. address .. NONE .. NONE .. said.chaddr
    .. ("\0"):rep(192) .. COOKIE .. table.concat(list)
  return out .. ("\0"):rep(300 - #out)
end

M.dhcp = { words = { link = "string", range = "table", router = "string|false", dns = "string|table|false", domain = "string",
    lease = "number|string" },
  check = read_options,
  open = function(node, call, options)
    local fd = inside.raw_socket(node, INET, DGRAM + NONBLOCK, 0)
    local ok, message, errno = packet.device(fd, options.dev)
    for _, step in ipairs { { packet.set, "reuseaddr", 1 }, { packet.set, "broadcast", 1 }, { packet.bind, NONE, SERVER } } do
      if ok then
        ok, message, errno = step[1](fd, table.unpack(step, 2))
      end
    end
    if not ok then
      fd:close()
    end
    errors.check(call, { netns = node:describe() }, ok, message, errno)
    return { { fd = fd, proto = "udp", family = "inet" } }
  end,
  run = function(sockets, options)
    local leases = leases_of(options)
    server.new({ datagram = function(socket, got)
      local said = parse(got.data)
      if not said or said.giaddr ~= NONE then
        return
      end
      local type, address = decide(leases, options, said)
      if type then
        local to = said.ciaddr ~= NONE and type == ACK and said.ciaddr or BROADCAST
        packet.send(socket.fd, render(options, said, type, address), to, CLIENT)
        print(("%s %s %s"):format(words[type], core.inet.text(address == NONE and (said.options[ADDRESS] or said.ciaddr) or address), said.lladdr))
      end
    end }):run(sockets)
  end }

return M
