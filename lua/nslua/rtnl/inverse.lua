-- How what a verb did is taken back: each gives, before the verb runs, a function for afterwards.

local device = require "nslua.rtnl.device"
local errors = require "nslua.error"
local kinds = require "nslua.rtnl.kind"
local linkwords = require "nslua.rtnl.linkwords"
local netlink = require "nslua.netlink"
local prefix = require "nslua.rtnl.prefix"
local putback = require "nslua.rtnl.putback"
local schema = require "nslua.schema"

local M = {}

local ABSENT = { absent = "ok" }

local function collection(handle, name)
  return require("nslua.rtnl").collection(handle, name)
end

local restore = putback.restore

---Of functions that take something back: whether it is so already, where they could not make it so.
---@type table<function, fun(): boolean>
M.settled = setmetatable({}, { __mode = "k" })

local function bytes_of(row)
  return row and schema.bytes(row)
end

local function all_bytes(rows, out)
  out = out or {}
  for _, row in ipairs(rows) do
    out[#out + 1] = schema.bytes(row)
  end
  return out
end

-- Whether a route goes over a link, itself or by its nexthop object.
local function over(row, index, name, objects)
  local found = index and row.dev_index == index or objects[row.nhid or 0]
  for _, hop in ipairs(not found and index and row.nexthops or {}) do
    found = found or hop.dev_index == index or hop.dev == name
  end
  return found
end

-- Nexthop objects; a kernel of before 5.3 has none.
local function nexthops(handle)
  local ok, rows = pcall(function()
    return collection(handle, "nexthop"):list()
  end)
  return ok and rows or {}
end

-- What goes away on its own with an address or while a link is down: the addresses of the link, nexthop objects and routes over it, fixed neighbours.
-- id: the same of a nexthop object.
local function surroundings(handle, index, name, id)
  local kept = { index = index, nexthop = {}, route = {} }
  local objects = {}
  for _, row in ipairs(nexthops(handle)) do
    local concerned = row.id == id or index and row.dev_index == index
    for _, member in ipairs(row.members or {}) do
      concerned = concerned or objects[member.id]
    end
    if concerned then
      objects[row.id] = true
      kept.nexthop[#kept.nexthop + 1] = { id = row.id, bytes = schema.bytes(row) }
    end
  end
  local routes, concerned, beside, count = {}, {}, {}, {}
  local object = collection(handle, "route").object
  for row in collection(handle, "route"):each() do
    local bytes = schema.bytes(row)
    local slot = putback.slot(object, bytes)
    routes[#routes + 1] = { slot, bytes }
    count[slot] = (count[slot] or 0) + 1
    if over(row, index, name, objects) then
      -- the kernel's own come back with the address, where others are beside them at another place
      if row.proto ~= "kernel" and row.type ~= "local" then
        concerned[slot] = true
      else
        beside[slot] = true
      end
    end
  end
  for slot in pairs(beside) do
    concerned[slot] = concerned[slot] or count[slot] > 1 or nil
  end
  for _, route in ipairs(routes) do
    kept.route[#kept.route + 1] = concerned[route[1]] and route[2] or nil
  end
  if index then
    kept.address = all_bytes(collection(handle, "address"):list { dev = index })
    kept.neighbour = all_bytes(collection(handle, "neighbour"):list { dev = index, state = "permanent" })
    all_bytes(collection(handle, "neighbour"):list { dev = index, proxy = true }, kept.neighbour)
  end
  return kept
end

-- What has to be done to put it back: functions that do it, each with one that,
-- where that failed, gives another that tells whether it is there in the end.
local function steps_of(handle, kept, moved, down)
  local steps, index = {}, moved and moved.to or kept.index
  local function step(fn, there)
    steps[#steps + 1] = { fn, there }
  end
  local function sequence(name, look, only)
    if kept[name] and kept[name][1] then
      local object = collection(handle, name).object
      step(function()
        putback.sequence(object, handle, kept[name], look, only, moved)
      end, function()
        local missing = putback.missing(object, kept[name], look())
        return function()
          return not putback.missing(object, missing, look())[1]
        end
      end)
    end
  end
  sequence("address", function()
    return all_bytes(collection(handle, "address"):list { dev = index })
  end)
  if down then
    return steps
  end
  for _, old in ipairs(kept.nexthop) do
    local nexthop = collection(handle, "nexthop")
    step(function()
      local now = bytes_of(nexthop:get(old.id))
      if now ~= old.bytes then
        restore(nexthop.object, handle, old.bytes, netlink.CREATE + (now and netlink.REPLACE or netlink.EXCL), moved)
      end
    end, function()
      return function()
        return nexthop:get(old.id) ~= nil
      end
    end)
  end
  sequence("route", function()
    return all_bytes(collection(handle, "route"):list())
  end, true)
  for _, bytes in ipairs(kept.neighbour or {}) do
    step(function()
      local ok, e = pcall(restore, collection(handle, "neighbour").object, handle, bytes, netlink.CREATE + netlink.EXCL, moved)
      if not ok and not errors.is(e, "EEXIST") then
        error(e, 0)
      end
    end)
  end
  return steps
end

-- Put back what is not there, all that can be, and raise the first error. down: the link carries nothing.
local function put_back(handle, kept, moved, down)
  local failed
  kept.missing = {}
  for _, step in ipairs(steps_of(handle, kept, moved, down)) do
    local ok, e = pcall(step[1])
    if not ok then
      failed = failed or e
      kept.missing[#kept.missing + 1] = step[2] and step[2]() or false
    end
  end
  if failed then
    error(failed, 0)
  end
end

-- Whether what could not be put back is there now.
local function intact(kept)
  for _, there in ipairs(kept.missing or {}) do
    if not (there and there()) then
      return false
    end
  end
  return kept.missing ~= nil
end

-- Of a port, and told only: what counts, and what follows from the link and the spanning tree.
local follows = { "state", "root_id", "bridge_id", "designated_port", "designated_cost", "id", "no", "topology_change_ack", "config_pending",
  "message_age_timer", "forward_delay_timer", "hold_timer", "flush", "mrp_ring_open", "mrp_in_open", "mcast_eht_hosts_cnt", "mcast_n_groups" }

-- Entries of the bridge's table that somebody has made for a port.
local function fixed(handle, index, address)
  local out = {}
  for _, entry in ipairs(collection(handle, "fdb"):list { dev = index }) do
    if entry.master_index and entry.master_index ~= index and (entry.state == "permanent" or entry.state == "static") and entry.lladdr ~= address then
      out[#out + 1] = entry
    end
  end
  return out
end

local function name_of(entry)
  return entry.lladdr .. " " .. tostring(entry.vlan)
end

-- What a port loses that leaves its bridge: its options, its VLANs, the entries of the tables of the bridge that go to it.
local function membership(handle, row)
  local S = collection(handle, "link").object.schema
  local info = S:decode(schema.bytes(row)).linkinfo
  if not (info and info.slave_kind == "bridge" and type(info.slave_data) == "table") then
    return nil
  end
  local kept = { data = info.slave_data, index = row.index, address = row.address, fdb = {}, named = {}, mdb = {} }
  for _, key in ipairs(follows) do
    kept.data[key] = nil
  end
  for _, entry in ipairs(fixed(handle, row.index, row.address)) do
    kept.fdb[#kept.fdb + 1] = schema.bytes(entry)
    kept.named[name_of(entry)] = true
  end
  local ok, entries = pcall(function()
    return collection(handle, "mdb"):list { dev = row.master_index }
  end)
  for _, entry in ipairs(ok and entries or {}) do
    if entry.port_index == row.index and entry.state == "permanent" then
      kept.mdb[#kept.mdb + 1] = schema.bytes(entry)
    end
  end
  local vlans = collection(handle, "bridge_vlan")
  local has, undo = pcall(vlans.object.inverses.change, vlans, "bridge_vlan.restore", { dev = row.index, vid = 1 }) -- of all VLANs
  kept.vlans = has and undo or nil
  return kept
end

local function join_again(handle, kept, moved)
  local index = moved and moved.to or kept.index
  local link = collection(handle, "link").object
  local S = link.schema
  netlink.write { link.new, 0, S:encode { index = index, linkinfo = { slave_kind = "bridge", slave_data = kept.data } }, handle = handle,
    call = "link.restore", object = "link", schema = S }
  if kept.vlans then
    kept.vlans(nil, index)
  end
  for _, name in ipairs { "fdb", "mdb" } do
    local object = collection(handle, name).object
    for _, bytes in ipairs(kept[name]) do
      local ok, e = pcall(restore, object, handle, bytes, netlink.CREATE + netlink.EXCL, moved)
      if not ok and not errors.is(e, "EEXIST") then
        error(e, 0)
      end
    end
  end
  for _, entry in ipairs(fixed(handle, index, kept.address)) do
    if not kept.named[name_of(entry)] then -- one of no VLAN was made for each of them
      collection(handle, "fdb"):delete(entry, ABSENT)
    end
  end
end

local general = {}

function general.add(self)
  return function(row)
    if row then
      collection(schema.rowset(row).handle, self.object.name):delete(row, ABSENT)
    end
  end
end
general.append = general.add

function general.replace(self, call, t)
  local object = self.object
  if not object.identity then
    errors.misuse("%s has no inverse: it cannot stand in a transaction", call)
  end
  local old = bytes_of(object.find(self, call, (object.identity(self, t, call))))
  return function(row)
    if old then
      restore(object, self.handle, old, netlink.CREATE + netlink.REPLACE)
    elseif row then
      self:delete(row, ABSENT)
    end
  end
end

function general.change(self, call, key)
  local object = self.object
  local old = bytes_of(object.find(self, call, key))
  return old and function()
    restore(object, self.handle, old, netlink.CREATE + netlink.REPLACE)
  end
end

function general.delete(self, call, key)
  local object = self.object
  local old = bytes_of(object.find(self, call, key))
  return old and function()
    restore(object, self.handle, old, netlink.CREATE + netlink.EXCL)
  end
end

M.restore, M.general = restore, general

local own = { address = {}, link = {}, nexthop = {}, route = {}, rule = {} }

function own.address.delete(self, call, key)
  local row = self.object.find(self, call, key)
  if not row then
    return nil
  end
  local kept = surroundings(self.handle, row.dev_index, row.dev)
  return function()
    put_back(self.handle, kept)
  end
end

-- Every route to these destinations: what a verb did to one may have moved others, and what it did it to is the kernel's choice.
local function destinations(self, filters)
  local function look()
    local out, seen = {}, {}
    for _, filter in ipairs(filters) do
      for _, bytes in ipairs(all_bytes(self:list(filter))) do
        out[#out + 1] = not seen[bytes] and bytes or nil
        seen[bytes] = true
      end
    end
    return out
  end
  local before = look()
  local function undo()
    putback.sequence(self.object, self.handle, before, look)
  end
  M.settled[undo] = function()
    return not putback.missing(self.object, before, look())[1]
  end
  return undo
end

-- A lifetime is set in place; IPv6 takes no metric away so, and leaves the route that had it.
local function address_changed(self, call, key)
  local row = self.object.find(self, call, key)
  if not row then
    return nil
  end
  local old, kept = schema.bytes(row), surroundings(self.handle, row.dev_index, row.dev)
  local routes = destinations(collection(self.handle, "route"), { { prefix.network(row.address) } })
  return function()
    restore(self.object, self.handle, old, netlink.CREATE + netlink.REPLACE)
    put_back(self.handle, kept)
    routes()
  end
end
own.address.change = address_changed

function own.address.replace(self, call, t)
  return address_changed(self, call, (self.object.identity(self, t, call))) or general.add(self)
end

local function route_written(self, call, t)
  self.object.identity(self, t, call) -- misuse raises here
  return destinations(self, { { t[1], table = t.table or t.type == nil and "main" or nil } })
end
own.route.append, own.route.replace = route_written, route_written

function own.route.change(self, call, key, t)
  local row = self.object.find(self, call, key)
  if not row then
    return nil
  end
  local filters = { { row.dst, family = row.family } }
  filters[2] = type(t) == "table" and t[1] ~= nil and { t[1] } or nil
  return destinations(self, filters)
end

function own.route.delete(self, call, key)
  local row = self.object.find(self, call, key)
  return row and destinations(self, { { row.dst, family = row.family, table = row.table_number or row.table8 } })
end

-- With a nexthop object go its groups, where it was their last, and the routes that name it.
function own.nexthop.delete(self, call, key)
  local row = self.object.find(self, call, key)
  if not row then
    return nil
  end
  local kept = surroundings(self.handle, nil, nil, row.id)
  local function undo()
    put_back(self.handle, kept)
  end
  M.settled[undo] = function()
    return intact(kept)
  end
  return undo
end

-- A rule is changed and replaced by another that is made first; what is made again stands behind those of its priority.
local function rules(self)
  local function look()
    return all_bytes(self:list())
  end
  local old = look()
  return function()
    putback.sequence(self.object, self.handle, old, look)
  end
end
own.rule.change, own.rule.replace, own.rule.delete = rules, rules, rules

-- Words that cost a link its addresses and routes while they are so.
local function disturbs(row, t)
  return t.netns ~= nil or t.master ~= nil or t.up ~= nil or t.name ~= nil or t.address ~= nil or t.arp ~= nil or t.mtu ~= nil and row.mtu >= 1280
end

-- Words that rows have among their flags, and whether they say the opposite.
local flags = { promisc = { "promisc" }, allmulticast = { "allmulti" }, multicast = { "multicast" }, dynamic = { "dynamic" }, debug = { "debug" },
  arp = { "noarp", true }, trailers = { "notrailers", true } }

-- The options of a kind, or of a port, as a link has them; words that are spelled in another way, or say two at once, by those that rows have.
local function options_as_they_were(kind, has, options)
  local was = {}
  for key in pairs(options) do
    for _, word in ipairs(kind and kind.both and kind.both[key] or { kind and kind.spelled and kind.spelled[key] or key }) do
      local spec = kind and kind.vocabulary and kind.vocabulary[word]
      was[word] = has[word]
      if has[word] == nil and type(spec) == "string" and spec:find("false", 1, true) then
        was[word] = false
      end
    end
  end
  if kind and kind.taken_back then
    kind.taken_back(was, has, options)
  end
  return next(was) and was or nil
end

local function kind_of_port(row)
  local slave = row.linkinfo and row.linkinfo.slave_kind
  for _, port in ipairs(slave and kinds.ports() or {}) do
    if port.kind == slave then
      return port
    end
  end
end

-- What a port of a bond has that it loses with it.
local function port_of_bond(row)
  local port, out = row.linkinfo and row.linkinfo.slave_kind == "bond" and row.port or {}, {}
  for _, word in ipairs { "queue_id", "prio" } do
    out[word] = port[word] ~= 0 and port[word] or nil
  end
  return next(out) and out or nil
end

-- The words of `t` as a link has them: nil is `false`, "none".
local function words_as_they_were(row, t)
  local was = {}
  for word, value in pairs(t) do
    word = linkwords.spelled[word] or word
    if (word == "port" or word == row.kind) and type(value) == "table" then
      was[word] = options_as_they_were(word == "port" and kind_of_port(row) or word ~= "port" and kinds.kinds[word] or nil, row[word] or {}, value)
    elseif flags[word] then
      was[word] = (row.flags[flags[word][1]] == true) ~= (flags[word][2] or false)
    elseif word ~= "netns" and word ~= "name" and word ~= "kind" and word ~= "peer" then
      local old = row[word]
      if old == nil then
        old = false
      end
      was[word] = old
    end
  end
  return was
end

local function link_change(self, call, key, t)
  local handle = self.handle
  local rows = {}
  if type(key) == "table" and key.name == nil and key.index == nil then
    rows = self:list(key)
  else
    rows[1] = self.object.find(self, call, key)
  end
  if type(t) ~= "table" or #rows == 0 then
    return nil, false
  end
  local far
  if t.netns ~= nil then
    far = device.netns(t.netns, call .. ": netns")
  end
  local kept = {}
  for i, row in ipairs(rows) do
    kept[i] = { index = row.index, name = row.name, was = words_as_they_were(row, t), up = row.up, kind = row.kind,
      around = disturbs(row, t) and surroundings(handle, row.index, row.name) or nil,
      member = (t.master ~= nil or t.netns ~= nil) and membership(handle, row) or nil,
      port = (t.master ~= nil or t.netns ~= nil) and port_of_bond(row) or nil }
    if t.netns ~= nil then
      kept[i].was.master = row.master_index or nil -- it has left that, too
    end
  end
  local function undo()
    for _, old in ipairs(kept) do
      local target = old.index
      if far and far ~= handle then
        local there = collection(far, "link"):get(t.name or old.name)
        if there then
          collection(far, "link"):change(there.index, { netns = handle, name = old.name })
        end
        target = old.name
        old.was.up = old.up
      elseif t.name then
        self:change(target, { name = old.name })
      end
      if next(old.was) then
        self:change(target, old.was)
      end
      if old.port then
        self:change(target, { port = old.port })
      end
      old.said = true
      local moved = far and { from = old.index, to = self:get(old.name).index } or nil
      if old.member then
        join_again(handle, old.member, moved)
      end
      if old.around then
        put_back(handle, old.around, moved, not old.up)
      end
    end
  end
  M.settled[undo] = function()
    for _, old in ipairs(kept) do
      if not old.said or far or old.around and not intact(old.around) then
        return false
      end
    end
    return true
  end
  return undo, true
end
own.link.change = link_change

function own.link.add(_, call, t)
  local far = type(t) == "table" and t.netns ~= nil and device.netns(t.netns, call .. ": netns") or nil
  return function(row)
    if row then
      collection(far or schema.rowset(row).handle, "link"):delete(row.index, ABSENT)
    end
  end
end

function own.link.replace(self, call, t)
  local row = type(t) == "table" and t.netns == nil and (t.name or t.index) and self:get(t.name or t.index)
  if not row then
    return own.link.add(self, call, t)
  elseif t.kind and t.kind ~= row.kind then
    errors.misuse("%s of a link of another kind has no inverse: it cannot stand in a transaction", call)
  end
  return link_change(self, call, row, t)
end

---What gives the inverse of a verb; nil where it has none.
---@param object nslua.Object
---@param verb string
---@return (fun(self: nslua.Collection, call: string, ...): fun(row: any)?, boolean?)?  the function for afterwards; whether it is of
---use where the verb failed
function M.of(object, verb)
  local mine = own[object.name] and own[object.name][verb] and own[object.name] or object.inverses
  if object.name == "link" and verb == "delete" then
    return nil -- addresses, routes, the other end: too much goes with it
  end
  return mine and mine[verb] or general[verb]
end

return M
