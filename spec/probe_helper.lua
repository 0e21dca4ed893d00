-- What the specs of probes share: namespaces in a row, the inner ones routing, with IPv4 and IPv6; small servers in them.

local core = require "nslua.core"
local helper = require "spec.helper"
local ns = require "nslua"
local rtnl = require "spec.rtnl_helper"

local M = {}

M.close = rtnl.close

-- Neighbours that the kernel keeps for the whole machine, of its 1,024: somebody else's lab may have them all, and then nobody answers.
local function neighbours()
  local f = io.open "/proc/net/stat/arp_cache"
  local text = f and f:read "a" or ""
  if f then
    f:close()
  end
  return tonumber(text:match "\n(%x+)" or "0", 16)
end

---Why these specs cannot run, or nil.
---@return string?
function M.cannot()
  local why = rtnl.cannot()
  if not why and neighbours() > 800 then
    why = "the machine's table of neighbours is full of those of others"
  end
  return why
end

-- An address of IPv6 answers when the kernel has joined the group that its neighbours ask: with `nodad` too it does that later, by itself.
local function settled(handle)
  local groups = handle:read "/proc/net/igmp6"
  for _, address in ipairs(handle.address:list { family = "inet6" }) do
    local low = core.inet.bytes((address.address:gsub("/%d+$", ""))):sub(14):gsub(".", function(c)
      return ("%02x"):format(c:byte())
    end)
    if address.tentative or address.dev ~= "lo" and not groups:find("ff0200000000000000000001ff" .. low, 1, true) then
      return false
    end
  end
  return true
end

---Wait until the addresses of IPv6 answer.
---@param handles nslua.Netns[]
function M.settle(handles)
  local deadline = ns.clock() + 10
  for _, handle in ipairs(handles) do
    while not settled(handle) do
      assert(ns.clock() < deadline, "addresses stay tentative")
      ns.wait({}, 0.005)
    end
  end
end

---Namespaces in a row: the first and the last are hosts, those between them routers. Link i has 10.0.i.0/24 and fd00:i::/64, with .1 at its left
---end and .2 at its right one.
---@param count integer
---@param mtus? table<integer, integer>  of links
---@return nslua.Netns[]
function M.row(count, mtus)
  local row = {}
  for i = 1, count do
    row[i] = rtnl.netns("n" .. i)
    row[i]:sysctl("net.ipv4.conf.all.rp_filter", 0)
    row[i]:sysctl("net.ipv4.icmp_ratelimit", 0)
    row[i]:sysctl("net.ipv6.icmp.ratelimit", 0)
    row[i]:sysctl("net.ipv6.conf.default.accept_dad", 0) -- a router asks for no neighbour while its link-local address is tentative
  end
  for i = 1, count - 1 do
    ns.connect(row[i], row[i + 1], { { ("10.0.%d.1/24"):format(i), ("fd00:%d::1/64"):format(i) },
      { ("10.0.%d.2/24"):format(i), ("fd00:%d::2/64"):format(i) }, mtu = mtus and mtus[i], names = { "right", "left" } })
  end
  for i = 2, count - 1 do
    row[i]:sysctl("net.ipv4.ip_forward", 1)
    row[i]:sysctl("net.ipv6.conf.all.forwarding", 1)
  end
  for i = 1, count do
    for k = 1, count - 1 do
      if k < i - 1 then
        row[i].route:add { ("10.0.%d.0/24"):format(k), via = ("10.0.%d.1"):format(i - 1) }
        row[i].route:add { ("fd00:%d::/64"):format(k), via = ("fd00:%d::1"):format(i - 1) }
      elseif k > i then
        row[i].route:add { ("10.0.%d.0/24"):format(k), via = ("10.0.%d.2"):format(i) }
        row[i].route:add { ("fd00:%d::/64"):format(k), via = ("fd00:%d::2"):format(i) }
      end
    end
  end
  M.settle(row)
  return row
end

---Both families, one after the other.
---@param fn fun(address: string, family: "inet"|"inet6")  `address` is a format of link and end: address:format(1, 2)
function M.families(fn)
  fn("10.0.%d.%d", "inet")
  fn("fd00:%d::%d", "inet6")
end

---Do something with nft(8) inside.
---@param handle nslua.Netns
---@param ruleset string
function M.nft(handle, ruleset)
  local name = os.tmpname()
  local f = assert(io.open(name, "w"))
  f:write(ruleset)
  f:close()
  local out, ok = rtnl.inside(handle, "nft -f " .. name)
  os.remove(name)
  assert(ok, out)
end

---@return boolean
function M.has_nft()
  return helper.has "nft"
end

return M
