-- The files of /etc that a namespace has for names: /etc/netns/NAME/resolv.conf stands before /etc/resolv.conf. ip-netns(8), resolv.conf(5), hosts(5)

local core = require "nslua.core"
local procfs = require "nslua.procfs"

local M = {}

-- The text of the file that applies, and its path.
local function read(handle, file)
  local of_node = handle.etc_file -- a node of a lab has its own
  if of_node then
    return of_node(handle, file), "/etc/" .. file
  end
  local name = rawget(handle, "name")
  local own = name and ("/etc/netns/%s/%s"):format(name, file)
  local text = own and procfs.read(own)
  if text then
    return text, own
  end
  return procfs.read("/etc/" .. file) or "", "/etc/" .. file
end

local SERVERS = 3 -- MAXNS: no libc asks more

---@class nslua.ResolvConf
---@field servers string[]  addresses: of the first three, as no more are asked
---@field search string[]
---@field ndots integer
---@field path string

---@param text string
---@return nslua.ResolvConf
function M.parse_resolv(text)
  local out = { servers = {}, search = {}, ndots = 1 }
  for line in text:gmatch "[^\n]+" do
    local word, rest = line:match "^(%a+)[ \t]+(.*)$"
    if word == "nameserver" then
      local address = rest:match "^%S+"
      if #out.servers < SERVERS and address and core.inet.bytes((address:gsub("%%.*", ""))) then
        out.servers[#out.servers + 1] = address
      end
    elseif word == "search" or word == "domain" then
      out.search = {}
      for domain in rest:gmatch "%S+" do
        out.search[#out.search + 1] = domain
      end
    elseif word == "options" then
      local n = (" " .. rest):match "%sndots:(%d+)"
      out.ndots = n and math.min(tonumber(n), 15) or out.ndots
    end
  end
  return out
end

---@param handle nslua.Netns
---@return nslua.ResolvConf
function M.resolv(handle)
  local text, path = read(handle, "resolv.conf")
  local out = M.parse_resolv(text)
  out.path = path
  return out
end

---Addresses of a name in the hosts file that applies.
---@param handle nslua.Netns
---@param name string
---@return string[]
function M.hosts(handle, name)
  local out = {}
  name = name:lower()
  for line in read(handle, "hosts"):gmatch "[^\n]+" do
    local address, names = line:gsub("#.*", ""):match "^%s*(%S+)%s+(.*)$"
    if address and core.inet.bytes(address) then
      for word in names:gmatch "%S+" do
        if word:lower() == name then
          out[#out + 1] = address
        end
      end
    end
  end
  return out
end

return M
