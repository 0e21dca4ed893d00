-- The packets that a target has to get, and those that it has to get away: what filters are asked about.

local expected = require "nslua.inspect.doctor.expected"

local M = {}

---@class nslua.doctor.Wanted: nslua.doctor.Packet
---@field want? nslua.doctor.Expected  who expects it; nil: something listens

local function plain(row)
  return row.address:match "^[^/]+"
end

---@param ip string
---@return "inet"|"inet6"
local function family_of(ip)
  return ip:find(":", 1, true) and "inet6" or "inet"
end
M.family_of = family_of

-- Links that it has addresses on, and the first of each family.
local function links_of(target)
  local out = {}
  for _, link in ipairs(target.links) do
    for _, family in ipairs(link.name ~= "lo" and { "inet", "inet6" } or {}) do
      local row = target:addresses_of(link, family)[1]
      out[#out + 1] = row and { link = link, family = family, ip = plain(row) } or nil
    end
  end
  return out
end

---First packets for the ports that something listens on: by each link.
---@param target nslua.doctor.Snapshot
---@return nslua.doctor.Wanted[]
function M.inward(target)
  local out, seen = {}, {}
  local function add(proto, port, want)
    for _, at in ipairs(not seen[proto .. port] and links_of(target) or {}) do
      if not want or not want.address or family_of(want.address) == at.family then
        out[#out + 1] = { family = at.family, proto = proto, dport = port, dst = at.ip, iif = at.link.name, iif_index = at.link.index, oif = false,
          oif_index = false, want = want }
      end
    end
    seen[proto .. port] = true
  end
  for _, want in ipairs(target.expected) do
    add(want.proto, want.port, want)
  end
  for _, port in ipairs(expected.open_ports(target, "tcp")) do
    add("tcp", port)
  end
  return out
end

---What a target sends to its gateways, whatever it is.
---@param target nslua.doctor.Snapshot
---@return { packet: nslua.doctor.Packet, gateway: string, owner: nslua.doctor.End?, default: boolean }[]
function M.outward(target)
  local out = {}
  for _, each in ipairs(target:gateways()) do
    local family = family_of(each.ip)
    local own = target:addresses_of(each.link, family)[1]
    local default = false
    for _, row in ipairs(each.routes) do
      default = default or row.dst == "default"
    end
    if own then
      out[#out + 1] = { gateway = each.ip, default = default, owner = target:owner(each.ip, each.link),
        packet = { family = family, src = plain(own), iif = false, iif_index = false, oif = each.link.name, oif_index = each.link.index } }
    end
  end
  return out
end

---What comes to a target through those who forward for it: of ports that their rules lead there.
---@param target nslua.doctor.Snapshot
---@return { packet: nslua.doctor.Packet, router: nslua.doctor.Snapshot, want: nslua.doctor.Expected }[]
function M.forwarded(target)
  local out = {}
  for _, each in ipairs(target:gateways()) do
    local owner = target:owner(each.ip, each.link)
    for _, want in ipairs(owner and target.expected or {}) do
      local own = want.address or target:addresses_of(each.link, family_of(each.ip))[1]
      local ip = type(own) == "string" and own or own and plain(own)
      if ip and family_of(ip) == family_of(each.ip) and (not want.space or want.space == owner.space) then
        local way = owner.space:default_route(family_of(ip))
        local from = way and way.dev_index and owner.space.link_of[way.dev_index]
        if from and from.index == owner.link.index then
          from = nil
        end
        out[#out + 1] = { router = owner.space, want = want, packet = { family = family_of(ip), proto = want.proto, dport = want.port, dst = ip,
          oif = owner.link.name, oif_index = owner.link.index, iif = from and from.name or nil, iif_index = from and from.index or nil } }
      end
    end
  end
  return out
end

return M
