-- What is expected of packets: that one goes by, or that none does. A failed one says what was seen instead.

local captures = require "nslua.lab.capture"
local check = require "nslua.check"
local core = require "nslua.core"
local errors = require "nslua.error"
local nodename = require "nslua.lab.nodename"
local nodestate = require "nslua.lab.nodestate"
local values = require "nslua.lab.witnessvalue"
local units = require "nslua.units"

local M = {}

local SHOWN = 12 -- packets in a message
local KEPT = 200 -- of those that were no match

---@class nslua.lab.PacketExpectation
---@field link? any                where: a link, its name, { "h1", "r1" }. Its packets are those that arrive at either end
---@field node? string|nslua.lab.Node  where: every interface of a node
---@field from? string|nslua.lab.Node  it is the source of the packet
---@field to? string|nslua.lab.Node    it is the destination
---@field tcp? boolean|table       fields of a header, as a packet has them: { flags = "S", dport = 80 }; true: there is one. A value is equal, one
---of a list, or a function that says yes; a node's name is its addresses. The same with eth, vlan, arp, ip, ip6, icmp, icmp6, udp, dns
---@field where? fun(p: nslua.capture.Packet): boolean
---@field filter? string           what is captured at all, in the words of pcap-filter(7)
---@field direction? "in"|"out"|"any"  (default: "in" of a link, "any" of a node)
---@field count? integer           so many of them, 1
---@field when? fun()              what is done while it is watched: without it, what went by before is not seen
---@field within? number|string    expect: seconds after that, 2
---@field during? number|string    never: seconds after that, 0

local words = { link = "any", node = "string|table", from = "string|table", to = "string|table", where = "function", filter = "string",
  direction = "string", count = "1-1000000", when = "function", within = "number|string", during = "number|string" }
M.headers = { "eth", "vlan", "arp", "ip", "ip6", "icmp", "icmp6", "tcp", "udp", "dns" }
for _, header in ipairs(M.headers) do
  words[header] = "table|boolean"
end

local function node_of(lab, value, call)
  local name = nodename.of(value, call, lab)
  return lab.node[name] or errors.misuse("%s: %s", call, check.unknown("node", name, lab.node))
end

-- The addresses of a node, as a set.
local function addresses_of(node)
  local out = {}
  for _, interface in ipairs(node.plan.interfaces or {}) do
    for _, address in ipairs(interface.addresses or {}) do
      out[address:match "^[^/]+"] = true
    end
  end
  return out
end

-- Whether a value is what is wanted.
local function is(lab, wanted, value)
  if type(wanted) == "function" then
    return wanted(value) and true or false
  elseif type(wanted) == "table" then
    for _, one in ipairs(wanted) do
      if is(lab, one, value) then
        return true
      end
    end
    return false
  elseif wanted == value then
    return true
  end
  local node = type(wanted) == "string" and type(value) == "string" and lab.node[wanted]
  return node and addresses_of(node)[value] or false
end

local function header_matches(lab, wanted, header)
  if type(wanted) == "boolean" then
    return (header ~= nil) == wanted
  elseif not header then
    return false
  end
  for key, value in pairs(wanted) do
    if not is(lab, value, header[key]) then
      return false
    end
  end
  return true
end

-- What is wanted of headers, as packets have it. A field that no header has, or a value that no field has, would never be found: it is misuse.
local function wanted_of(lab, t, call)
  local fields, out = require("nslua").capture.fields, {}
  for _, header in ipairs(M.headers) do
    local wanted = t[header]
    out[header] = wanted
    if type(wanted) == "table" then
      out[header] = {}
      for key, value in pairs(wanted) do
        if not fields[header][key] then
          errors.misuse("%s: %s: %s", call, header, check.unknown("field", key, fields[header]))
        end
        out[header][key] = values.of(lab, call, header, key, value)
      end
    end
  end
  return out
end

-- The function that tells whether a packet is meant.
local function matcher(lab, t, call)
  local from = t.from and addresses_of(node_of(lab, t.from, call))
  local to = t.to and addresses_of(node_of(lab, t.to, call))
  local wanted = wanted_of(lab, t, call)
  local direction = t.direction or t.link and "in" or "any"
  if direction ~= "any" and direction ~= "in" and direction ~= "out" then
    errors.misuse("%s: %s", call, check.unknown("direction", direction, { "in", "out", "any" }))
  end
  return function(p)
    if direction ~= "any" and p.direction ~= direction then
      return false
    end
    local ip = (from or to) and (p.ip or p.ip6)
    if from and not (ip and from[ip.src]) or to and not (ip and to[ip.dst]) then
      return false
    end
    for _, header in ipairs(M.headers) do
      if wanted[header] ~= nil and not header_matches(lab, wanted[header], p[header]) then
        return false
      end
    end
    return not t.where or t.where(p) and true or false
  end
end

-- In words, for messages.
local function described(t)
  local out = {}
  local function value(v)
    if type(v) == "table" then
      local list = {}
      for i, one in ipairs(v) do
        list[i] = value(one)
      end
      return "{ " .. table.concat(list, ", ") .. " }"
    end
    return type(v) == "string" and ("%q"):format(v) or tostring(v):match "^function" or tostring(v)
  end
  for _, key in ipairs { "from", "to" } do
    out[#out + 1] = t[key] and ("%s %s"):format(key, nodename.of(t[key], "lab")) or nil
  end
  for _, header in ipairs(M.headers) do
    if type(t[header]) == "table" then
      local list = {}
      for key, v in pairs(t[header]) do
        list[#list + 1] = ("%s = %s"):format(key, value(v))
      end
      table.sort(list)
      out[#out + 1] = header .. " { " .. table.concat(list, ", ") .. " }"
    elseif t[header] ~= nil then
      out[#out + 1] = t[header] and header or "no " .. header
    end
  end
  out[#out + 1] = t.filter and ("filter %q"):format(t.filter) or nil
  out[#out + 1] = t.where and "where" or nil
  return out[1] and table.concat(out, ", ") or "any"
end

---@class nslua.lab.Witness
---@field lab nslua.Lab
---@field place string  where it looks
local Witness = { __name = "nslua.lab.Witness" }
Witness.__index = Witness

---Begin to watch.
---@param lab nslua.Lab
---@param t nslua.lab.PacketExpectation
---@param call? string
---@return nslua.lab.Witness
function M.watch(lab, t, call)
  call = call or "lab.watch"
  check.options(call, t, words)
  if (t.link == nil) == (t.node == nil) then
    errors.misuse("%s: where? link or node is needed", call)
  end
  local self = setmetatable({ lab = lab, said = t, matches = matcher(lab, t, call), seen = {}, found = {}, total = 0, nodes = {} }, Witness)
  local options = { filter = t.filter, memory = "16mb", buffer = "2mb" }
  if t.link ~= nil then
    local link = captures.link_of(lab, t.link, call)
    self.place = ("%s:%s -- %s:%s"):format(link.ends[1].node.node_name, link.ends[1].dev, link.ends[2].node.node_name, link.ends[2].dev)
    options.links, self.nodes = { link }, { link.ends[1].node, link.ends[2].node }
  else
    local node = node_of(lab, t.node, call)
    self.place, options.nodes, self.nodes = node.node_name, { node }, { node }
  end
  for _, key in ipairs { "from", "to" } do
    self.nodes[#self.nodes + 1] = t[key] and node_of(lab, t[key], call) or nil
  end
  self.drops = require("nslua").capture.drops()
  self.capture = captures.begin(lab, options)
  return self
end

-- Look at a packet; whether it is meant.
local function take(self, p)
  self.total = self.total + 1
  if self.matches(p) then
    self.found[#self.found + 1] = p
    return true
  elseif #self.seen < KEPT then
    self.seen[#self.seen + 1] = p
  end
  return false
end

-- Take what has come until now.
local function catch_up(self)
  self.capture:sync()
  local p = self.capture:next(0)
  while p do
    take(self, p)
    p = self.capture:next(0)
  end
end

-- Packets that the capture had no room for.
local function missed_of(self)
  local counters = self.capture:counters()
  return counters.dropped + counters.unwritten
end

local function fail(self, call, text)
  local lines, list = { text }, {}
  table.move(self.seen, 1, #self.seen, 1, list)
  table.move(self.found, 1, #self.found, #list + 1, list)
  table.sort(list, function(a, b)
    return a.nanoseconds < b.nanoseconds
  end)
  local missed = missed_of(self)
  local more = missed > 0 and (", %d more were too fast to be seen"):format(missed) or ""
  lines[#lines + 1] = ("seen on %s: %d packets%s"):format(self.place, self.total, more)
  for i = math.max(1, #list - SHOWN + 1), #list do
    lines[#lines + 1] = "  " .. tostring(list[i])
  end
  local dropped = {}
  if self.drops then
    dropped = self.drops:read()
    local reasons = require("nslua").capture.drop_lines(dropped)
    if reasons[1] then
      lines[#lines + 1] = "dropped by the kernel of this machine meanwhile:"
      for _, line in ipairs(reasons) do
        lines[#lines + 1] = "  " .. line
      end
    end
  end
  local said = self.said
  local state = nodestate.lines(self.lab, self.nodes, said.from and node_of(self.lab, said.from, call),
    said.to and node_of(self.lab, said.to, call))
  if state[1] then
    lines[#lines + 1] = "state:"
    for _, line in ipairs(state) do
      lines[#lines + 1] = "  " .. line
    end
  end
  errors.raise { call = call, message = table.concat(lines, "\n"), packets = list, drops = dropped, state = state }
end

local function expect(self, t, call)
  check.options(call, t or {}, { within = "number|string", count = "1-1000000" })
  local count = t and t.count or self.said.count or 1
  local within = units.duration(t and t.within or self.said.within or 2, call .. ": within")
  local deadline = core.fd.clock() + within
  catch_up(self)
  while #self.found < count do
    local left = deadline - core.fd.clock()
    if left <= 0 then
      catch_up(self)
      break
    end
    local p = self.capture:next(left)
    if p then
      take(self, p)
    end
  end
  if #self.found < count then
    local what = count == 1 and "no such packet" or ("%d of %d such packets"):format(#self.found, count)
    fail(self, call, ("%s on %s within %g seconds: %s"):format(what, self.place, within, described(self.said)))
  end
  return self.found[1], self.found
end

local function never(self, t, call)
  check.options(call, t or {}, { during = "number|string" })
  local deadline = core.fd.clock() + units.duration(t and t.during or self.said.during or 0, call .. ": during")
  catch_up(self)
  while not self.found[1] do
    local left = deadline - core.fd.clock()
    if left <= 0 then
      catch_up(self)
      break
    end
    local p = self.capture:next(left)
    if p then
      take(self, p)
    end
  end
  if self.found[1] then
    fail(self, call, ("there is such a packet on %s: %s"):format(self.place, described(self.said)))
  elseif missed_of(self) > 0 then
    fail(self, call, ("it cannot be told whether there was such a packet on %s (a filter lets fewer through): %s"):format(self.place,
      described(self.said)))
  end
end

---Raise unless such a packet has gone by since the watch began, or does so within a time.
---@param t? { within: number|string?, count: integer? }
---@return nslua.capture.Packet first
---@return nslua.capture.Packet[] all
function Witness:expect(t)
  return expect(self, t, "watch.expect")
end

---Raise if such a packet has gone by since the watch began, or does so during a time.
---@param t? { during: number|string? }
function Witness:never(t)
  never(self, t, "watch.never")
end

---Those that were meant, until now.
---@return nslua.capture.Packet[]
function Witness:packets()
  catch_up(self)
  return table.move(self.found, 1, #self.found, 1, {})
end

---End it. Idempotent.
---@return true
function Witness:close()
  if self.drops then
    self.drops:close()
  end
  return self.capture:close()
end
Witness.__close = Witness.close

---Whether an expectation is of packets, and not of who reaches whom.
---@param t any
---@return boolean
function M.is(t)
  return type(t) == "table" and (t.link ~= nil or t.node ~= nil or t.from ~= nil or t.to ~= nil or t.when ~= nil)
end

local function once(lab, t, call, fn)
  local witness <close> = M.watch(lab, t, call)
  if t.when then
    t.when()
  end
  return fn(witness, nil, call)
end

---@package
---@param lab nslua.Lab
---@param t nslua.lab.PacketExpectation
---@return nslua.capture.Packet, nslua.capture.Packet[]
function M.expect(lab, t)
  return once(lab, t, "lab.expect", expect)
end

---@package
---@param lab nslua.Lab
---@param t nslua.lab.PacketExpectation
function M.never(lab, t)
  once(lab, t, "lab.never", never)
end

return M
