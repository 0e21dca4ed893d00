-- What a caller asks of sockets: which dumps that takes, what the kernel is told, and the tests of each row here.

local bytecode = require "nslua.diag.bytecode"
local book = require "nslua.diag.schema"
local check = require "nslua.check"
local device = require "nslua.rtnl.device"
local errors = require "nslua.error"
local inside_of = require("nslua.rtnl.within").of

local M = {}

local states = book:names "state"

local function mask(words)
  local out = {}
  for word in words:gmatch "%S+" do
    out[word] = true
  end
  return out
end

-- Words for several states, and other words for one, as in ss(8).
local BUSY = "established syn-sent syn-recv fin-wait-1 fin-wait-2 close-wait last-ack closing"
local groups = {
  all = mask(BUSY .. " time-wait closed listen"), connected = mask(BUSY .. " time-wait"),
  synchronized = mask((BUSY:gsub("syn%-sent ", "")) .. " time-wait"), bucket = mask "time-wait syn-recv",
  big = mask((BUSY:gsub("syn%-recv ", "")) .. " closed listen"), listening = mask "listen", unconnected = mask "closed", unconn = mask "closed",
  close = mask "closed", estab = mask "established",
}

local function state_set(value, call)
  local known, out = {}, {}
  for _, t in ipairs { states, groups } do
    for word in pairs(t) do
      known[word] = true
    end
  end
  known["new-syn-recv"] = nil
  for _, word in ipairs(type(value) == "table" and value or { value }) do
    if type(word) ~= "string" or not known[word] then
      errors.misuse("%s: %s", call, check.unknown("state", word, known))
    end
    for state in pairs(groups[word] or { [word] = true }) do
      out[state] = true
    end
  end
  return out
end

-- TCP's states as the kernel wants them; connections in the making have a number of their own.
local function bits(set)
  if not set then
    return 4294967295
  end
  local out = 0
  for state in pairs(set) do
    out = out + 2 ^ states[state]
  end
  out = set["syn-recv"] and out + 2 ^ states["new-syn-recv"] or out
  return math.tointeger and math.tointeger(out) or out
end

local protos = { tcp = 6, udp = 17, sctp = 132, raw = 255, mptcp = 262 }
local ORDER = { "tcp", "udp", "sctp", "raw", "mptcp" }
local FAMILIES = { "inet", "inet6", "unix", "packet", "netlink" }

-- Words that only some families have: who asks for one asks for no others.
local inet, inet_unix, unix = { inet = true, inet6 = true }, { inet = true, inet6 = true, unix = true }, { unix = true }
local has_dev, other = { inet = true, inet6 = true, packet = true }, { unix = true, packet = true, netlink = true }
local netlink, numbered = { netlink = true }, { packet = true, netlink = true }
local words = {
  family = true, proto = inet, state = inet_unix, src = inet, dst = inet, sport = inet, dport = inet, mark = inet, congestion = inet,
  dev = has_dev, dev_index = has_dev, uid = true, inode = true, cookie = true, path = unix, peer = unix, type = other, protocol = numbered,
  pid = netlink, group = netlink,
}
M.words = words

local types = { path = "string", type = "string", congestion = "string", protocol = "string|integer", uid = "integer", inode = "integer",
  cookie = "integer|string", mark = "integer", peer = "integer", pid = "integer", dev_index = "integer" } -- a cookie: text where Lua has no 64 bits

local function one_of(call, key, value, known)
  if type(value) ~= "string" or not known[value] then
    errors.misuse("%s: %s", call, check.unknown(key, value, known))
  end
  return value
end

local function port(call, key, value)
  if type(value) ~= "number" or value < 0 or value > 65535 or value % 1 ~= 0 then
    errors.misuse("%s: %s must be a port from 0 to 65535, got %s", call, key, type(value) == "number" and tostring(value) or type(value))
  end
  return value
end

---@class nslua.SocketFilter
---@field family? string|string[]  "inet", "inet6", "unix", "packet", "netlink" (default: all)
---@field proto? string|string[]   "tcp", "udp", "sctp", "raw", "mptcp"
---@field state? string|string[]   "listen", "established", ...; "connected", "synchronized", "bucket", "big" as in ss(8)
---@field src? string              address or prefix: "10.0.0.0/8"; `dst` likewise. Either finds IPv4 in IPv6 sockets, too
---@field sport? integer           `dport` likewise
---@field dev? string|integer|table  the link it is bound to
---@field uid? integer             `inode`, `cookie`, `mark`, `peer`, `pid`, `protocol`, `type`, `path`, `congestion` likewise: as rows have them
---@field group? integer           netlink: it has joined this group

-- A word, or a list of them, as a set.
local function set_of(call, key, value, known)
  if value == nil then
    return nil
  end
  local out = {}
  for _, word in ipairs(type(value) == "table" and value or { value }) do
    out[one_of(call, key, word, known)] = true
  end
  return out
end

local function known_of(list)
  local out = {}
  for _, word in ipairs(list) do
    out[word] = true
  end
  return out
end

-- The tests of rows, and what of them the kernel can do.
local function tests_of(self, filter, call, found)
  local tests, program = {}, { ports = {}, addresses = {} }
  for key, value in pairs(filter) do
    if key == "sport" or key == "dport" then
      program.ports[#program.ports + 1] = { key, port(call, key, value) }
      tests[#tests + 1] = { key, value }
    elseif key == "src" or key == "dst" then
      local inside, family, length, bytes = inside_of(call, key, value)
      program.addresses[#program.addresses + 1] = { key, family, length, bytes }
      tests[#tests + 1] = { key, is = inside }
    elseif key == "dev" then
      program.dev = device.index(self.handle, value, call, "dev")
      tests[#tests + 1] = { "dev_index", program.dev }
    elseif key == "state" then
      tests[#tests + 1] = { key, is = function(state)
        return found.states[state] == true
      end }
    elseif key == "group" then
      check.argument(call, key, value, "integer")
      tests[#tests + 1] = { "groups", is = function(list)
        for _, n in ipairs(list or {}) do
          if n == value then
            return true
          end
        end
        return false
      end }
    elseif key ~= "family" and key ~= "proto" then
      check.argument(call, key, value, value ~= false and types[key] or "false")
      tests[#tests + 1] = { key, value }
    end
  end
  found.tests = tests
  return bytecode.of(program)
end

---The dumps a filter takes, and the tests of their rows.
---@param self table
---@param filter nslua.SocketFilter
---@param call string
---@param brief? boolean  without what takes the kernel's time: tcp_info, memory, congestion
---@return { dumps: { message: string, proto: string?, payload: string }[], tests: table[] }
function M.of(self, filter, call, brief)
  if type(filter) ~= "table" then
    errors.misuse("%s: a filter is a table, got %s", call, type(filter))
  end
  local families = set_of(call, "family", filter.family, known_of(FAMILIES)) or known_of(FAMILIES)
  local wanted = set_of(call, "proto", filter.proto, protos)
  for key in pairs(filter) do
    if not words[key] then
      errors.misuse("%s: %s", call, check.unknown("key", key, words))
    end
    for family in pairs(words[key] ~= true and families or {}) do
      if not words[key][family] then
        families[family] = nil
      end
    end
  end
  local found = { dumps = {}, states = filter.state ~= nil and state_set(filter.state, call) or nil }
  local program = tests_of(self, filter, call, found)
  local mask_bits = bits(found.states)
  local function dump(message, family, proto, request)
    found.dumps[#found.dumps + 1] = { message = message, family = family, proto = proto,
      payload = book:compile(message .. "_request"):encode(request) }
  end
  for _, family in ipairs(FAMILIES) do
    if families[family] and inet[family] then
      for _, proto in ipairs(ORDER) do
        if not wanted or wanted[proto] then
          local n = protos[proto]
          dump("inet", family, proto, { family = book:names "family"[family], protocol = n < 256 and n or 0, proto_number = n > 255 and n or nil,
            ext = brief and filter.congestion == nil and 0 or 255, states = mask_bits, bytecode = program })
        end
      end
    elseif families[family] then
      -- UDIAG_SHOW_*, PACKET_SHOW_*, NDIAG_SHOW_*: all, without rings of netlink, which are gone
      local show = ({ unix = 0x7f, packet = 0x3f, netlink = 0x0b })[family]
      dump(family, family, nil, { family = book:names "family"[family], protocol = family == "netlink" and 255 or 0, show = show,
        states = family == "unix" and mask_bits or nil, inode = nil })
    end
  end
  return found
end

---@param row table
---@param tests table[]
---@return boolean
function M.passes(row, tests)
  for i = 1, #tests do
    local test = tests[i]
    local value = row[test[1]]
    if test.is then
      if not test.is(value) then
        return false
      end
    elseif test[2] == false then
      if value then
        return false
      end
    elseif value ~= test[2] then
      return false
    end
  end
  return true
end

M.protos = protos

return M
