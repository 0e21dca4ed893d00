-- The links of every namespace, with their addresses. All are asked of one socket: it is in an empty namespace that has an id for each of the
-- others, so that no thread has to enter them, and the far end of a veth is known by the same ids. rtnetlink(7), IFLA_TARGET_NETNSID

local errors = require "nslua.error"
local namespaces = require "nslua.inspect.map.namespaces"
local netns = require "nslua.netns"
local core = require "nslua.core"

local M = {}

-- Kinds that stand upon another link: what `link_index` is of them.
local LOWER = { vlan = true, macvlan = true, macvtap = true, ipvlan = true, ipvtap = true, macsec = true, dsa = true }
local PEER = { veth = true, netkit = true }
local TUNNEL = { vxlan = true, geneve = true, gre = true, gretap = true, ip6gre = true, ip6gretap = true, erspan = true, ipip = true, sit = true,
  ip6tnl = true, vti = true, vti6 = true, xfrm = true, wireguard = true, gtp = true, bareudp = true }
M.TUNNEL = TUNNEL

local function tunnel(row, names)
  local kind = row.kind
  local has = row[kind] or {}
  local dev = has.dev_index or (has.dev == nil and row.link_netnsid == nil and row.link_index ~= 0 and row.link_index) or nil
  return { id = has.id or has.key or has.okey or has.if_id, local_ = has.local_, remote = has.remote, group = has.group, port = has.port,
    underlay = (has.dev or dev) and { link = has.dev or names[dev], index = dev } or nil }
end

local function read(row, names, ids)
  local index, kind, lower, at = row.index, row.kind, row.link_index, row.link_netnsid
  local out = { index = index, name = row.name, kind = kind, mtu = row.mtu, up = row.up, carrier = row.carrier, operstate = row.operstate,
    address = row.address, master_index = row.master_index, alias = row.alias, altnames = row.altnames, addresses = {} }
  if kind == nil then
    out.kind = row.link_type == "loopback" and "loopback" or nil
  elseif PEER[kind] then
    if lower and lower ~= 0 then
      out.peer = { netns = at and ids[at], nsid = at, index = lower }
    end
  elseif LOWER[kind] then
    out.lower = lower and { netns = at and ids[at], nsid = at, index = lower } or nil
  elseif TUNNEL[kind] then
    out.tunnel = tunnel(row, names)
    out.tunnel.nsid, out.tunnel.netns = at, at and ids[at] or nil
  end
  return out
end

-- What the dumps of a namespace say. `target`: its id where `handle` is; nil: it is that itself.
local function fill(space, handle, target, ids)
  local filter = target and { target_nsid = target } or nil
  local names, by_index, links = {}, {}, {}
  local rows, addresses = handle.link:list(filter), handle.address:list(filter)
  for i = 1, #rows do
    local row = rows[i]
    names[row.index] = row.name
  end
  for i = 1, #rows do
    local each = read(rows[i], names, ids)
    each.master = each.master_index and names[each.master_index] or nil
    links[i], by_index[each.index] = each, each
  end
  for i = 1, #addresses do
    local row = addresses[i]
    local of = by_index[row.dev_index]
    if of then -- else it has come since
      local list = of.addresses
      list[#list + 1] = row.address
    end
  end
  space.links = links
end

local function scratch()
  local ok, handle = pcall(netns.new)
  return ok and handle or nil
end

-- Namespaces that were asked from within: who an id is of, among those that have a link with that index which points back.
local function resolve(spaces, alone)
  local ends = {}
  for _, space in ipairs(spaces) do
    for _, each in ipairs(space.links) do
      local far = each.peer or each.lower
      if far and each.peer then
        local key = each.index .. ":" .. far.index
        ends[key] = ends[key] or {}
        table.insert(ends[key], space)
      end
    end
  end
  for space, handle in pairs(alone) do
    local known = {}
    for _, each in ipairs(space.links) do
      local far = each.peer or each.lower or each.tunnel
      local id = far and not far.netns and far.nsid
      if id and known[id] == nil then
        known[id] = false
        for _, other in ipairs(each.peer and ends[far.index .. ":" .. each.index] or spaces) do
          local there <close> = other ~= space and namespaces.open(other) or nil
          local ok, found = pcall(function()
            return there and handle:nsid_of(there)
          end)
          if ok and found == id then
            known[id] = other.inode
            break
          end
        end
      end
      if id then
        far.netns = known[id] or nil
      end
    end
  end
end

-- Which link carries a tunnel that names none: the one that has its own address, else the one that the route to the other end leaves by.
local function underlay(space, by_inode)
  for _, each in ipairs(space.links) do
    local has = each.tunnel
    if has and not (has.nsid and not has.netns) and (has.local_ or has.remote or has.group) then
      local home = has.netns and by_inode[has.netns] or space
      local found = has.underlay
      for _, other in ipairs(home.links) do
        for _, address in ipairs(not found and has.local_ and other.addresses or {}) do
          found = found or address:match "^[^/]*" == has.local_ and { link = other.name, index = other.index } or nil
        end
      end
      if not found and has.remote then
        local ok, route = pcall(function()
          local handle <close> = namespaces.open(home)
          local row = handle.route:lookup { has.remote }
          return { link = row.dev, index = row.dev_index }
        end)
        found = ok and route.link and route or nil
      end
      if found then
        found.netns = home.inode
        has.underlay = found
      end
    end
  end
end

---Put in the links of every namespace.
---@param spaces nslua.map.Namespace[]
---@return string[] missed  namespaces that could not be looked at, and why
function M.fill(spaces)
  local missed, ids, by_inode, alone = {}, {}, {}, {}
  local from = scratch()
  local nsid = from and require "nslua.rtnl.nsid"
  local mine = from and from.inode
  local kept = {}
  for i, space in ipairs(spaces) do
    by_inode[space.inode] = space
    local handle = space.inode ~= mine and namespaces.open(space) or nil
    if handle and from and pcall(nsid.set, from, handle, i - 1) then
      ids[i - 1] = space.inode
      kept[i] = false
      handle:close()
    else
      kept[i] = handle or nil
      if not handle then
        space.error = "it could not be opened"
      end
    end
  end
  for i, space in ipairs(spaces) do
    local done, why
    if kept[i] == false then
      done, why = pcall(fill, space, from, i - 1, ids)
      kept[i] = not done and namespaces.open(space) or nil
    end
    if not done and kept[i] then -- without rights over it, but perhaps with a way into it
      done, why = pcall(fill, space, kept[i], nil, {})
      alone[space] = done and kept[i] or nil
      if not done then
        kept[i]:close()
      end
    end
    if not done then
      space.error = space.error or (errors.is(why) and (why.message or core.strerror(why.errno)) or tostring(why))
      missed[#missed + 1] = ("%s: %s"):format(space.title, space.error)
    end
  end
  if next(alone) then
    resolve(spaces, alone)
    for _, handle in pairs(alone) do
      handle:close()
    end
  end
  if from then
    from:close()
  end
  for _, space in ipairs(spaces) do
    for _, each in ipairs(space.links) do
      local far = each.peer or each.lower
      if far then
        far.netns = far.netns or not far.nsid and space.inode or nil
        far.nsid = nil
      end
    end
  end
  for _, space in ipairs(spaces) do
    underlay(space, by_inode)
  end
  return missed
end

return M
