-- Messages of DNS, written and read. RFC 1035; AAAA: RFC 3596, SRV: RFC 2782, CAA: RFC 8659, EDNS(0): RFC 6891
--
-- What is read comes from anybody: nothing is taken to be there, names end after 255 bytes, and a pointer in a name goes back only.

local core = require "nslua.core"

local M = {}

M.types = { A = 1, NS = 2, CNAME = 5, SOA = 6, PTR = 12, MX = 15, TXT = 16, AAAA = 28, SRV = 33, NAPTR = 35, DS = 43, DNSKEY = 48, HTTPS = 65,
  ANY = 255, CAA = 257 }
local type_names = {}
for name, number in pairs(M.types) do
  type_names[number] = name
end
M.rcodes = { [0] = "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET", "NOTAUTH", "NOTZONE" }
local IN, OPT = 1, 41

---A word for the type of a record: "A", "TYPE65280".
---@param number integer
---@return string
function M.type_name(number)
  return type_names[number] or ("TYPE%d"):format(number)
end

---The bytes of a name: "example.org", "example.org.", ".". "\." is a dot in a label, "\065" a byte.
---@param name string
---@return string? bytes
---@return string? why_not
function M.encode_name(name)
  local labels, label, at = {}, {}, 1
  name = name:gsub("%.$", function()
    return name:match "\\%.$" and "." or ""
  end)
  while at <= #name do
    local c = name:sub(at, at)
    if c == "\\" then
      local digits = name:match("^%d%d%d", at + 1)
      if digits and tonumber(digits) > 255 or at == #name then
        return nil, "a backslash with nothing behind it, or a number above 255"
      end
      label[#label + 1] = digits and string.char(tonumber(digits)) or name:sub(at + 1, at + 1)
      at = at + (digits and 4 or 2)
    elseif c == "." then
      labels[#labels + 1], label = table.concat(label), {}
      at = at + 1
    else
      label[#label + 1] = c
      at = at + 1
    end
  end
  if name ~= "" then
    labels[#labels + 1] = table.concat(label)
  end
  local out = {}
  for i, text in ipairs(labels) do
    if text == "" then
      return nil, "an empty label"
    elseif #text > 63 then
      return nil, "a label of more than 63 bytes"
    end
    out[i] = string.pack("s1", text)
  end
  local bytes = table.concat(out) .. "\0"
  if #bytes > 255 then
    return nil, "a name of more than 255 bytes"
  end
  return bytes
end

---A query.
---@param id integer
---@param name string    its bytes, of encode_name
---@param type integer
---@param edns boolean   say that answers may have 1,232 bytes
---@return string
function M.query(id, name, type, edns)
  local RECURSION_DESIRED = 0x0100
  return string.pack(">I2I2I2I2I2I2", id, RECURSION_DESIRED, 1, 0, 0, edns and 1 or 0) .. name .. string.pack(">I2I2", type, IN)
    .. (edns and string.pack(">BI2I2I4I2", 0, OPT, 1232, 0, 0) or "")
end

local function escape(c)
  return (c == "." or c == "\\") and "\\" .. c or ("\\%03d"):format(c:byte())
end

-- Reads one number; raises "short" where the message ends before. (All of `decode` runs under one pcall.)
local SHORT = "the message ends too soon"
local function need(bytes, at, n)
  if at + n - 1 > #bytes then
    error(SHORT, 0)
  end
end
local function unpack(format, size, bytes, at)
  need(bytes, at, size)
  return string.unpack(format, bytes, at)
end

-- The name at a position: its text, and the position behind it.
local function read_name(bytes, at)
  local labels, size, pointers, behind = {}, 1, 0, nil
  local limit = at -- a pointer must go to before where this part began, so it ends
  while true do
    need(bytes, at, 1)
    local n = bytes:byte(at)
    if n == 0 then
      return #labels == 0 and "." or table.concat(labels, "."), behind or at + 1
    elseif n >= 0xc0 then
      need(bytes, at, 2)
      local to = (n & 0x3f) << 8 | bytes:byte(at + 1)
      behind = behind or at + 2
      if to + 1 >= limit then
        error("a pointer in a name goes forward", 0)
      end
      pointers = pointers + 1
      if pointers > 127 then -- more than a name has labels
        error("too many pointers in a name", 0)
      end
      at, limit = to + 1, to + 1
    elseif n >= 0x40 then
      error("a label of an unknown kind", 0)
    else
      need(bytes, at + 1, n)
      size = size + n + 1
      if size > 255 then
        error("a name of more than 255 bytes", 0)
      end
      labels[#labels + 1] = bytes:sub(at + 1, at + n):gsub("[^%w!#-'*+,/:;<=>?@%[%]^_`{|}~-]", escape)
      at = at + n + 1
    end
  end
end

-- The name at a position of a record, which ends with the record, or where it is told to.
local function inner_name(bytes, at, stop)
  local name, behind = read_name(bytes, at)
  if behind > stop then
    error("a name goes over the end of its record", 0)
  end
  return name, behind
end

local function strings(bytes, at, stop)
  local out = {}
  while at < stop do
    local n = bytes:byte(at)
    if at + n >= stop then
      error("a string goes over the end of its record", 0)
    end
    out[#out + 1] = bytes:sub(at + 1, at + n)
    at = at + 1 + n
  end
  return out
end

-- type -> fn(record, bytes, at, stop): the fields of its data. Each field of a fixed size is known to be there.
local data = {
  A = { 4, function(r, bytes, at)
    r.address = core.inet.text(bytes:sub(at, at + 3))
  end },
  AAAA = { 16, function(r, bytes, at)
    r.address = core.inet.text(bytes:sub(at, at + 15))
  end },
  MX = { 3, function(r, bytes, at, stop)
    r.preference = string.unpack(">I2", bytes, at)
    r.target = inner_name(bytes, at + 2, stop)
  end },
  SRV = { 7, function(r, bytes, at, stop)
    r.priority, r.weight, r.port = string.unpack(">I2I2I2", bytes, at)
    r.target = inner_name(bytes, at + 6, stop)
  end },
  TXT = { 1, function(r, bytes, at, stop)
    r.strings = strings(bytes, at, stop)
    r.text = table.concat(r.strings)
  end },
  SOA = { 22, function(r, bytes, at, stop)
    r.mname, at = inner_name(bytes, at, stop)
    r.rname, at = inner_name(bytes, at, stop)
    if at + 20 > stop then
      error("a record that is too short", 0)
    end
    r.serial, r.refresh, r.retry, r.expire, r.minimum = string.unpack(">I4I4I4I4I4", bytes, at)
  end },
  CAA = { 2, function(r, bytes, at, stop)
    r.flags = bytes:byte(at)
    local n = bytes:byte(at + 1)
    if at + 2 + n > stop then
      error("a record that is too short", 0)
    end
    r.tag, r.value = bytes:sub(at + 2, at + 1 + n), bytes:sub(at + 2 + n, stop - 1)
  end },
}
local function of_target(r, bytes, at, stop)
  r.target = inner_name(bytes, at, stop)
end
for _, name in ipairs { "NS", "CNAME", "PTR" } do
  data[name] = { 1, of_target }
end

local function read_record(bytes, at)
  local r = {}
  local number, class, size
  r.name, at = read_name(bytes, at)
  number, class, r.ttl, size, at = unpack(">I2I2I4I2", 10, bytes, at)
  need(bytes, at, size)
  r.type = M.type_name(number)
  local read = class == IN and data[r.type]
  if read then
    local exact = r.type == "A" or r.type == "AAAA"
    if size < read[1] or exact and size ~= read[1] then
      error("a record of a wrong size", 0)
    end
    read[2](r, bytes, at, at + size)
  else
    r.data = bytes:sub(at, at + size - 1)
  end
  if number == OPT then
    r.payload = class
  elseif class ~= IN then
    r.class = class
  end
  return r, at + size, number
end

local function decode(bytes)
  local id, flags, questions, n1, n2, n3, at = unpack(">I2I2I2I2I2I2", 12, bytes, 1)
  local out = { id = id, response = flags & 0x8000 ~= 0, opcode = flags >> 11 & 15, authoritative = flags & 0x0400 ~= 0,
    truncated = flags & 0x0200 ~= 0, recursion_available = flags & 0x0080 ~= 0, rcode_number = flags & 15, questions = {} }
  for i = 1, questions do
    local name, number, class
    name, at = read_name(bytes, at)
    number, class, at = unpack(">I2I2", 4, bytes, at)
    out.questions[i] = { name = name, type = M.type_name(number), class = class }
  end
  for i, section in ipairs { "answers", "authority", "additional" } do
    local list = {}
    for _ = 1, ({ n1, n2, n3 })[i] do
      local r, number
      r, at, number = read_record(bytes, at)
      if number == OPT then -- the upper bits of the rcode stand in what is the ttl of others
        out.rcode_number = out.rcode_number | (r.ttl >> 24) << 4
        out.payload = r.payload
      else
        list[#list + 1] = r
      end
    end
    out[section] = list
  end
  out.rcode = M.rcodes[out.rcode_number] or ("RCODE%d"):format(out.rcode_number)
  return out
end

---@class nslua.DnsRecord
---@field name string  without the last dot; what is not printable as "\003"
---@field type string
---@field ttl integer
---@field address? string                    of A and AAAA
---@field target? string                     of CNAME, NS, PTR, MX (with preference), SRV (with priority, weight, port)
---@field text? string                       of TXT; `strings` are its parts
---@field data? string                       bytes, of a type that is not read here
---@field class? integer                     other than that of the Internet

---@class nslua.DnsMessage
---@field id integer
---@field response boolean
---@field truncated boolean
---@field authoritative boolean
---@field rcode string  "NOERROR", "NXDOMAIN", ...
---@field questions { name: string, type: string, class: integer }[]
---@field payload? integer  bytes of an answer by UDP that its sender takes (EDNS)
---@field answers nslua.DnsRecord[]
---@field authority nslua.DnsRecord[]
---@field additional nslua.DnsRecord[]

---The text of a name that encode_name gave.
---@param bytes string
---@return string
function M.decode_name(bytes)
  return (read_name(bytes, 1))
end

---Read a message. Of one that is cut off (`truncated`), what is whole of its head.
---@param bytes string
---@return nslua.DnsMessage? message
---@return string? why_not
function M.decode(bytes)
  local ok, result = pcall(decode, bytes)
  if ok then
    return result
  end
  return nil, tostring(result)
end

return M
