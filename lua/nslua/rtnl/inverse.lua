-- How what a verb did is taken back: each gives, before the verb runs, a function for afterwards.

local device = require "nslua.rtnl.device"
local errors = require "nslua.error"
local netlink = require "nslua.netlink"
local schema = require "nslua.schema"

local M = {}

local ABSENT = { absent = "ok" }

local function collection(handle, name)
  return require("nslua.rtnl").collection(handle, name)
end

local unpack = table.unpack or unpack -- luacheck: ignore

-- Make an object again from the bytes that the kernel told of it: what no word of ours says is in them too. moved: the link has another index.
local function restore(object, handle, bytes, flags, moved)
  local S = object.schema
  local message = S:decode(bytes)
  for _, part in ipairs(moved and { message, unpack(message.multipath or {}) } or {}) do
    part.dev_index = part.dev_index == moved.from and moved.to or part.dev_index
  end
  if object.restored then
    object.restored(message)
  end
  netlink.write { object.new, flags, S:encode(message), handle = handle, call = object.name .. ".restore", object = object.name, schema = S }
end

local function bytes_of(row)
  return row and schema.bytes(row)
end

-- What goes away on its own with an address or while a link is down: the addresses of the link, the routes over it, fixed neighbours.
local function surroundings(handle, index, name)
  local kept = { address = {}, route = {}, neighbour = {} }
  for _, row in ipairs(collection(handle, "address"):list { dev = index }) do
    kept.address[#kept.address + 1] = row
  end
  for row in collection(handle, "route"):each() do
    local over = row.dev_index == index
    for _, hop in ipairs(not over and row.nexthops or {}) do
      over = over or hop.dev == name
    end
    -- the kernel's own come back with the address
    if over and row.proto ~= "kernel" and row.type ~= "local" then
      kept.route[#kept.route + 1] = schema.bytes(row)
    end
  end
  for i, row in ipairs(kept.address) do
    kept.address[i] = schema.bytes(row)
  end
  for i, row in ipairs(collection(handle, "neighbour"):list { dev = index, state = "permanent" }) do
    kept.neighbour[i] = schema.bytes(row)
  end
  return kept
end

-- Put back what is not there.
local function put_back(handle, kept, moved)
  for _, name in ipairs { "address", "route", "neighbour" } do
    local object = collection(handle, name).object
    for _, bytes in ipairs(kept[name]) do
      local ok, e = pcall(restore, object, handle, bytes, netlink.CREATE + netlink.EXCL, moved)
      if not ok and not errors.is(e, "EEXIST") then
        error(e, 0)
      end
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

local own = { address = {}, link = {}, route = {}, rule = {} }

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

-- The new place of a route in its table may be another one than the old.
function own.route.change(self, call, key)
  local object = self.object
  local row = object.find(self, call, key)
  if not row then
    return nil
  end
  local old, before = schema.bytes(row), {}
  for other in self:each { table = row.table_number or row.table8, family = row.family } do
    before[schema.bytes(other)] = true
  end
  return function()
    for _, other in ipairs(self:list { table = row.table_number or row.table8, family = row.family, [1] = row.dst }) do
      if not before[schema.bytes(other)] then
        self:delete(other, ABSENT)
      end
    end
    restore(object, self.handle, old, netlink.CREATE + netlink.REPLACE)
  end
end

-- A rule is changed and replaced by another that is made first.
local function rules(self)
  local old = {}
  for _, row in ipairs(self:list()) do
    old[#old + 1] = schema.bytes(row)
  end
  return function()
    local there = {}
    for _, row in ipairs(self:list()) do
      there[schema.bytes(row)] = row
    end
    for _, bytes in ipairs(old) do
      if not there[bytes] then
        restore(self.object, self.handle, bytes, netlink.CREATE + netlink.EXCL)
      end
      there[bytes] = nil
    end
    for _, row in pairs(there) do
      self:delete(row, ABSENT)
    end
  end
end
own.rule.change, own.rule.replace = rules, rules

-- Words that cost a link its addresses and routes while they are so.
local function disturbs(row, t)
  return t.netns ~= nil or t.master ~= nil or t.up == false or t.mtu ~= nil and row.mtu >= 1280
end

-- The words of `t` as a link has them: nil is `false`, "none".
local function words_as_they_were(row, t)
  local was = {}
  for word, value in pairs(t) do
    if word == "port" and type(value) == "table" or word == row.kind then
      local has, inner = row[word] or {}, {}
      for key in pairs(value) do
        inner[key] = has[key]
      end
      was[word] = next(inner) and inner or nil
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
      around = disturbs(row, t) and surroundings(handle, row.index, row.name) or nil }
  end
  return function()
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
      if old.around and old.up then
        put_back(handle, old.around, far and { from = old.index, to = self:get(old.name).index })
      end
    end
  end, true
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
  local mine = own[object.name] or object.inverses
  if object.name == "link" and verb == "delete" then
    return nil -- addresses, routes, the other end: too much goes with it
  end
  return mine and mine[verb] or general[verb]
end

return M
