-- ns.why(from, to, port): the way of a packet from one namespace to another and back, and where it ends.
--
--    local w = ns.why("docker:web", "docker:db", 5432)
--    if not w.ok then print(w.why, w.fix) end

local check = require "nslua.check"
local core = require "nslua.core"
local draw = require "nslua.inspect.why.draw"
local errors = require "nslua.error"
local netns = require "nslua.netns"
local schema = require "nslua.schema"
local spaces = require "nslua.inspect.why.space"
local target = require "nslua.inspect.target"
local units = require "nslua.units"
local walk = require "nslua.inspect.why.walk"

local M = {}

local OVERHEAD = { inet = { tcp = 60, udp = 28, icmp = 84 }, inet6 = { tcp = 80, udp = 48, icmp = 104 } } -- of a first packet

---@class nslua.WhyOptions
---@field proto? "tcp"|"udp"|"icmp"  (default: tcp with a port, icmp without)
---@field family? "inet"|"inet6"     (default: IPv4 where there is one)
---@field size? integer|string       bytes of a packet that may not be fragmented: where larger ones end
---@field probe? boolean             false: nothing is sent, the result is the prediction
---@field timeout? number|string     of the probe, seconds: 1 where it is predicted to be lost, else 5
---@field verbose? boolean           the text has the way back in full

---@class nslua.Why
---@field ok boolean          it is reached, and the answer comes back
---@field verdict "reached"|"refused"|"failed"|"unknown"
---@field from string         `to`, `address`, `port`, `proto` likewise
---@field where string?       the namespace where the packet ends
---@field code string?        "no_route", "no_forwarding", "rp_filter", "neighbour", "link_down", "filter", "no_listener", "isolated", "mtu", ...
---@field why string?         the same in words
---@field fix string?         what mends it
---@field error string?       what the sender is told: "ECONNREFUSED", "ETIMEDOUT", ...
---@field direction "forward"|"back"|nil  on which way it ends
---@field prediction nslua.why.Prediction
---@field probe table?        what really came of it: { ok, error, elapsed, seen = { "leaves h1:eth0", ... }, last, rule, notes }
---@field disagree string?    where prediction and probe are not of one mind
local Why = { __name = "nslua.Why" }
local methods = {}
Why.__index = methods

local function handle_of(what, call)
  if type(what) == "table" and rawget(what, "fd") then
    return what, false
  elseif type(what) == "string" or type(what) == "number" then
    local ok, handle = pcall(netns.open, what)
    if ok then
      return handle, true
    elseif type(what) == "string" and errors.is(handle, "ENOENT") and not what:find "[:/]" then
      return require("nslua.container").find(what), true
    end
    error(handle, 0)
  end
  return errors.misuse("%s: a namespace, container or node expected, got %s", call, type(what))
end

-- The address of a namespace that another one would use: one on a link of both, else its first.
local function address_of(from, to, family)
  local first
  for _, row in ipairs(to:addresses()) do
    local ip, length = (row.local_ or row.address):match "^([^/]+)/?(%d*)$"
    if row.scope == "global" and (not family or row.family == family) and not row.dadfailed then
      for _, mine in ipairs(from:addresses()) do
        local other = mine.family == row.family and mine.scope == "global" and mine.address:match "^[^/]+"
        if other and require("nslua.inspect.why.routes").within(other, ip .. "/" .. length) then
          return ip
        end
      end
      first = first or ip
    end
  end
  return first
end

-- Whom it is for: an address.
local function whom(call, from_space, from, to, options, found)
  if type(to) == "table" and type(to.address_of) ~= "function" and rawget(to, "fd") then
    local space = found:of(to)
    local ip = from_space == space and (options.family == "inet6" and "::1" or "127.0.0.1") or address_of(from_space, space, options.family)
    if not ip then
      errors.raise { call = call, netns = space.label, errno = core.errno.EADDRNOTAVAIL,
        message = ("%s has no address%s"):format(space.label, options.family and " of " .. options.family or "") }
    end
    return target.resolve(from, call, ip, options), space.label
  end
  local t = target.resolve(from, call, to, options)
  return t, type(to) == "table" and rawget(to, "label") or type(to) == "string" and to or t.address
end

local function free_port()
  return math.random(33000, 59999)
end

local function finish(self, options)
  local p, probe = self.prediction, self.probe
  local finding = p.finding
  self.ok, self.verdict, self.error = p.verdict == "reached", p.verdict, p.error
  if finding then
    self.where, self.code, self.why, self.fix, self.direction = finding.space.label, finding.code, finding.why, finding.fix, p.direction
    if finding.unknown then
      self.verdict, self.error = "unknown", nil
    end
    if self.fix and finding.space and not self.fix:find "^in " and self.code ~= "no_listener" then
      self.fix = ("in %s: %s"):format(finding.space.label, self.fix)
    end
  end
  if probe then
    require("nslua.inspect.why.probe").judge(self, options.size ~= nil)
  end
end

---Why one namespace reaches another, or does not: the way of a packet is walked in the tables of each namespace on it (rule and route, filters and
---NAT, neighbour, veth, bridge, socket, and back), then a real one is sent and followed: packet sockets on its way, the
---trace of filters, and what the kernel says it dropped, where this process may ask. `from` and `to` are what ns.netns.open takes, handles,
---containers, nodes of a lab; `to` may be an address or a name as `from` knows it.
---@param from any
---@param to any
---@param port? integer       without one it is an echo request
---@param options? nslua.WhyOptions
---@return nslua.Why
function M.why(from, to, port, options)
  local call = "why"
  options = options or {}
  check.options(call, options, { proto = "string", family = "string", size = "integer|string", probe = "boolean", timeout = "number|string",
    verbose = "boolean" })
  target.check_family(call, options.family)
  local proto = options.proto or (port and "tcp" or "icmp")
  if proto ~= "tcp" and proto ~= "udp" and proto ~= "icmp" then
    errors.misuse("%s: proto must be \"tcp\", \"udp\" or \"icmp\", got %s", call, proto)
  elseif proto ~= "icmp" and port == nil then
    errors.misuse("%s: %s goes to a port: which one?", call, proto:upper())
  elseif proto ~= "icmp" and (math.type(port) ~= "integer" or port < 1 or port > 65535) then
    errors.misuse("%s: port must be 1-65535, got %s", call, tostring(port))
  elseif proto == "icmp" and port then
    errors.misuse("%s: icmp has no port", call)
  end
  if options.timeout and units.duration(options.timeout, call .. ": timeout") <= 0 then
    errors.misuse("%s: timeout must be more than 0, got %s", call, tostring(options.timeout))
  end
  local handle, ours = handle_of(from, call)
  local closer <close> = setmetatable({}, { __close = function() -- luacheck: ignore
    if ours then
      handle:close()
    end
  end })
  local found <close> = spaces.new()
  if type(to) == "table" and rawget(to, "fd") then
    found:of(to)
  end
  local origin = found:of(handle)
  local t, name = whom(call, origin, handle, to, options, found)
  local size = options.size and units.size(options.size, call .. ": size")
  local packet = { family = t.family, proto = proto == "icmp" and t.family == "inet6" and "icmp6" or proto, dst = t.address, dport = port,
    sport = port and free_port(), mark = 0, size = size or OVERHEAD[t.family][proto],
    icmp_type = proto == "icmp" and (t.family == "inet" and 8 or 128) or nil, icmp_code = proto == "icmp" and 0 or nil,
    oif = t.scope ~= 0 and t.scope or nil }
  local sport = packet.sport
  local ctx = walk.context(found)
  local self = setmetatable({ from = origin.label, to = name, address = t.address, port = port, proto = proto, family = t.family,
    verbose = options.verbose }, Why)
  self.prediction = walk.predict(ctx, origin, packet)
  if options.probe ~= false then
    self.probe = require("nslua.inspect.why.probe").run(self, origin, t, { sport = sport, size = size, timeout = options.timeout, spaces = found })
  end
  finish(self, options)
  return self
end

local function plain_steps(list)
  local out = {}
  for i, step in ipairs(list or {}) do
    local one = {}
    for key, value in pairs(step) do
      if type(value) == "table" and value.label then
        one[key == "space" and "netns" or "peer_netns"] = value.label
      elseif type(value) ~= "table" then
        one[key] = value
      end
    end
    out[i] = one
  end
  return out
end

---All of it as a plain table.
---@return table
function methods:plain()
  local p, out = self.prediction, {}
  for _, key in ipairs { "from", "to", "address", "port", "proto", "family", "ok", "verdict", "where", "code", "why", "fix", "error", "direction",
    "disagree", "probe" } do
    out[key] = self[key]
  end
  out.prediction = { verdict = p.verdict, error = p.error, code = p.finding and p.finding.code, where = p.finding and p.finding.space.label,
    forward = plain_steps(p.forward), back = plain_steps(p.back), doubts = p.doubts }
  return out
end

---As JSON.
---@return string
function methods:json()
  return schema.json(self:plain())
end

---Drawn, hop by hop.
---@return string
function methods:text()
  return draw.text(self)
end
Why.__tostring = methods.text

return M
