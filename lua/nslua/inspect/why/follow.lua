-- A packet that is sent, followed: where it is seen, by packet sockets in each namespace on its way; what filters say of it, by their trace; and
-- why the kernel dropped packets meanwhile, where root may ask.

local capture = require "nslua.inspect.capture"
local core = require "nslua.core"
local errors = require "nslua.error"
local trace = require "nslua.inspect.why.trace"

local M = {}

local MOST = 64 -- namespaces that are listened in
local MOMENT = 0.005 -- seconds that a packet is under way, at the most
local noise = { OTHERHOST = true, IPV6DISABLED = true, QUEUE_PURGE = true, SOCKET_CLOSE = true, NOT_SPECIFIED = true }

---@class nslua.why.Follower
local Follower = {}
Follower.__index = Follower

-- What of the traffic there is the probe's own.
local function filter_of(result, packet)
  if result.proto == "icmp" then
    return "icmp or icmp6 or arp"
  end
  return ("(%s and (port %d or port %d)) or icmp or icmp6 or arp"):format(result.proto, result.port, packet.dport or result.port)
end

local function spaces_of(result, spaces)
  local out, seen = {}, {}
  for _, list in ipairs { result.prediction.forward, result.prediction.back or {} } do
    for _, step in ipairs(list) do
      for _, space in ipairs { step.space, step.peer_space } do
        if not seen[space] and #out < MOST then
          seen[space] = true
          out[#out + 1] = space
        end
      end
    end
  end
  local finding = result.prediction.finding
  if finding and finding.space and not seen[finding.space] then
    out[#out + 1] = finding.space
  end
  for _, space in ipairs(spaces.list) do
    if not seen[space] and space ~= (finding and finding.space) and #out < MOST and space.link_list then
      seen[space] = true
      out[#out + 1] = space
    end
  end
  return out
end

---Begin to listen.
---@param result nslua.Why
---@param spaces nslua.why.Spaces
---@param packet table  { dport = } as it arrives
---@return nslua.why.Follower
function M.begin(result, spaces, packet)
  local self = setmetatable({ notes = {}, traces = {}, label = {} }, Follower)
  local list = {}
  for _, space in ipairs(spaces_of(result, spaces)) do
    list[#list + 1] = { space.label, space.handle }
    if space.ruleset and space.ruleset.nft then
      local one, why = trace.begin(space, result)
      self.traces[#self.traces + 1] = one
      self.notes[#self.notes + 1] = not one and ("no trace of the filters of %s: %s"):format(space.label, why) or nil
    end
  end
  self.drops = capture.drops()
  local ok, e = pcall(capture.many, list, { filter = filter_of(result, packet), buffer = "1mb", memory = "4mb" })
  if ok then
    self.capture = e
  elseif errors.is(e) then
    self.notes[#self.notes + 1] = "it cannot be followed: " .. e.message
  else
    self:close()
    error(e, 0)
  end
  return self
end

-- A name of the packet that NAT does not change.
local function is_ours(result, p, sport, at)
  if result.proto == "icmp" then
    local icmp = p.icmp or p.icmp6
    local echo = icmp and (p.icmp and (icmp.type == 8 or icmp.type == 0) or p.icmp6 and (icmp.type == 128 or icmp.type == 129))
    return echo and (not at.id or icmp.id == at.id) and icmp or nil
  end
  local header = p[result.proto]
  if not header then
    return nil
  elseif result.proto == "tcp" then
    local first = header.sport == sport or not sport and p.netns == result.from and p.direction == "out" and header.flags == "S"
    if not at.seq and first then
      at.seq = header.seq
    end
    return at.seq and (header.seq == at.seq or header.ack == (at.seq + 1) % 4294967296 and header.seq ~= at.seq) and header or nil
  end
  return (header.sport == sport or header.dport == sport) and header or nil
end

---The packet is sent now.
function Follower:now()
  self.sent = core.fd.clock()
end

---What was seen.
---@param result nslua.Why
---@param sport integer?
---@return { seen: string[], last: string?, notes: string[], rule: table? }
function Follower:finish(result, sport)
  local out, at, order, seen = { seen = {}, notes = self.notes }, {}, {}, {}
  for _, p in ipairs(self.capture and self.capture:packets() or {}) do
    local header = is_ours(result, p, sport, at)
    if header then
      at.id = at.id or header.id
      local key = p.interface .. (p.direction or "")
      if not seen[key] then
        seen[key] = true
        order[#order + 1] = p
      end
      out.last, out.last_direction, out.last_dev = p.netns, p.direction, p.dev
    end
    local icmp = p.icmp or p.icmp6
    local told = icmp and (p.icmp and (icmp.type == 3 or icmp.type == 11 or icmp.type == 5) or p.icmp6 and icmp.type >= 1 and icmp.type <= 4)
    if told and not seen[tostring(icmp.name) .. icmp.code] then
      seen[tostring(icmp.name) .. icmp.code] = true
      local ip = p.ip or p.ip6
      out.notes[#out.notes + 1] = ("ICMP of %s: %s, code %d"):format(ip and ip.src or "?", tostring(icmp.name), icmp.code)
    end
  end
  for _, p in ipairs(order) do
    out.seen[#out.seen + 1] = ("%s %s"):format(p.direction == "out" and "leaves" or "arrives", p.interface)
  end
  for _, one in ipairs(self.traces) do
    for _, line in ipairs(one:finish(out)) do
      out.notes[#out.notes + 1] = line
    end
  end
  if self.drops and not result.probe_ok then -- of the whole machine: what is of the moment when the packet was under way
    local near = {}
    for _, drop in ipairs((self.drops:read())) do
      local ours = drop.time >= self.sent and drop.time < self.sent + MOMENT and (drop.protocol == 0x0800 or drop.protocol == 0x86dd)
      near[#near + 1] = ours and not noise[drop.reason] and drop or nil
    end
    for _, line in ipairs(capture.drop_lines(near)) do
      out.notes[#out.notes + 1] = "the kernel dropped at that moment: " .. line
    end
  end
  return out
end

---@return true
function Follower:close()
  for _, one in ipairs(self.traces) do
    one:close()
  end
  if self.capture then
    self.capture:close()
  end
  if self.drops then
    self.drops:close()
  end
  return true
end
Follower.__close = Follower.close

return M
