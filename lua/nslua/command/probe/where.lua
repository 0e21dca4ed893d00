-- From where and to whom the probes of commands go: namespaces and containers by name, addresses, host names as they are known inside.

local core = require "nslua.core"
local errors = require "nslua.error"
local ns = require "nslua"
local place = require "nslua.command.cli.place"
local resolvers = require "nslua.resolvers"
local target = require "nslua.inspect.target"

local M = {}

---Open where probes start: a container, a namespace, several with commas between them; "." is that of this command.
---@param words string
---@param usage string  what is said where it is missing
---@return { name: string, handle: nslua.Netns }[]  to be closed
function M.sources(words, usage)
  local out = setmetatable({}, { __close = function(list)
    for _, each in ipairs(list) do
      each.handle:close()
    end
  end })
  local ok, e = pcall(function()
    for word in (words or ""):gmatch "[^,]+" do
      out[#out + 1] = { name = word, handle = place.open(word, true) }
    end
  end)
  if not ok then
    getmetatable(out).__close(out)
    if core.inet.bytes(words) or errors.is(e, "ENOENT") and (words:find "[%./]" or words:find ":%d") and not words:find "^/" then
      errors.misuse("'%s' is no container or namespace; the first word says from where, . stands for this namespace: %s", words, usage)
    end
    error(e, 0)
  elseif not out[1] then
    errors.misuse("where? A container or a namespace is needed, or . for that of this command: %s", usage)
  end
  return out
end

-- Whether the first `bits` bits of two addresses are the same.
local function alike(a, b, bits)
  local whole, rest = bits // 8, bits % 8
  return a:sub(1, whole) == b:sub(1, whole) and (rest == 0 or a:byte(whole + 1) >> (8 - rest) == b:byte(whole + 1) >> (8 - rest))
end

-- An address of another namespace, at best one of a network that both are in.
local function address_in(handle, other, family)
  local first
  for _, wanted in ipairs(family and { family } or { "inet", "inet6" }) do
    if handle == other then
      return wanted == "inet" and "127.0.0.1" or "::1"
    end
    for _, row in ipairs(other.address:list { family = wanted, scope = "global" }) do
      local text = row.address:match "^[^/]*"
      local ip = core.inet.bytes(text)
      first = first or text
      for _, own in ipairs(handle.address:list { family = wanted, scope = "global" }) do
        local mine, bits = own.address:match "^([^/]*)/(%d+)$"
        if mine and alike(core.inet.bytes(mine), ip, tonumber(bits)) then
          return text
        end
      end
    end
  end
  return first
end

-- The address of a container by its name; nil where there is none.
local function of_container(handle, call, word, family)
  local prefix = word:match "^(%w+):"
  local known = prefix and (resolvers[prefix] or prefix == "pid" or prefix == "netns")
  local ok, other
  if prefix == "netns" then
    ok, other = pcall(ns.netns.open, (word:gsub("^netns:", "")))
  else
    ok, other = pcall(place.open, word, word == ".")
  end
  if not ok then
    if known or not errors.is(other, "ENOENT") then
      error(other, 0)
    end
    return nil
  end
  local closer <close> = other -- luacheck: ignore
  local address = address_in(handle, other, family)
  if not address then
    errors.raise { call = call, errno = core.errno.ENOENT, message = ("%s has no address%s"):format(other:describe(),
      family and " of " .. (family == "inet" and "IPv4" or "IPv6") or "") }
  end
  return address, other:describe()
end

---The address that a word stands for, seen from a namespace: an address, a host name as a program inside would find it, else another container's
---name. Raises where there is none.
---@param handle nslua.Netns
---@param word string
---@param family? "inet"|"inet6"
---@return string address
---@return string? container  whose it is, where no resolver knows the word
function M.address(handle, word, family)
  local prefix = word:match "^(%l+):"
  if word == "." or prefix and (resolvers[prefix] or prefix == "pid" or prefix == "netns") then
    return of_container(handle, "address", word, family)
  end
  local ok, t = pcall(target.resolve, handle, "address", word, { family = family })
  if ok then
    return t.scope > 0 and ("%s%%%d"):format(t.address, t.scope) or t.address
  elseif errors.is(t, "ENOENT") or type(t) == "string" and t:find "no host name" and word ~= "" then
    local address, whose = of_container(handle, "address", word, family)
    if address then
      return address, whose
    end
  end
  if type(t) == "string" then
    errors.misuse("%s", (t:gsub("^address: ", ""):gsub(" of inet$", " of IPv4"):gsub(" of inet6$", " of IPv6")))
  end
  error(t, 0)
end

local MOST = 65536

---The ports of "80", "80,443", "8000-8010".
local function ports(text, word)
  local out = {}
  for part in (text .. ","):gmatch "([^,]*)," do
    local first, last = part:match "^(%d+)%-(%d+)$"
    first = math.tointeger(tonumber(first or part:match "^%d+$" or 0))
    last = math.tointeger(tonumber(last or first))
    if not first or first < 1 or last > 65535 or last < first then
      errors.misuse("'%s': a port is a number from 1 to 65535: db:5432, db:80,443, db:8000-8010", word)
    end
    for port = first, last do
      out[#out + 1] = port
    end
    if #out > MOST then
      errors.misuse("'%s': too many ports", word)
    end
  end
  return out
end

---Read "db:5432", "[fd00::2]:80", "docker:db:80,443".
---@param word string
---@return string host
---@return integer[] ports
function M.host_and_ports(word)
  local host, rest = word:match "^%[([%x:.%%%w]+)%]:([%d,-]+)$"
  if not host then
    host, rest = word:match "^(.+):([%d,-]+)$"
    local prefix = host and host:match "^(%l+):"
    if core.inet.bytes(word) and word:find(":", 1, true) or host and host:find(":", 1, true) and not (prefix and (resolvers[prefix] or prefix == "pid"
      or prefix == "netns")) then
      errors.misuse("'%s': an address of IPv6 stands in brackets before its port: [fd00::2]:80", word)
    end
  end
  if not host then
    errors.misuse("'%s': a target and its port are needed: db:5432", word)
  end
  return host, ports(rest, word)
end

---The families that were asked for, each of which is probed: { false } where that is left to the name.
---@param o table  options: ipv4, ipv6
---@return ("inet"|"inet6"|false)[]
function M.families(o)
  local out = {}
  out[#out + 1] = o.ipv4 and "inet" or nil
  out[#out + 1] = o.ipv6 and "inet6" or nil
  return out[1] and out or { false }
end

return M
