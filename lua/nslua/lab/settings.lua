-- Sysctls of a lab's namespaces: the same on every machine. A new namespace takes its IPv4 settings from the machine's own (ip-sysctl.rst,
-- devconf_inherit_init_net), where docker, systemd or an administrator changed them; what differs from the kernel's defaults is put right.

local core = require "nslua.core"
local errors = require "nslua.error"
local keeper = require "nslua.keeper"
local namespace = require "nslua.namespace"

local M = {}

-- What a kernel that nobody touched has, of all and of links to come.
local both = { forwarding = "0", rp_filter = "0", accept_redirects = "1", send_redirects = "1", secure_redirects = "1", shared_media = "1",
  proxy_arp = "0", arp_ignore = "0", arp_announce = "0", arp_accept = "0", route_localnet = "0", log_martians = "0" }

---@type table<string, string>  path below /proc/sys/net to what it shall be
local baseline = { ["ipv4/conf/all/accept_source_route"] = "0", ["ipv4/conf/default/accept_source_route"] = "1" }
for word, value in pairs(both) do
  baseline["ipv4/conf/all/" .. word], baseline["ipv4/conf/default/" .. word] = value, value
end

local ROOT = "/proc/sys/net/"
local CONGESTION = "ipv4/tcp_congestion_control"

local function read(handle, path)
  local ok, text = pcall(handle.read, handle, ROOT .. path)
  return ok and text:gsub("%s+$", "") or nil
end

-- The default is the machine's (bbr, where somebody chose it), and it decides what a stream does.
local function congestion(handle)
  local allowed = " " .. (read(handle, "ipv4/tcp_allowed_congestion_control") or "reno") .. " "
  return allowed:find(" cubic ", 1, true) and "cubic" or "reno"
end

-- Where br_netfilter is loaded, as docker does, a new bridge has all that it forwards looked at by the rules of iptables, which no switch does.
local BRIDGE = "bridge/bridge-nf-call-"

local FAR = 60 -- routers: with more of them in a row packets would not live long enough

---What every namespace of a lab needs to be told, as one of them is when it is new.
---@param handle nslua.Netns  a new one
---@param plan nslua.lab.Plan
---@return table<string, string>
function M.common(handle, plan)
  local out = {}
  for path, value in pairs(baseline) do
    local has = read(handle, path)
    if has and has ~= value then
      out[path] = value
    end
  end
  local algorithm = congestion(handle)
  if read(handle, CONGESTION) ~= algorithm then
    out[CONGESTION] = algorithm
  end
  local routers = 0
  for _, node in ipairs(plan.nodes) do
    routers = routers + (node.kind == "router" and 1 or 0)
  end
  if routers >= FAR then
    out["ipv4/ip_default_ttl"], out["ipv6/conf/default/hop_limit"] = "255", read(handle, "ipv6/conf/default/hop_limit") and "255"
  end
  -- an address is its owner's at once: nobody else can have it, and waiting takes a second and a half; and nobody advertises routers
  for _, path in ipairs { "ipv6/conf/default/accept_dad", "ipv6/conf/default/router_solicitations" } do
    out[path] = read(handle, path) and "0"
  end
  for _, word in ipairs { "iptables", "ip6tables", "arptables" } do
    local has = read(handle, BRIDGE .. word)
    out[BRIDGE .. word] = has and has ~= "0" and "0" or nil
  end
  return out
end

local function path_of(name)
  local path = name:match "^net[./](.+)$"
  if not path or path:find("..", 1, true) then
    errors.misuse("lab: sysctl %q is not of a network namespace: names begin with \"net.\"", name)
  end
  return name:match "[./]" == "." and path:gsub("[./]", { ["."] = "/", ["/"] = "." }) or path
end

---What one node is told: what is common, what its kind needs, and what the lab says of it.
---@param common table<string, string>
---@param node nslua.lab.PlanNode
---@param said? table<string, any>  { ["net.ipv4.ip_forward"] = 0 }
---@return { [1]: string, [2]: string }[]  path and text, in the order to be written
function M.of(common, node, said)
  local all = {}
  for path, value in pairs(common) do
    all[path] = (node.kind == "switch" or path:sub(1, #BRIDGE) ~= BRIDGE) and value or nil
  end
  local with_ipv6 = common["ipv6/conf/default/accept_dad"]
  if node.kind == "router" then
    all["ipv4/conf/all/forwarding"], all["ipv4/conf/default/forwarding"] = "1", "1"
    all["ipv6/conf/all/forwarding"] = with_ipv6 and "1"
  end
  if not node.inet6 then -- nor has a switch any
    all["ipv6/conf/default/disable_ipv6"] = with_ipv6 and "1"
  end
  for name, value in pairs(said or {}) do
    if type(value) == "boolean" then
      value = value and "1" or "0"
    elseif type(value) == "number" then
      value = ("%d"):format(value)
    elseif type(value) ~= "string" then
      errors.misuse("lab: %s: sysctl %s must be text, a number or a boolean, got %s", node.name, tostring(name), type(value))
    end
    all[path_of(name)] = value
  end
  local paths, out = {}, {}
  for path in pairs(all) do
    paths[#paths + 1] = path
  end
  table.sort(paths)
  for i, path in ipairs(paths) do
    out[i] = { ROOT .. path, all[path] .. "\n" }
  end
  return out
end

-- As many writes as one errand takes along.
local MOST = 500

---Write them.
---@param list { [1]: nslua.lab.Node, [2]: table }[]  nodes and what M.of gave
---@param userns nslua.Namespace?  that the namespaces are of
function M.write(list, userns)
  if not userns then
    for _, each in ipairs(list) do
      -- what is not there is passed over: a kernel without IPv6, or without that setting
      local ok, message, errno = core.namespace.write_all(namespace.fd_of(each[1], "lab"), each[2])
      if not ok then
        errors.check("lab", { netns = each[1]:describe() }, ok, message, errno)
      end
    end
    return
  end
  local all = {}
  for _, each in ipairs(list) do
    local fd = namespace.fd_of(each[1], "lab")
    for _, write in ipairs(each[2]) do
      all[#all + 1] = { fd, write[1], write[2] }
    end
  end
  for first = 1, #all, MOST do
    keeper.write(userns.fd, table.move(all, first, math.min(first + MOST - 1, #all), 1, {}), "lab")
  end
end

return M
