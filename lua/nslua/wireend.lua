-- The ends of wires. A TAP device where /dev/net/tun may be opened; else a veth whose other end lies in a namespace of the hub, and a packet
-- socket on it: that needs no device file and no right outside the user namespace. packet(7), linux/if_tun.h

local connect = require "nslua.connect"
local core = require "nslua.core"
local errors = require "nslua.error"
local inside = require "nslua.inside"
local namespace = require "nslua.namespace"
local netns = require "nslua.netns"
local privilege = require "nslua.privilege"

local M = {}

local E = core.errno
local TUN = "/dev/net/tun"

---@class nslua.WireDevice
---@field fd nslua.fd    of the device, for the hub
---@field dev string     its name
---@field kind "tap"|"veth"|"attached"
---@field handle nslua.Netns?  of a veth: its namespace, a handle of our own
---@field space nslua.Netns?   where the other end is
---@field peer string?         what that is called

local function tun_hint(errno)
  if errno == E.EACCES then
    return "a TAP device needs to read and write " .. TUN .. " (mode 0666 on most machines): chmod 666 " .. TUN
  elseif errno == E.ENOENT or errno == E.ENXIO or errno == E.ENODEV then
    return "this kernel has no TUN: modprobe tun, and mknod " .. TUN .. " c 10 200"
  end
end

-- What speaks for a veth.
local unusable = { EACCES = true, EPERM = true, ENOENT = true, ENXIO = true, ENODEV = true }

local function tap(handle, t)
  local fd, message, errno = inside.open(handle, "wire.new", TUN, "rw")
  errors.check("wire.new", { netns = handle:describe(), hint = privilege.hint(errno, { fd = handle.fd }) }, fd, message, errno)
  local name
  name, message, errno = core.tun.attach(fd, t.dev or "eth%d", { tap = true, vnet_hdr = true, excl = true })
  if not name then
    fd:close()
    local where = { netns = handle:describe(), detail = ("dev = %q"):format(t.dev or "eth%d"), hint = privilege.hint(errno, { fd = handle.fd }) }
    errors.check("wire.new", where, nil, message, errno == E.EBUSY and E.EEXIST or errno)
  end
  return { kind = "tap", fd = fd, dev = name }
end

-- A handle of our own on the same namespace.
local function copy(handle)
  local fd, message, errno = core.namespace.dup(handle.fd, core.namespace.flags.net)
  errors.check("wire.new", { netns = handle:describe() }, fd, message, errno)
  local userns = rawget(handle, "userns")
  return namespace.wrap("net", fd, { label = handle:describe(), userns = userns and userns:copy() })
end

-- The hub's namespace for the other ends of what is in that user namespace: quiet, nobody is in it.
local function space_of(hub, handle)
  local userns = rawget(handle, "userns")
  local key = userns and ("%s:%s"):format(tostring(userns.device), tostring(userns.inode)) or "own"
  local space = hub.spaces[key]
  if not space then
    space = netns.new { label = "wires", userns = userns }
    hub.spaces[key] = space
    space:sysctl("net.ipv6.conf.default.disable_ipv6", 1)
  end
  return space
end

-- Frames of many packets that the header before them (struct virtio_net_hdr) can tell of; others the packet socket would lose.
local told = { "tx-tcp-segmentation", "tx-tcp6-segmentation", "tx-tcp-ecn-segmentation", "tx-tcp-mangleid-segmentation", "tx-udp-segmentation",
  "tx-generic-segmentation" }

-- Set features of a device, those that it has.
local function features(handle, dev, choose)
  local ethtool = handle:netlink "ethtool"
  local wanted, some = {}, false
  for name, changeable in pairs(ethtool:features_get({ dev = dev }).hw) do
    local value = choose(name)
    if changeable and value ~= nil then
      wanted[name], some = value, true
    end
  end
  if some then
    ethtool:features_set { dev = dev, wanted = wanted }
  end
end

local function is_told(name)
  for _, other in ipairs(told) do
    if other == name then
      return true
    end
  end
  return false
end

local function untold_off(name)
  if not is_told(name) and (name:find "^tx%-.*segmentation$" or name == "tx-gso-list" or name == "tx-checksum-sctp") then
    return false
  end
end

local PACKET, RAW = 17, 3

local function veth(handle, t, hub)
  local self = { kind = "veth", dev = t.dev or connect.free_name(handle) }
  self.space = space_of(hub, handle)
  hub.peers = hub.peers + 1
  self.peer = ("w%.0f"):format(hub.peers)
  local ok, err = pcall(function()
    self.space.link:add { name = self.peer, kind = "veth", mtu = t.mtu, up = true, peer = { name = self.dev, netns = handle, mtu = t.mtu } }
    self.fd = self.space:raw_socket(PACKET, RAW, 0)
    local done, message, errno = core.wire.packet(self.fd, self.space.link:get(self.peer).index)
    errors.check("wire.new", { netns = self.space:describe() }, done, message, errno)
    self.handle = copy(handle)
    features(handle, self.dev, untold_off)
  end)
  if not ok then
    M.close(self)
    if errors.is(err) then
      err.call, err.netns = "wire.new", handle:describe()
    end
    error(err, 0)
  end
  return self
end

-- A link that is there already, and stays as it is: the wire is one more station on it. What the link's own namespace sends out is not the wire's to
-- take, as with a macvlan. That it listens to all addresses goes with the socket.
local function attached(handle, t)
  local row = t.dev and handle.link:get(t.dev)
  if not row then
    errors.raise { call = "wire.new", netns = handle:describe(), errno = E.ENODEV,
      message = t.dev and ("there is no link %q to attach to"):format(t.dev) or "attach needs the dev that is there" }
  end
  local self = { kind = "attached", dev = row.name, fd = handle:raw_socket(PACKET, RAW, 0) }
  local ok, message, errno = core.wire.packet(self.fd, row.index, true)
  if not ok then
    self.fd:close()
    errors.check("wire.new", { netns = handle:describe(), detail = t.dev }, ok, message, errno)
  end
  return self
end

---Make the device of an end.
---@param handle nslua.Netns
---@param t nslua.WireEnd
---@param hub nslua.WireHub
---@param kind? "tap"|"veth"
---@return nslua.WireDevice
function M.new(handle, t, hub, kind)
  if t.attach then
    return attached(handle, t)
  elseif kind == "veth" then
    return veth(handle, t, hub)
  end
  local ok, made = pcall(tap, handle, t)
  if ok then
    return made
  elseif errors.is(made) and unusable[made.code] and not (made.detail or ""):find "^dev" then
    if not kind then
      return veth(handle, t, hub)
    end
    made.hint = tun_hint(made.errno) or made.hint
  end
  return error(made, 0)
end

---One that another process has made.
---@param handle nslua.Netns
---@param dev string
---@param kind "tap"|"veth"
---@return nslua.WireDevice
function M.adopt(handle, dev, kind)
  return { kind = kind, dev = dev, handle = kind == "veth" and copy(handle) or nil }
end

---What the words of the end say besides its name.
---@param handle nslua.Netns
---@param device nslua.WireDevice
---@param t nslua.WireEnd
function M.configure(handle, device, t)
  if device.kind == "attached" then
    return
  end
  handle.link:change(device.dev, { mtu = t.mtu, address = t.lladdr, txqlen = t.txqlen or 4096, up = t.up ~= false })
  connect.give(handle, device.dev, type(t.address) == "table" and t.address or { t.address })
end

---Whether frames of one packet each are wanted of the device. A TAP is told by the hub.
---@param device nslua.WireDevice
---@param each_packet boolean
function M.segment(device, each_packet)
  if device.kind == "veth" and each_packet ~= (device.each_packet or false) then
    features(device.handle, device.dev, function(name)
      if is_told(name) then
        return not each_packet
      end
    end)
    device.each_packet = each_packet
  end
end

---Plugged in or not. A TAP is told by the hub; a veth loses its carrier with the other end.
---@param device nslua.WireDevice
---@param up boolean
function M.carrier(device, up)
  if device.kind == "veth" then
    device.space.link:change(device.peer, { up = up })
  end
end

---Packets may be so large from now on.
---@param handle nslua.Netns
---@param device nslua.WireDevice
---@param mtu integer
function M.resize(handle, device, mtu)
  if device.kind == "veth" and not device.space then
    errors.raise { call = "wire.mtu", errno = E.EOPNOTSUPP, message = "of a wire that is a veth, the process that made it changes the MTU" }
  end
  handle.link:change(device.dev, { mtu = mtu })
  if device.kind == "veth" then
    device.space.link:change(device.peer, { mtu = mtu })
  end
end

---It is in another namespace now, under that name.
---@param device nslua.WireDevice
---@param handle nslua.Netns
---@param dev string
function M.moved(device, handle, dev)
  if device.handle then
    device.handle:close()
    device.handle = copy(handle)
  end
  device.dev = dev
end

---Close what this process holds of it.
---@param device nslua.WireDevice
function M.let_go(device)
  if device.fd then
    device.fd:close()
  end
  if device.handle then
    device.handle:close()
  end
end

---Take away what does not go with the fd.
---@param device nslua.WireDevice
function M.close(device)
  if device.fd then
    device.fd:close()
  end
  if device.kind == "veth" then
    if device.space:isopen() then
      device.space.link:delete(device.peer, { absent = "ok" })
    end
    if device.handle then
      device.handle:close()
    end
  end
end

return M
