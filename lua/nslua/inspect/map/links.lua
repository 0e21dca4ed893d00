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

local function tunnel(row, ids)
  local kind, at, lower = row.kind, row.link_netnsid, row.link_index
  local has = row[kind] or {}
  local dev = has.dev_index or at == nil and lower ~= 0 and lower or nil
  return { id = has.id or has.key or has.okey or has.if_id, local_ = has.local_, remote = has.remote, group = has.group, port = has.port,
    nsid = at, netns = at and ids[at] or nil, underlay = (has.dev or dev) and { link = has.dev, index = dev } or nil }
end

local function read(row, ids)
  local kind, lower, at = row.kind, row.link_index, row.link_netnsid
  local out = { index = row.index, name = row.name, kind = kind, mtu = row.mtu, up = row.up, carrier = row.carrier, operstate = row.operstate,
    address = row.address, master_index = row.master_index, alias = row.alias, altnames = row.altnames, addresses = {} }
  if kind == nil then
    out.kind = row.link_type == "loopback" and "loopback" or nil
  elseif lower and lower ~= 0 and (PEER[kind] or LOWER[kind]) then
    out[PEER[kind] and "peer" or "lower"] = { netns = at and ids[at], nsid = at, index = lower }
  end
  return out
end

-- What the dumps of a namespace say. `target`: its id where `handle` is; nil: it is that itself.
local function fill(space, handle, target, ids)
  local filter = target and { target_nsid = target } or nil
  local names, by_index, links, n, tunnels = {}, {}, {}, 0, nil
  for row in handle.link:each(filter) do
    local each = read(row, ids)
    n = n + 1
    links[n], by_index[each.index], names[each.index] = each, each, each.name
    if TUNNEL[each.kind] then
      tunnels = tunnels or {}
      tunnels[each] = tunnel(row, ids)
    end
  end
  for i = 1, n do
    local each = links[i]
    local master = each.master_index
    each.master = master and names[master] or nil
  end
  for each, has in pairs(tunnels or {}) do
    local over = has.underlay
    if over then
      over.link = over.link or names[over.index]
    end
    each.tunnel = has
  end
  for row in handle.address:each(filter) do
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
          local handle <close> = namespaces.enterable(namespaces.open(home))
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
      space.gone = not done and not kept[i] or nil
    end
    if not done and kept[i] then -- without rights over it, but perhaps with a way into it
      namespaces.enterable(kept[i])
      done, why = pcall(fill, space, kept[i], nil, {})
      alone[space] = done and kept[i] or nil
      if not done then
        kept[i]:close()
      end
    end
    if not done and not space.gone then
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
