-- WireGuard's devices: keys, peers and what they are allowed, in the words of wg(8). linux/wireguard.h. Keys are base64 text.
--
--    local wg = a:netlink "wireguard"
--    wg:set{ dev = "wg0", private_key = wg:genkey(), listen_port = 51820,
--      peers = { { public_key = KEY, endpoint = "192.0.2.7:51820", allowed_ips = { "10.1.0.2/32" }, persistent_keepalive = 25 } } }
--    print(wg:device "wg0".public_key)

local check = require "nslua.check"
local declare = require "nslua.genl.declare"
local errors = require "nslua.error"
local prefix = require "nslua.rtnl.prefix"
local schema = require "nslua.schema"
local units = require "nslua.units"

local NO_KEY = ("A"):rep(43) .. "=" -- 32 bytes of zero: none
-- An attribute's length has 16 bits, so many peers take several messages: bytes of a message's peers, of a peer and of an address, at most.
local MOST, PEER, ADDRESS, ADDRESSES = 60000, 256, 44, 1000

-- The link that a request is about: name, index or row.
local function name_device(t, call)
  local dev, kind = t.dev, type(t.dev)
  if kind == "string" then
    t.ifname = dev
  elseif kind == "number" then
    t.ifindex = dev
  elseif (kind == "table" or kind == "userdata") and type(dev.index) == "number" then
    t.ifindex = dev.index
  elseif dev ~= nil or t.ifname == nil and t.ifindex == nil then
    errors.misuse("%s: dev must be the name or index of a link, or its row, got %s", call, kind)
  end
  t.dev = nil
end

local function add_flag(t, word, flag)
  if t[word] ~= nil then
    if type(t[word]) ~= "boolean" then
      errors.misuse("wireguard: %s must be true or false, got %s", word, type(t[word]))
    end
    if t[word] then
      t.flags = t.flags or {}
      t.flags[flag] = true
    end
    t[word] = nil
  end
end

local function no_key(t, key)
  if t[key] == false then
    t[key] = NO_KEY
  end
end

local function set_of(words)
  local out = {}
  for word in words:gmatch "%S+" do
    out[word] = true
  end
  return out
end

-- wg(8)'s words, and the kernel's where they differ; what only the kernel says is no word of a request.
local device_words = set_of [[dev private_key listen_port fwmark peers replace_peers ifname ifindex flags]]
local peer_words = set_of [[public_key preshared_key endpoint persistent_keepalive allowed_ips remove replace_allowed_ips update_only flags
  protocol_version allowedips persistent_keepalive_interval]]

local function check_words(t, words, what)
  for key in pairs(t) do
    if not words[key] then
      errors.misuse("%s: %s", what, check.unknown("key", key, words))
    end
  end
end

local function write_peer(peer, call, i)
  local t = {}
  check_words(peer, peer_words, ("%s: peers[%d]"):format(call, i))
  for key, value in pairs(peer) do
    t[key] = value
  end
  add_flag(t, "remove", "remove_me")
  add_flag(t, "replace_allowed_ips", "replace_allowedips")
  add_flag(t, "update_only", "update_only")
  no_key(t, "preshared_key")
  if t.persistent_keepalive ~= nil then
    t.persistent_keepalive_interval = t.persistent_keepalive
      and math.floor(units.duration(t.persistent_keepalive, call .. ": persistent_keepalive") + 0.5) or 0
    t.persistent_keepalive = nil
  end
  if t.allowed_ips ~= nil then
    if type(t.allowed_ips) ~= "table" then
      errors.misuse("%s: allowed_ips must be a list like { \"10.0.0.0/8\" }, got %s", call, type(t.allowed_ips))
    end
    t.allowedips = {}
    for k, text in ipairs(t.allowed_ips) do
      local address, length, family = prefix.split(call, "allowed_ips", text)
      t.allowedips[k] = { family = family, ipaddr = address, cidr_mask = length }
    end
    t.allowed_ips = nil
    if not t.allowedips[1] then
      t.allowedips = nil
    end
  end
  return t
end

local function write(t, call)
  check_words(t, device_words, call)
  name_device(t, call)
  add_flag(t, "replace_peers", "replace_peers")
  no_key(t, "private_key")
  if type(t.peers) == "table" then
    local peers = {}
    for i, peer in ipairs(t.peers) do
      peers[i] = type(peer) == "table" and write_peer(peer, call, i) or peer
    end
    t.peers = peers
  end
end

local function read_peer(p)
  local handshake = p.last_handshake_time
  local ips = {}
  for i, ip in ipairs(p.allowedips or {}) do
    ips[i] = ("%s/%d"):format(ip.ipaddr, ip.cidr_mask)
  end
  return {
    public_key = p.public_key, preshared_key = p.preshared_key ~= NO_KEY and p.preshared_key or nil, endpoint = p.endpoint,
    persistent_keepalive = p.persistent_keepalive_interval ~= 0 and p.persistent_keepalive_interval or nil,
    latest_handshake = handshake and handshake.sec ~= 0 and handshake.sec + handshake.nsec / 1e9 or nil,
    rx_bytes = p.rx_bytes, tx_bytes = p.tx_bytes, allowed_ips = ips, protocol_version = p.protocol_version,
  }
end

local methods = {}

---A device with all its peers, which the kernel may tell in several messages.
---@param dev string|integer|table
---@return table { dev, index, private_key, public_key, listen_port, fwmark, peers = { { public_key, allowed_ips, ... }, ... } }
function methods:device(dev)
  local out
  for row in self:each("get_device", { dev = dev }) do
    if not out then
      out = row:decode()
      out.peers = out.peers or {}
    else
      for _, peer in ipairs(row.peers or {}) do
        local last = out.peers[#out.peers]
        if last and last.public_key == peer.public_key then -- cut in its allowed ips
          for _, ip in ipairs(peer.allowed_ips) do
            last.allowed_ips[#last.allowed_ips + 1] = ip
          end
        else
          out.peers[#out.peers + 1] = peer
        end
      end
    end
  end
  return out
end

-- The peer in parts that fit a message: what comes after the first adds allowed ips.
local function parts_of(peer, out)
  local ips = type(peer) == "table" and peer.allowed_ips
  local n = type(ips) == "table" and #ips or 0
  if n <= ADDRESSES then
    out[#out + 1] = peer
    return
  end
  for from = 1, n, ADDRESSES do
    local part = { public_key = peer.public_key }
    for key, value in pairs(from == 1 and peer or {}) do
      part[key] = value
    end
    part.allowed_ips = {}
    for i = from, math.min(n, from + ADDRESSES - 1) do
      part.allowed_ips[#part.allowed_ips + 1] = ips[i]
    end
    out[#out + 1] = part
  end
end

---Set up a device: `set_device` in as many messages as its peers take.
---@param t table
function methods:set(t)
  check.argument("wireguard.set", "argument", t, "table")
  if type(t.peers) ~= "table" then
    return self:set_device(t)
  end
  local parts, message, size = {}, {}, 0
  for _, peer in ipairs(t.peers) do
    parts_of(peer, parts)
  end
  for key, value in pairs(t) do
    message[key] = value
  end
  message.peers = {}
  for _, part in ipairs(parts) do
    local need = PEER + ADDRESS * (type(part) == "table" and type(part.allowed_ips) == "table" and #part.allowed_ips or 0)
    if size + need > MOST then
      self:set_device(message)
      message, size = { dev = t.dev, ifname = t.ifname, ifindex = t.ifindex, peers = {} }, 0
    end
    message.peers[#message.peers + 1] = part
    size = size + need
  end
  self:set_device(message)
end

local function random(call)
  local f, message = io.open("/dev/urandom", "rb")
  local bytes = f and f:read(32)
  if f then
    f:close()
  end
  if not bytes or #bytes ~= 32 then
    errors.raise { call = call, message = message or "/dev/urandom gave no 32 bytes" }
  end
  return bytes
end

local function text(self, bytes)
  local S = self.schema:compile "device"
  return S:decode(S:encode { private_key = NO_KEY }:sub(1, -33) .. bytes).private_key
end

---A new private key: random, and clamped as Curve25519 wants it. Its public key is what the kernel says of a device that has it.
---@return string base64
function methods:genkey()
  local bytes = random "wireguard.genkey"
  local first, last = bytes:byte(1), bytes:byte(32)
  return text(self, string.char(first - first % 8) .. bytes:sub(2, 31) .. string.char(last % 64 + 64))
end

---A new preshared key: random.
---@return string base64
function methods:genpsk()
  return text(self, random "wireguard.genpsk")
end

return declare.family {
  name = "wireguard", version = 1, header = "linux/wireguard.h", prefix = "WG_CMD_",
  structs = { timespec = "sec s64 nsec s64" },
  flags = {
    device = { prefix = "WGDEVICE_F_", "replace_peers" },
    peer = { prefix = "WGPEER_F_", "remove_me replace_allowedips update_only" },
    allowedip = { prefix = "WGALLOWEDIP_F_", c = { remove_me = false }, "remove_me" },
  },
  sets = {
    device = { prefix = "WGDEVICE_A_", [[
      1   IFINDEX      ifindex      u32
      2   IFNAME       ifname       strz(15)
      3   PRIVATE_KEY  private_key  base64(32)
      4   PUBLIC_KEY   public_key   base64(32)
      5   FLAGS        flags        u32:flags(device)
      6   LISTEN_PORT  listen_port  u16
      7   FWMARK       fwmark       u32
      8   PEERS        peers        list(nest(peer))
    ]] },
    peer = { prefix = "WGPEER_A_", [[
      1   PUBLIC_KEY                     public_key                     base64(32)
      2   PRESHARED_KEY                  preshared_key                  base64(32)
      3   FLAGS                          flags                          u32:flags(peer)
      4   ENDPOINT                       endpoint                       sockaddr
      5   PERSISTENT_KEEPALIVE_INTERVAL  persistent_keepalive_interval  u16
      6   LAST_HANDSHAKE_TIME            last_handshake_time            struct(timespec)
      7   RX_BYTES                       rx_bytes                       u64
      8   TX_BYTES                       tx_bytes                       u64
      9   ALLOWEDIPS                     allowedips                     list(nest(allowedip))
      10  PROTOCOL_VERSION               protocol_version               u32
    ]] },
    allowedip = { prefix = "WGALLOWEDIP_A_", [[
      1   FAMILY     family     u16
      2   IPADDR     ipaddr     ip
      3   CIDR_MASK  cidr_mask  u8
      4   -          flags      u32:flags(allowedip)
    ]] },
  },
  commands = {
    get_device = { 0, "device", dump = true },
    set_device = { 1, "device" },
  },
  classes = { device = {
    hidden = { "ifname", "ifindex", "flags" },
    computed = {
      dev = function(row)
        return row.ifname
      end,
      index = function(row)
        return row.ifindex
      end,
      private_key = function(row)
        local key = schema.raw(row, "private_key")
        return key ~= NO_KEY and key or nil
      end,
      public_key = function(row)
        local key = schema.raw(row, "public_key")
        return key ~= NO_KEY and key or nil
      end,
      peers = function(row)
        local peers = schema.raw(row, "peers")
        for i, peer in ipairs(peers or {}) do
          peers[i] = read_peer(peer)
        end
        return peers
      end,
    },
  } },
  write = { device = write },
  detail = { "dev" },
  methods = methods,
}
