-- The words of capture filters, compiled for the kernel (classic BPF): those of pcap-filter(7) that are used most. Loads are relative to the
-- network header, so that a filter fits every kind of link. linux/filter.h

local core = require "nslua.core"
local errors = require "nslua.error"

local M = {}

-- Instructions: { code, jump if true, jump if false, k }; jumps are labels until the end.
local LDW, LDH, LDB, LDHX, MSH, JEQ, JGT, JGE, JSET, RET, AND = 0x20, 0x28, 0x30, 0x48, 0xb1, 0x15, 0x25, 0x35, 0x45, 0x06, 0x54
local NET, LL, ANCILLARY = -0x100000, -0x200000, -0x1000
local PROTOCOL, PKTTYPE, VLAN_TAG, VLAN_PRESENT = ANCILLARY + 0, ANCILLARY + 4, ANCILLARY + 44, ANCILLARY + 48
local LENGTH = 0x80 -- ld len
local IP, IP6, ARP = 0x0800, 0x86dd, 0x0806
local TCP, UDP, SCTP, ICMP, ICMP6 = 6, 17, 132, 1, 58
local OUTGOING = 4

-- Conditions are trees: { "and"|"or", a, b }, { "not", a }, { "test", load..., compare, value }.
-- A test: { "test", { { code, k }, ... }, jump code, k }.
local function test(loads, jump, k)
  return { "test", loads, jump, k }
end

local function all(list)
  local out = list[1]
  for i = 2, #list do
    out = { "and", out, list[i] }
  end
  return out
end

local function any(list)
  local out = list[1]
  for i = 2, #list do
    out = { "or", out, list[i] }
  end
  return out
end

local function ethertype(n)
  return test({ { LDH, PROTOCOL } }, JEQ, n)
end

local function byte(at, n)
  return test({ { LDB, NET + at } }, JEQ, n)
end

local function ip_protocol(n)
  return all { ethertype(IP), byte(9, n) }
end

local function ip6_protocol(n)
  return all { ethertype(IP6), any { byte(6, n), all { byte(6, 44), byte(40, n) } } }
end

local function protocol(n)
  return any { ip_protocol(n), ip6_protocol(n) }
end

-- One address at a place of the network header, under a mask of so many bits.
local function address_at(at, bytes, bits)
  local list = {}
  for i = 0, #bytes - 1, 4 do
    local left = math.max(0, math.min(32, bits - i * 8))
    if left > 0 then
      local mask = left == 32 and 0xffffffff or (0xffffffff << (32 - left)) & 0xffffffff
      local loads = { { LDW, NET + at + i } }
      if left < 32 then
        loads[2] = { AND, mask }
      end
      list[#list + 1] = test(loads, JEQ, string.unpack(">I4", bytes, i + 1) & mask)
    end
  end
  return list[1] and all(list) or nil
end

local function by_direction(direction, src, dst)
  if direction == "src" then
    return src
  elseif direction == "dst" then
    return dst
  elseif direction == "src and dst" then
    return { "and", src, dst }
  end
  return { "or", src, dst }
end

local function network(bytes, bits, direction, only)
  local function places(kind, src, dst)
    local a, b = address_at(src, bytes, bits), address_at(dst, bytes, bits)
    if not a then
      return ethertype(kind)
    end
    return all { ethertype(kind), by_direction(direction, a, b) }
  end
  if #bytes == 16 then
    return only ~= "ip" and only ~= "arp" and places(IP6, 8, 24) or nil
  elseif only == "ip6" then
    return nil
  elseif only then
    return only == "ip" and places(IP, 12, 16) or places(ARP, 14, 24)
  end
  return any { places(IP, 12, 16), places(ARP, 14, 24) }
end

local function port(first, last, direction, only)
  local function within(loads)
    if first == last then
      return test(loads, JEQ, first)
    end
    return all { test(loads, JGE, first), { "not", test(loads, JGT, last) } }
  end
  local v4 = by_direction(direction, within { { MSH, NET }, { LDHX, NET } }, within { { MSH, NET }, { LDHX, NET + 2 } })
  local v6 = by_direction(direction, within { { LDH, NET + 40 } }, within { { LDH, NET + 42 } })
  local function of(at)
    local list = {}
    for _, n in ipairs(only and { only } or { TCP, UDP, SCTP }) do
      list[#list + 1] = byte(at, n)
    end
    return any(list)
  end
  local unfragmented = { "not", test({ { LDH, NET + 6 } }, JSET, 0x1fff) }
  return any { all { ethertype(IP), of(9), unfragmented, v4 }, all { ethertype(IP6), of(6), v6 } }
end

local function lladdr(bytes, direction)
  local high, low = string.unpack(">I4I2", bytes)
  local function at(n)
    return all { test({ { LDW, LL + n } }, JEQ, high), test({ { LDH, LL + n + 4 } }, JEQ, low) }
  end
  return by_direction(direction, at(6), at(0))
end

-- Reading -------------------------------------------------------------------------------------------------------------------------

local PORTS = { ssh = 22, domain = 53, http = 80, https = 443, ntp = 123, bootps = 67, bootpc = 68 }
local TRANSPORT = { tcp = TCP, udp = UDP, sctp = SCTP }

-- "&&" is "and"; brackets stand alone.
local function words(text)
  local list = {}
  text = text:gsub("&&", " and "):gsub("||", " or "):gsub("!", " not "):gsub("[()]", " %0 ")
  for word in text:gmatch "%S+" do
    list[#list + 1] = word
  end
  return list
end

local Parser = {}
Parser.__index = Parser

-- What it does not know may be known to libpcap: that is no misuse yet.
local Unknown = {}

local function unknown(format, ...)
  error(setmetatable({ text = format:format(...) }, Unknown), 0)
end

function Parser:peek()
  return self.list[self.at]
end

function Parser:take(word)
  if self.list[self.at] == word then
    self.at = self.at + 1
    return true
  end
end

function Parser:value(what)
  local word = self.list[self.at] or unknown("%s is missing at its end", what)
  self.at = self.at + 1
  return word
end

local function parse_port(word)
  local n = PORTS[word] or tonumber(word:match "^%d+$")
  if not n or n > 65535 then
    unknown("'%s' is no port", word)
  end
  return n
end

local function parse_range(word)
  local first, last = word:match "^(%w+)%-(%w+)$"
  first, last = parse_port(first or word), parse_port(last or word)
  return math.min(first, last), math.max(first, last)
end

-- Addresses of a name, or the one that is written.
function Parser:addresses(word)
  local bytes = core.inet.bytes(word)
  if bytes then
    return { bytes }
  end
  local out = {}
  for _, address in ipairs(self.hosts and self.hosts(word) or {}) do
    out[#out + 1] = core.inet.bytes(address)
  end
  return out[1] and out or unknown("'%s' is no address%s", word, self.hosts and " and no node" or "")
end

local function parse_net(word)
  local address, bits = word:match "^([^/]+)/(%d+)$"
  local bytes = core.inet.bytes(address or word)
  if not bytes then
    unknown("'%s' is no network", word)
  end
  bits = tonumber(bits) or #bytes * 8
  if bits > #bytes * 8 then
    unknown("'%s' is no network", word)
  end
  return bytes, bits
end

local directions = { src = true, dst = true }

function Parser:direction()
  local first = self:peek()
  if not directions[first] then
    return nil
  end
  self.at = self.at + 1
  local joint, second = self.list[self.at], self.list[self.at + 1]
  if (joint == "or" or joint == "and") and directions[second] and second ~= first then
    self.at = self.at + 2
    return joint == "and" and "src and dst" or nil
  end
  return first
end

-- What may follow a protocol or a direction.
function Parser:endpoint(direction, only)
  local word = self:peek()
  if self:take "port" or self:take "portrange" then
    if only and not TRANSPORT[only] then
      unknown("%s has no ports", only)
    end
    local first, last = parse_range(self:value "a port")
    return port(first, last, direction, TRANSPORT[only])
  elseif only and TRANSPORT[only] then
    unknown("'%s' behind %s", word or "", only)
  elseif self:take "net" then
    local bytes, bits = parse_net(self:value "a network")
    return network(bytes, bits, direction, only) or unknown "an address of the other family"
  end
  local explicit = self:take "host"
  if not explicit and not direction then
    unknown("'%s'", word or "")
  end
  local list = {}
  for _, bytes in ipairs(self:addresses(self:value "an address")) do
    list[#list + 1] = network(bytes, #bytes * 8, direction, only)
  end
  return list[1] and any(list) or unknown "an address of the other family"
end

local simple = {
  ip = function() return ethertype(IP) end,
  ip6 = function() return ethertype(IP6) end,
  arp = function() return ethertype(ARP) end,
  icmp = function() return ip_protocol(ICMP) end,
  icmp6 = function() return ip6_protocol(ICMP6) end,
  tcp = function() return protocol(TCP) end,
  udp = function() return protocol(UDP) end,
  sctp = function() return protocol(SCTP) end,
  inbound = function() return { "not", test({ { LDB, PKTTYPE } }, JEQ, OUTGOING) } end,
  outbound = function() return test({ { LDB, PKTTYPE } }, JEQ, OUTGOING) end,
}

local qualifies = { ip = true, ip6 = true, arp = true, tcp = true, udp = true, sctp = true }
local follows = { host = true, net = true, port = true, portrange = true, src = true, dst = true }

function Parser:ether()
  if self:take "proto" then
    local word = self:value "a protocol"
    local n = tonumber(word) or ({ ip = IP, ip6 = IP6, arp = ARP })[word:gsub("^\\", "")]
    return n and n <= 65535 and ethertype(n) or unknown("'%s' is no protocol of Ethernet", word)
  end
  local direction = self:direction()
  if not self:take "host" and not direction then
    unknown("'%s' behind ether", self:peek() or "")
  end
  local word = self:value "an address"
  local list = {}
  for digits in word:gmatch "%x%x?" do
    list[#list + 1] = string.char(tonumber(digits, 16))
  end
  if not word:find "^%x%x?:%x%x?:%x%x?:%x%x?:%x%x?:%x%x?$" then
    unknown("'%s' is no address of Ethernet", word)
  end
  return lladdr(table.concat(list), direction)
end

local function number(word)
  local n = math.tointeger(tonumber(word))
  return n and n >= 0 and n <= 0xffffffff and n or unknown("'%s' is no number", word)
end

function Parser:primitive()
  local word = self:peek()
  if not word then
    unknown "something is missing at its end"
  elseif self:take "(" then
    local inner = self:expression()
    if not self:take ")" then
      unknown "a ')' is missing"
    end
    return inner
  elseif self:take "not" then
    return { "not", self:primitive() }
  elseif self:take "ether" then
    return self:ether()
  elseif self:take "vlan" then
    local present = test({ { LDB, VLAN_PRESENT } }, JEQ, 1)
    if (self:peek() or ""):find "^%d+$" then
      return all { present, test({ { LDH, VLAN_TAG }, { AND, 0xfff } }, JEQ, number(self:value "a VLAN")) }
    end
    return present
  elseif self:take "less" then
    return { "not", test({ { LENGTH, 0 } }, JGT, number(self:value "a length")) }
  elseif self:take "greater" then
    return test({ { LENGTH, 0 } }, JGE, number(self:value "a length"))
  elseif simple[word] then
    self.at = self.at + 1
    if qualifies[word] and follows[self:peek()] then
      return self:endpoint(self:direction(), word)
    end
    return simple[word]()
  elseif follows[word] then
    return self:endpoint(self:direction())
  end
  return unknown("'%s'", word)
end

-- As pcap-filter(7) has it: `and` and `or` bind alike, from the left.
function Parser:expression()
  self.depth = (self.depth or 0) + 1
  if self.depth > 50 then
    unknown "too many brackets"
  end
  local left = self:primitive()
  while true do
    if self:take "and" then
      left = { "and", left, self:primitive() }
    elseif self:take "or" then
      left = { "or", left, self:primitive() }
    else
      self.depth = self.depth - 1
      return left
    end
  end
end

-- Instructions ---------------------------------------------------------------------------------------------------------------------

-- Write the program from its end on: a jump is at most 255 instructions long, and leads to what is written already.
local function assemble(tree, snaplen)
  local code = {} -- reversed
  local function emit(op, yes, no, k)
    code[#code + 1] = { op, yes, no, k }
    return #code
  end
  local fail = emit(RET, nil, nil, 0)
  local hit = emit(RET, nil, nil, snaplen)
  -- The place of code that goes on at `yes` or at `no`.
  local function place(t, yes, no)
    if t[1] == "not" then
      return place(t[2], no, yes)
    elseif t[1] == "and" then
      return place(t[2], place(t[3], yes, no), no)
    elseif t[1] == "or" then
      return place(t[2], yes, place(t[3], yes, no))
    end
    local far = { yes, no }
    for i = 1, 2 do
      if #code + 1 - far[i] - 1 > 250 then -- a jump of its own, which may be as long as need be
        far[i] = emit(0x05, far[i], nil, nil)
      end
    end
    emit(t[3], far[1], far[2], t[4])
    for i = #t[2], 1, -1 do
      emit(t[2][i][1], nil, nil, t[2][i][2])
    end
    return #code
  end
  local start = place(tree, hit, fail)
  if start ~= #code then
    emit(0x05, start, nil, nil)
  end
  if #code > 4096 then
    unknown "it is too long"
  end
  local out = {}
  for i = #code, 1, -1 do
    local c = code[i]
    if c[1] == 0x05 then
      out[#out + 1] = string.pack("=I2BBI4", 0x05, 0, 0, i - c[2] - 1)
    else
      out[#out + 1] = string.pack("=I2BBI4", c[1], c[2] and i - c[2] - 1 or 0, c[3] and i - c[3] - 1 or 0, c[4] & 0xffffffff)
    end
  end
  return table.concat(out)
end

---The program of a filter in our own words; nil and what is not known where it has others.
---@param text string
---@param hosts? fun(name: string): string[]?  addresses of a name
---@param snaplen? integer
---@return string? program
---@return string? why
function M.own(text, hosts, snaplen)
  local parser = setmetatable({ list = words(text), at = 1, hosts = hosts }, Parser)
  local ok, result = pcall(function()
    local tree = parser:expression()
    if parser:peek() then
      unknown("'%s'", parser:peek())
    end
    return assemble(tree, snaplen or 0xffffffff)
  end)
  if ok then
    return result
  elseif getmetatable(result) == Unknown then
    return nil, result.text
  end
  return error(result, 0)
end

---The program of a filter: in our own words, else in those that libpcap knows.
---@param call string
---@param text string
---@param link_type integer
---@param snaplen integer
---@param hosts? fun(name: string): string[]?
---@return string
function M.compile(call, text, link_type, snaplen, hosts)
  if not text:find "%S" then
    return string.pack("=I2BBI4", RET, 0, 0, snaplen)
  end
  local program, why = M.own(text, hosts, snaplen)
  if program then
    return program
  end
  local compiled, message, errno = core.capture.compile(text, link_type, snaplen)
  if compiled then
    return compiled
  elseif errno == core.errno.EINVAL then
    errors.misuse("%s: filter %q: %s", call, text, message)
  elseif errno == core.errno.ENOSYS then
    errors.misuse("%s: filter %q: %s (libpcap, which is not installed, knows more words than nslua does: apt install libpcap0.8)", call, text, why)
  end
  return errors.check(call, { detail = "filter" }, nil, message, errno)
end

return M
