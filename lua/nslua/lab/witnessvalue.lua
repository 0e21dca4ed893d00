-- Values that are wanted of a packet's fields, as packets have them: an address is written in one way, flags stand in one order. What no packet can
-- have is misuse: an expectation of it would fail, and what is never to happen would pass, whatever goes by.

local check = require "nslua.check"
local core = require "nslua.core"
local errors = require "nslua.error"

local M = {}

local function integer(value)
  return math.type(value) and math.tointeger(value), "a number"
end

local function one_type(name, what)
  return function(value)
    return type(value) == name and value or nil, what
  end
end
local boolean, text = one_type("boolean", "true or false"), one_type("string", "a text")

local function lladdr(value)
  return type(value) == "string" and value:match("^" .. ("%x%x:"):rep(5) .. "%x%x$") and value:lower(), "an Ethernet address"
end

-- A name stays: it is the addresses of that node.
local function address(size)
  return function(value, lab)
    local bytes = type(value) == "string" and core.inet.bytes(value)
    if bytes then
      return #bytes == size and core.inet.text(bytes), size == 4 and "an address of IPv4" or "an address of IPv6"
    elseif type(value) == "string" and lab.node[value] then
      return value
    end
    return nil, "an address or a node", type(value) == "string" and value:find "^[%a_]" and check.unknown("node", value, lab.node) or nil
  end
end

local letters = "SFRPAUEC" -- in the order in which a packet has them

local function flags(value)
  if type(value) ~= "string" or value:find("[^" .. letters .. "]") then
    return nil, "letters of " .. letters
  end
  return (letters:gsub(".", function(letter)
    return value:find(letter, 1, true) and letter or ""
  end))
end

local function either(words)
  return function(value)
    local n = integer(value)
    if n then
      return words[n] or n
    end
    for _, word in pairs(words) do
      if word == value then
        return word
      end
    end
    return nil, "a number or one of those that have a name", type(value) == "string" and check.unknown("word", value, words) or nil
  end
end

local function kind(value)
  return type(value) == "string" and value:upper() or nil, "a text such as \"AAAA\""
end

local ipv4, ipv6 = address(4), address(16)

-- All others are numbers.
local kinds = {
  eth = { src = lladdr, dst = lladdr },
  arp = { op = either { "request", "reply" }, sender = lladdr, sender_ip = ipv4, target = lladdr, target_ip = ipv4 },
  ip = { src = ipv4, dst = ipv4, dont_fragment = boolean, more_fragments = boolean },
  ip6 = { src = ipv6, dst = ipv6 },
  icmp = { name = text },
  icmp6 = { name = text },
  tcp = { flags = flags },
  dns = { response = boolean, rcode = either { [0] = "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED" }, name = text, type = kind },
}

---The value as a packet has it; a list of them likewise, a function stays.
---@param lab nslua.Lab
---@param call string
---@param header string
---@param field string
---@param value any
---@return any
function M.of(lab, call, header, field, value)
  if type(value) == "function" then
    return value
  elseif type(value) == "table" then
    local out = {}
    for i, one in ipairs(value) do
      out[i] = M.of(lab, call, header, field, one)
    end
    return out
  end
  local is, what, more = (kinds[header] and kinds[header][field] or integer)(value, lab)
  if is == nil or is == false and value ~= false then
    errors.misuse("%s: %s.%s: %s expected, got %s%s", call, header, field, what, type(value) == "string" and ("%q"):format(value) or tostring(value),
      more and ": " .. more or "")
  end
  return is
end

return M
