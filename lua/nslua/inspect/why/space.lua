-- What a walk needs to know of a network namespace, read once; and the namespaces that its links lead to.

local container = require "nslua.container"
local core = require "nslua.core"
local errors = require "nslua.error"
local namespace = require "nslua.namespace"
local netrow = require "nslua.netrow"
local netns = require "nslua.netns"
local passers = require "nslua.inspect.look.passers"

local M = {}

---@class nslua.why.Space
---@field handle nslua.Netns
---@field label string
---@field inode integer
local Space = {}
Space.__index = Space

local FIELDS = { "index", "name", "kind", "mtu", "up", "carrier", "address", "master", "link_index", "link_netnsid", "link_type", "port", "bridge",
  "qdisc" }

---Its links, by index and by name.
---@return table[] list
---@return table<integer, table> by_index
---@return table<string, table> by_name
function Space:links()
  if not self.link_list then
    self.link_list, self.by_index, self.by_name = {}, {}, {}
    for row in self.handle.link:each() do
      local link = { space = self, noarp = row.flags.noarp or false, master_index = row.master_index }
      for _, field in ipairs(FIELDS) do
        link[field] = row[field]
      end
      local xdp = row.xdp
      link.xdp = xdp and xdp.attached ~= 0 and (xdp.prog_id or xdp.attached) or nil
      self.link_list[#self.link_list + 1] = link
      self.by_index[link.index], self.by_name[link.name] = link, link
    end
  end
  return self.link_list, self.by_index, self.by_name
end

---@param index integer
---@return table?
function Space:link(index)
  local _, by_index = self:links()
  return by_index[index]
end

-- A collection's rows, as plain tables, read once.
local function rows(self, name, filter)
  local key = name .. "_rows"
  if not self[key] then
    self[key] = {}
    for row in self.handle[name]:each(filter) do
      table.insert(self[key], row:decode())
    end
  end
  return self[key]
end

---@return table[]
function Space:addresses()
  return rows(self, "address")
end

---@return table[]
function Space:neighbours()
  return rows(self, "neighbour")
end

---@return table[]
function Space:rules()
  return rows(self, "rule")
end

---@return table[]
function Space:routes()
  return rows(self, "route")
end

---@return table[]
function Space:fdb()
  return rows(self, "fdb")
end

---What tc(8) has at a device that may take a packet, and programs that read it: as sentences of doubt.
---@param link table
---@param way "ingress"|"egress"
---@return string[]
function Space:classifiers(link, way)
  local key = link.index .. way
  self.classified = self.classified or {}
  if not self.classified[key] then
    local out = {}
    self.classified[key] = out
    self.passers = self.passers or passers.of(self.handle)
    for _, row in ipairs(way == "ingress" and self.passers or {}) do
      if row.dev_index == link.index and not passers.told(row) then
        out[1] = ("a program reads what comes by %s, and may pass it on"):format(link.name)
      end
    end
    for _, q in ipairs(rows(self, "qdisc")) do
      if q.dev_index == link.index and (q.kind == "clsact" or q.kind == "ingress" and way == "ingress") then
        for f in self.handle.filter:each { dev = link.name, parent = way } do
          out[1] = ("a filter of tc at %s (%s, %s) may drop the packet or send it elsewhere"):format(link.name, way, f.kind)
        end
      elseif q.dev_index == link.index and way == "egress" and q.stats and q.stats.drops > 0 and q.stats.backlog > 0 then
        out[#out + 1] = ("the queue at %s (%s) is full, and packets wait or are dropped"):format(link.name, q.kind)
      elseif q.dev_index == link.index and q.kind == "netem" and way == "egress" and (q.netem and q.netem.loss or 0) ~= 0 then
        out[#out + 1] = ("netem at %s loses packets"):format(link.name)
      end
    end
  end
  return self.classified[key]
end

---The row of an address that is one of this namespace.
---@param ip string
---@return table?
function Space:has_address(ip)
  for _, row in ipairs(self:addresses()) do
    if (row.local_ or row.address):match "^[^/]+" == ip then
      return row
    end
  end
end

---A sysctl as a number; nil where there is none.
---@param name string
---@return integer?
function Space:sysctl(name)
  self.sysctls = self.sysctls or {}
  if self.sysctls[name] == nil then
    local ok, value = pcall(self.handle.sysctl, self.handle, name)
    self.sysctls[name] = ok and math.tointeger(tonumber(value)) or false
  end
  return self.sysctls[name] or nil
end

---A sysctl of IPv4 that counts for a device: the larger one of its own and that of all.
---@param dev string
---@param name string
---@return integer
function Space:conf(dev, name)
  return math.max(self:sysctl("net.ipv4.conf.all." .. name) or 0, self:sysctl("net.ipv4.conf." .. dev:gsub("%.", "/") .. "." .. name) or 0)
end

---@class nslua.why.Spaces
local Spaces = {}
Spaces.__index = Spaces

---@return nslua.why.Spaces
function M.new()
  return setmetatable({ by_inode = {}, list = {}, owned = {} }, Spaces)
end

-- Names of containers and of /run/netns, by inode; asked for once.
local function name_of(self, handle)
  local label = rawget(handle, "label") or rawget(handle, "name")
  if label then
    return label
  end
  if not self.names then
    self.names = {}
    local ok, list = pcall(container.list)
    for _, row in ipairs(ok and list or {}) do
      if row.netns and not row.host_network then
        self.names[row.netns] = self.names[row.netns] or row.engine .. " " .. row.name
      end
    end
    for _, row in ipairs(netns.list()) do
      if row.inode then
        self.names[row.inode] = row.name
      end
    end
    local here <close> = netns.current()
    self.names[here.inode] = self.names[here.inode] or "this namespace"
  end
  return self.names[handle.inode] or handle:describe()
end

---The space of a handle.
---@param handle nslua.Netns
---@return nslua.why.Space
function Spaces:of(handle)
  local inode = handle.inode
  if not self.by_inode[inode] then
    local space = setmetatable({ handle = handle, inode = inode, label = (name_of(self, handle):gsub("[%c\127-\159]", "?")) }, Space)
    self.by_inode[inode] = space
    self.list[#self.list + 1] = space
  end
  return self.by_inode[inode]
end

-- Handles of other namespaces, those that this script has open first; then all of the machine.
local function candidates(self, everywhere)
  local out, seen = {}, {}
  for handle in pairs(namespace.live) do
    if handle.type == "net" and rawget(handle, "fd") and not seen[handle.inode] then
      seen[handle.inode] = true
      out[#out + 1] = handle
    end
  end
  if not everywhere then
    return out
  end
  if not self.here then
    self.here = netns.current()
    self.owned[#self.owned + 1] = self.here
    for _, row in ipairs(namespace.list { type = "net" }) do
      local handle = not seen[row.inode] and netrow.open(row)
      if handle then
        seen[row.inode] = true
        out[#out + 1] = handle
        self.owned[#self.owned + 1] = handle
      end
    end
  end
  out[#out + 1] = not seen[self.here.inode] and self.here or nil
  return out
end

---The namespace that has an id in another.
---@param space nslua.why.Space
---@param nsid integer
---@return nslua.why.Space?
function Spaces:by_nsid(space, nsid)
  space.nsids = space.nsids or {}
  for _, everywhere in ipairs { false, true } do
    if space.nsids[nsid] then
      break
    end
    for _, handle in ipairs(candidates(self, everywhere)) do
      local ok, id = pcall(space.handle.nsid_of, space.handle, handle)
      if ok and id and not space.nsids[id] then
        space.nsids[id] = handle
      end
    end
  end
  return space.nsids[nsid] and self:of(space.nsids[nsid])
end

---The other end of a veth, or what a link stands on.
---@param space nslua.why.Space
---@param link table
---@return nslua.why.Space?
---@return table? link
function Spaces:far(space, link)
  local other = space
  if link.link_netnsid then
    other = self:by_nsid(space, link.link_netnsid)
  end
  return other, other and link.link_index and other:link(link.link_index)
end

---Those known that have an address.
---@param ip string
---@return { space: nslua.why.Space, row: table }[]
function Spaces:holders(ip)
  local out = {}
  for _, space in ipairs(self.list) do
    local row = space:has_address(ip)
    out[#out + 1] = row and { space = space, row = row } or nil
  end
  return out
end

---@return true
function Spaces:close()
  for _, handle in ipairs(self.owned) do
    handle:close()
  end
  self.owned = {}
  return true
end
Spaces.__close = Spaces.close

---fn(...), or the code of the error object it raised.
---@return any? value
---@return string? code
function M.try(fn, ...)
  local ok, value = pcall(fn, ...)
  if ok then
    return value
  elseif errors.is(value) then
    return nil, value.code or core.errno[value.errno] or "EIO"
  end
  error(value, 0)
end

return M
