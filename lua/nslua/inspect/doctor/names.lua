-- The name servers that a namespace is told of: whether they can be asked at all, which others there are, and how the file is mended.

local etc = require "nslua.inspect.etc"
local expected = require "nslua.inspect.doctor.expected"
local procfs = require "nslua.procfs"

local M = {}

local PORT = 53
local STUB, EMBEDDED = "127.0.0.53", "127.0.0.11" -- systemd-resolved(8); docker's own, in networks that users made

---Whether the file that was read is the namespace's: that of a container, a node, a name with /etc/netns/NAME, or of this machine where this is its
---network. Others have this machine's file by habit, which says little.
---@param target nslua.doctor.Snapshot
---@return boolean? own  nil: it is not known here
function M.is_own(target)
  local handle = target.handle
  if rawget(handle, "node_name") then
    local plan, lab = handle.plan, handle.lab
    if plan.container or plan.existing or lab.is_open_copy and not rawget(handle, "resolv_conf") then
      return nil
    end
    return true
  end
  return rawget(handle, "container") ~= nil and not handle.host_network
    or target.resolv.pid ~= nil or target.resolv.path:find "^/etc/netns/" ~= nil or handle.inode == target.examination.spaces.here
end

local function listens_on(space, ip)
  for _, row in ipairs(space:listening()) do
    if row.proto == "udp" and row.sport == PORT and expected.hears(row, ip) then
      return row
    end
  end
end

-- The port that the namespace's own rules lead a loopback address to; nil where they do not.
local function led(target, ip)
  for _, rule in ipairs(target.firewall.rules) do
    local to, proto = rule.nat, rule.match.proto
    if to and to.port and (not proto or proto[1] == "udp") and (to.type == "dnat" or to.type == "redirect")
      and (to.address == nil or to.address == ip) then
      local dst, dport = rule.match.dst, rule.match.dport
      if (not dst or dst[1] == ip or dst[1] == ip .. "/32") and (not dport or tonumber(dport[1]) == PORT) then
        return math.tointeger(tonumber(to.port))
      end
    end
  end
end

-- UDP sockets on an address, whatever their port.
local function sockets_on(target, ip)
  local out = {}
  for _, row in ipairs(target:listening()) do
    if row.src == ip and row.sport ~= PORT then
      out[row.proto] = row.sport
    end
  end
  return out
end

---What keeps a server from being asked: evidence, and what mends it where that is no other server.
---@param target nslua.doctor.Snapshot
---@param ip string
---@return string? problem
---@return string[]? evidence
---@return string? fix
function M.wrong(target, ip)
  if not expected.is_loopback(ip) then
    local row, code = target:lookup((ip:gsub("%%.*$", "")))
    if not row and not ip:find "%%" then
      return ("there is no way to the name server %s"):format(ip), { ("a packet to %s: %s (rtnetlink route)"):format(ip, code) }
    end
    return nil
  end
  local port = led(target, ip)
  if listens_on(target, ip) or port and sockets_on(target, ip).udp == port then
    return nil
  end
  local evidence = { ("no UDP socket has %s port 53 (sock_diag)"):format(ip) }
  if ip == STUB then
    evidence[2] = "it is the address of systemd-resolved on the machine: in here it is the namespace's own loopback"
  end
  local there = sockets_on(target, ip)
  if there.udp and not port then
    -- who serves is there, as docker's is, and the rules that lead to it are gone
    evidence[2] = ("who serves has %s port %d, and no rule leads there (sock_diag, nf_tables)"):format(ip, there.udp)
    local words = { "add table ip nslua_dns; add chain ip nslua_dns output { type nat hook output priority -100; }" }
    for _, proto in ipairs { "udp", "tcp" } do
      if there[proto] then
        words[#words + 1] = ("add rule ip nslua_dns output ip daddr %s %s dport 53 dnat to %s:%d"):format(ip, proto, ip, there[proto])
      end
    end
    return ("nothing leads to the name server %s"):format(ip), evidence, ip == EMBEDDED and ("nft '%s'"):format(table.concat(words, "; ")) or nil
  end
  return ("nobody serves at the name server %s"):format(ip), evidence
end

---Who else could be asked, the nearest first: who serves on the links, or in the lab; then what this machine asks.
---@param target nslua.doctor.Snapshot
---@return { ip: string, words: string }[]
function M.others(target)
  local out, seen = {}, {}
  for _, ip in ipairs(target.resolv.servers) do
    seen[ip] = true
  end
  local function add(ip, words)
    if not seen[ip] and not expected.is_loopback(ip) and not ip:find "^fe80:" and target:lookup(ip) then
      seen[ip] = true
      out[#out + 1] = { ip = ip, words = words }
    end
  end
  local spaces = {}
  for _, space in ipairs(target.around) do
    spaces[#spaces + 1] = space
  end
  local node = rawget(target.handle, "node_name")
  for _, each in ipairs(node and target.handle.lab.nodes or {}) do
    if rawget(each, "fd") then
      spaces[#spaces + 1] = target.examination:of(each)
    end
  end
  for _, space in ipairs(spaces) do
    for _, row in ipairs(space ~= target and space.addresses or {}) do
      local ip = row.address:match "^[^/]+"
      if listens_on(space, ip) then
        add(ip, ("%s serves at %s port 53 (sock_diag)"):format(space.title, ip))
      end
    end
  end
  for _, path in ipairs(node and {} or { "/run/systemd/resolve/resolv.conf", "/etc/resolv.conf" }) do
    for _, ip in ipairs(etc.parse_resolv(procfs.read(path) or "").servers) do
      add(ip, ("this machine asks %s (%s)"):format(ip, path))
    end
  end
  return out
end

---How another server is named in the file of a namespace: fields of a finding.
---@param target nslua.doctor.Snapshot
---@param ip string
---@return { fix: string?, here: boolean?, command: string? }
function M.mend(target, ip)
  local handle = target.handle
  local text = ("printf 'nameserver %s\\n' > "):format(ip)
  if rawget(handle, "node_name") then -- its programs have the file from the script
    return { command = ("lab.node[%q]:set_resolv_conf(%q)"):format(handle.node_name, "nameserver " .. ip):gsub('"%)$', '\\n")') }
  elseif (rawget(handle, "container") or target.resolv.pid) and target.enter then
    local inside = (text .. "/etc/resolv.conf"):gsub("'", "'\\''")
    return { here = true, fix = ("nslua %s sh -c '%s'"):format((target.enter:gsub("^enter ", "enter -a ")), inside) }
  elseif handle.inode == target.examination.spaces.here then
    return { fix = text .. "/etc/resolv.conf" }
  elseif rawget(handle, "name") and handle.name:find "^[%w_.-]+$" then
    return { here = true, fix = ("mkdir -p /etc/netns/%s && %s/etc/netns/%s/resolv.conf"):format(handle.name, text, handle.name) }
  end
  return {}
end

---The namespace that has an address, of those that can be seen.
---@param target nslua.doctor.Snapshot
---@param ip string
---@return nslua.doctor.Snapshot?
function M.owner(target, ip)
  local node = rawget(target.handle, "node_name")
  for _, each in ipairs(node and target.handle.lab.nodes or {}) do
    if rawget(each, "fd") and target.examination:of(each):has_address(ip) then
      return target.examination:of(each)
    end
  end
  for _, space in ipairs(target.around) do
    if space:has_address(ip) then
      return space
    end
  end
end

M.listens_on = listens_on

return M
