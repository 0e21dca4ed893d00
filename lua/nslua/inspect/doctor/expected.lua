-- The ports that something should listen on, and whether it does: those that were asked about, those that a container publishes, and those that
-- rules of the namespaces on the way lead to.

local nat = require "nslua.inspect.look.nat"
local words = require "nslua.inspect.doctor.rules"

local M = {}

---@class nslua.doctor.Expected
---@field proto "tcp"|"udp"
---@field port integer
---@field address? string    of the target; nil: any
---@field evidence string    who expects it
---@field sure number
---@field rule? nslua.NatRule         that leads there
---@field space? nslua.doctor.Snapshot  where the rule is

local function addresses_of(target)
  local out = {}
  for i, row in ipairs(target.addresses) do
    out[i] = row.address
  end
  return nat.plain(out)
end

---Those of a target.
---@param target nslua.doctor.Snapshot
---@return nslua.doctor.Expected[]
function M.of(target)
  local out, seen = {}, {}
  local function add(want)
    local key = want.proto .. want.port .. (want.address or "")
    if not seen[key] then
      seen[key] = true
      out[#out + 1] = want
    end
  end
  for _, each in ipairs(target.examination.ports) do
    add { proto = each.proto, port = each.port, evidence = ("%s port %d was asked about"):format(each.proto, each.port), sure = 0.95 }
  end
  local said = rawget(target.handle, "container") and not target.handle.host_network and target.handle:published() or {}
  local routers, known = {}, {}
  for _, each in ipairs(target:gateways()) do
    local owner = target:owner(each.ip, each.link)
    if owner and not known[owner.space] then
      known[owner.space] = true
      routers[#routers + 1] = owner.space
    end
  end
  local addresses
  for _, space in ipairs(routers) do
    local rules = space.firewall.rules
    addresses = addresses or rules[1] and addresses_of(target)
    for _, port in ipairs(rules[1] and nat.published({}, nat.rules(space.firewall, addresses, space.title)) or {}) do
      if (port.proto == "tcp" or port.proto == "udp") and port.port and not port.host_port_max and not port.rule.nat.port_max then
        add { proto = port.proto, port = port.port, address = port.address, rule = port.rule, space = space, sure = 0.9,
          evidence = ("rule %d of %s (%s) in %s leads %s here: %s"):format(port.rule.handle, words.chain_words(port.rule), words.source(port.rule),
            space.title, port.host_port and ("port %d"):format(port.host_port) or "packets", port.rule.text) }
      end
    end
  end
  for _, port in ipairs(said) do
    if port.proto == "tcp" or port.proto == "udp" then
      local asked = false
      for _, each in ipairs(out) do
        asked = asked or each.proto == port.proto and each.port == port.port
      end
      if not asked then
        add { proto = port.proto, port = port.port, sure = 0.9,
          evidence = ("%s publishes it as port %d of the machine"):format(target.handle.engine, port.host_port) }
      end
    end
  end
  return out
end

local function is_loopback(ip)
  return ip:find "^127%." ~= nil or ip == "::1" or ip:find "^::ffff:127%." ~= nil
end
M.is_loopback = is_loopback

---Whether a socket hears what comes to an address. "0.0.0.0" and "::" are all addresses; "::" is those of IPv4 too, unless the socket says otherwise.
---@param row nslua.Socket
---@param ip string
---@return boolean
local function hears(row, ip)
  if row.src == "0.0.0.0" then
    return not ip:find(":", 1, true)
  elseif row.src == "::" then
    return not row.v6only or ip:find(":", 1, true) ~= nil
  end
  return row.src == ip or row.src == "::ffff:" .. ip
end

M.hears = hears

local function listeners(target, proto, port)
  local out = {}
  for _, row in ipairs(target:listening()) do
    if row.proto == proto and row.sport == port then
      out[#out + 1] = row
    end
  end
  return out
end

-- Whether a rule of the target's own leads the port to something that listens.
local function led_on(target, want)
  for _, rule in ipairs(target.firewall.rules) do
    local to = rule.nat
    if to and (to.type == "dnat" or to.type == "redirect") then
      for _, value in ipairs(rule.match.dport or {}) do
        local proto = rule.match.proto and rule.match.proto[1]
        if value == want.port and (not proto or proto == want.proto) then
          for _, row in ipairs(listeners(target, want.proto, to.port or want.port)) do
            if not to.address and not is_loopback(row.src) then
              return true
            elseif to.address and hears(row, to.address) then
              return not is_loopback(to.address) or M.takes_loopback(target)
            end
          end
        end
      end
    end
  end
  return false
end

---Whether packets from outside may go to addresses of the loopback: net.ipv4.conf.X.route_localnet.
---@param target nslua.doctor.Snapshot
---@return boolean
function M.takes_loopback(target)
  for _, link in ipairs(target.links) do
    if link.name ~= "lo" and target:addresses_of(link, "inet")[1]
      and target:sysctl(("net.ipv4.conf.%s.route_localnet"):format((link.name:gsub("%.", "/")))) == "1" then
      return true
    end
  end
  return target:sysctl "net.ipv4.conf.all.route_localnet" == "1"
end

---What is the matter with one: "none" (nothing listens), "loopback", "v6only", "address" (on others alone); nil where all is well.
---@param target nslua.doctor.Snapshot
---@param want nslua.doctor.Expected
---@return string? what
---@return nslua.Socket? row
function M.wrong(target, want)
  local rows = listeners(target, want.proto, want.port)
  local wrong, at
  local v4
  for _, ip in ipairs(want.address and {} or addresses_of(target)) do
    v4 = v4 or not ip:find(":", 1, true)
  end
  for _, row in ipairs(rows) do
    local what
    if is_loopback(row.src) then
      what = "loopback"
    elseif row.src == "::" and row.v6only and (want.address and not want.address:find(":", 1, true) or v4) then
      what = "v6only"
    elseif want.address and not hears(row, want.address) then
      what = "address"
    else
      return nil
    end
    if not wrong or what == wrong and row.family == "inet" then
      wrong, at = what, row
    end
  end
  if led_on(target, want) then
    return nil
  end
  return wrong or "none", at
end

---Ports of a protocol that are listened on from outside.
---@param target nslua.doctor.Snapshot
---@param proto string
---@return integer[] sorted
function M.open_ports(target, proto)
  local out, seen = {}, {}
  for _, row in ipairs(target:listening()) do
    if row.proto == proto and not is_loopback(row.src) and not seen[row.sport] then
      seen[row.sport] = true
      out[#out + 1] = row.sport
    end
  end
  table.sort(out)
  return out
end

---80, "53/udp", { 80, "53/udp" } as ports.
---@param value any
---@return { proto: "tcp"|"udp", port: integer }[]?  nil: it is none of these
function M.ports(value)
  local out = {}
  for i, each in ipairs(type(value) == "table" and value or { value }) do
    local number, proto = tostring(each):match "^(%d+)/?(%a*)$"
    number = math.tointeger(tonumber(number or 0))
    if number < 1 or number > 65535 or proto ~= "" and proto ~= "tcp" and proto ~= "udp" then
      return nil
    end
    out[i] = { port = number, proto = proto == "udp" and "udp" or "tcp" }
  end
  return out
end

return M
