-- Sysctls of a namespace that are not what a new one has.

local core = require "nslua.core"
local ns = require "nslua"

local M = {}

local ROOT, MOST = "/proc/sys/net", 65536

-- What says of itself what it is, not what was set.
local measured = { ["net.netfilter.nf_conntrack_count"] = true, ["net.ipv4.tcp_fastopen_key"] = true, ["net.ipv4.tcp_ehash_entries"] = true,
  ["net.ipv4.udp_hash_entries"] = true }

-- All files below net/, with their texts: in a process that is inside, so that each is one open and read.
local function walk()
  local out = {}
  local function folder(path, name)
    for _, entry in ipairs(core.file.list(path) or {}) do
      local text = core.foreign.read(path, entry, MOST)
      local full = name .. "." .. entry:gsub("%.", "/") -- as sysctl(8) writes the device eth0.100
      if text then
        out[full] = text:gsub("%s+$", ""):gsub("%s+", " ")
      elseif core.file.list(path .. "/" .. entry) then
        folder(path .. "/" .. entry, full)
      end
    end
  end
  folder(ROOT, "net")
  return out
end

---Every sysctl of a namespace.
---@param handle nslua.Netns
---@return table<string, string>  "net.ipv4.ip_forward" -> "1"
function M.sysctls(handle)
  local current <close> = ns.netns.current()
  local process <close> = handle == current and ns.fork(walk) or handle:fork(walk)
  return (process:result())
end

local function fresh()
  local ok, made = pcall(ns.netns.new)
  if not ok then
    local userns <close> = ns.userns.new { map_users = "root" }
    made = ns.netns.new { userns = userns }
  end
  local handle <close> = made
  return M.sysctls(handle)
end

---Sysctls that differ from those of a new namespace, which is made for that; those of a device are compared with what a new device would get.
---What a device has from its namespace's own default is not told again.
---@param handle nslua.Netns
---@return { name: string, value: string, default: string }[]
function M.unusual_sysctls(handle)
  local here, new = M.sysctls(handle), fresh()
  local out = {}
  for name, value in pairs(here) do
    local tree, device, key = name:match "^(net%.ipv[46]%.%a+)%.([^.]+)%.([^.]+)$"
    local default = new[name]
    if not default and tree then
      default = new[("%s.default.%s"):format(tree, key)]
      if here[("%s.default.%s"):format(tree, key)] == value or key == "mtu" then
        default = nil
      end
    end
    local forwarding = key == "forwarding" and device ~= "all" and tree == "net.ipv4.conf" or name == "net.ipv4.conf.all.forwarding"
    if default and default ~= value and not measured[name] and not forwarding then -- net.ipv4.ip_forward says that
      out[#out + 1] = { name = name, value = value, default = default }
    end
  end
  table.sort(out, function(a, b)
    return a.name < b.name
  end)
  return out
end

return M
