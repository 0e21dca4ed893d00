-- What is done to links: add, change, delete, replace, ensure. ip-link(8), rtnetlink(7).

local check = require "nslua.check"
local core = require "nslua.core"
local device = require "nslua.rtnl.device"
local errors = require "nslua.error"
local kinds = require "nslua.rtnl.kind"
local linkwords = require "nslua.rtnl.linkwords"
local names = require "nslua.rtnl.names"
local netlink = require "nslua.netlink"
local verbs = require "nslua.rtnl.verbs"

local NEW, NEWPROP, DELPROP = 16, 108, 109 -- RTM_NEWLINK, RTM_NEWLINKPROP, RTM_DELLINKPROP
local ENODEV = core.errno.ENODEV

local link -- link.lua's object, which these are the verbs of
local methods = {}

local function collection(handle)
  return require("nslua.rtnl").collection(handle, "link")
end

-- `look` gives the row of a link that is changed, where that can be asked for.
local function hint(request, look)
  return function(errno, extack)
    local said = request.message
    if errno == core.errno.EINVAL and said.mtu and (extack or ""):find "^mtu " then
      local row = look and look()
      return ("mtu = %d%s"):format(said.mtu, row and row.max_mtu and (", %s takes %d to %d"):format(row.name, row.min_mtu, row.max_mtu) or "")
    elseif errno == core.errno.EINVAL and said.address and not extack then
      local bytes = select(2, said.address:gsub("%x+", ""))
      local row = look and look()
      local wants = row and row.address and select(2, row.address:gsub("%x+", "")) or 6
      return bytes ~= wants and ("address = %q has %d bytes, not %d"):format(said.address, bytes, wants) or nil
    end
    -- the kernel refuses options it was built without in the same way
    local info = request.message.linkinfo
    if errno == core.errno.EOPNOTSUPP and request.kind and (extack == "Unknown device type" or not info.data) then
      local near = not kinds.kinds[request.kind] and check.nearest(request.kind, kinds.names())
      if near then
        return ("there is no kind %q (did you mean %q?)"):format(request.kind, near)
      end
      return ("this kernel makes no links of kind %q: `modprobe rtnl-link-%s`, or a kernel that has it"):format(request.kind, info.kind)
    end
  end
end

-- A message to the kernel, with what its error would say.
local function send(self, call, kind, flags, message, request, detail, asked, key)
  local S = link.schema or verbs.schema(link)
  local item = { kind, flags, S:encode(message), handle = self.handle, call = call, object = "link", schema = S, detail = detail }
  if request then
    item.hint = hint(request, key ~= nil and not netlink.batching(self.handle) and function()
      return link.find(self, call, key)
    end)
    item.owned = request.owned
    local peer_netns = request.peer_netns ~= self.handle and request.peer_netns or nil
    item.far = request.netns or peer_netns
    item.fds = item.far and { item.far, peer_netns }
    item.after = request.after
  end
  if netlink.batching(self.handle) then
    item.asked = asked
  end
  return netlink.write(item), item
end

-- Without an echo and without a name: the youngest link of the kind is the one just made.
local function youngest(self, kind)
  local found
  for _, row in ipairs(self:list { kind = kind }) do
    found = (not found or row.index > found.index) and row or found
  end
  return found
end

-- What the kernel took no notice of while it made the link. `own` is its row, index or name.
local function finish(self, request, own)
  local home = request.netns and collection(request.netns) or self
  if request.late then
    home:change(own, request.late)
  end
  if request.peer_late then
    local peer = request.peer_name
    if not peer then
      own = type(own) == "userdata" and own or home:get(own)
      peer = own.link_index
    end
    collection(request.peer_netns):change(peer, request.peer_late)
  end
end

local function close_owned(request)
  for _, handle in ipairs(request.owned) do
    handle:close()
  end
end

-- Finish a new link, or take it away again: nothing stays half made.
local function finish_or_undo(self, request, own, call)
  local ok, e = pcall(finish, self, request, own)
  if not ok then
    if errors.is(e) then
      e.call = call
    elseif type(e) == "string" then
      e = e:gsub("link%.change:", call .. ":", 1)
    end
    local home = request.netns and collection(request.netns) or self
    pcall(home.delete, home, own)
    close_owned(request)
    error(e, 0)
  end
end

-- tun, tap: made by ioctl, then changed like any other.
local function create_otherwise(self, call, request, kind, t)
  netlink.flush()
  local home = request.netns or self.handle
  local info = request.message.linkinfo
  local name, message, errno = kind.create(home, request.message.name, info.data or {}, kind.kind)
  if not name then
    errors.check(call, { netns = home:describe(), detail = verbs.detail("name", request.message.name) }, name, message, errno)
  end
  local rest = {}
  for key, value in pairs(t) do
    if key ~= "name" and key ~= "kind" and key ~= "netns" and key ~= kind.kind then
      rest[key] = value
    end
  end
  request.late = next(rest) and rest or nil
  finish_or_undo(self, request, name, call)
  local row
  if not netlink.batching(self.handle) then
    row = (request.netns and collection(home) or self):get(name)
  end
  close_owned(request)
  return row
end

local function add(self, t, call)
  local handle = self.handle
  local request = linkwords.request(call, t, handle, false)
  local message = request.message
  local name = message.name
  local kind = kinds.kinds[request.kind]
  if type(t.port) == "table" and next(t.port) and t.master == nil then
    errors.misuse("%s: port has the options as a port of master, which is needed", call)
  elseif not request.kind then
    errors.misuse("%s: kind is needed: \"veth\", \"bridge\", ...", call)
  elseif kind and kind.create then
    return create_otherwise(self, call, request, kind, t)
  elseif request.netns and not name then
    errors.misuse("%s: name is needed where the link is born in another namespace", call)
  end
  local detail = name and verbs.detail("name", name) or verbs.detail("kind", request.kind)
  local follow = request.late or request.peer_late
  if netlink.batching(handle) then
    netlink.touch(name or true)
    if request.peer then
      netlink.touch(request.peer_name or true)
    end
    if follow then
      if not name then
        errors.misuse("%s: name is needed in a batch", call)
      end
      request.after = function()
        finish_or_undo(self, request, name, call)
      end
    end
    send(self, call, NEW, netlink.CREATE + netlink.EXCL, message, request, detail, { call = call, t })
    return nil
  end
  local replies, item = send(self, call, NEW, netlink.CREATE + netlink.EXCL + netlink.ECHO, message, request, detail)
  local row
  if request.netns then
    row = collection(request.netns):get(name) -- no echo from there
  else
    row = verbs.echoed(self, replies) or (name and self:get(name)) or youngest(self, request.kind)
  end
  if follow then
    finish_or_undo(self, request, row, call)
  end
  if row and (follow or message.master_index) then
    -- the echo was sent before it got a master
    row = (request.netns and collection(request.netns) or self):get(row.index)
  end
  if item.owned[1] then
    close_owned(request)
  end
  return row
end

---Make a link. rtnetlink(7), RTM_NEWLINK.
---
---`t`: name, kind, mtu, up, address ("02:00:..."), txqlen, master, link (the lower link), group, alias, altnames, netns (where it is born:
---a handle, name, pid or path), link_netns (where the lower link is), port (options as a port of its master), arp, multicast, promisc,
---allmulticast, and a table named after the kind: `vxlan = { id = 42, port = 4789 }`. A veth or netkit takes `peer`: the other end's words,
---its `netns` too; both ends are born in their namespaces in one request.
---@param t table
---@return nslua.Link? row  nothing in a batch
function methods:add(t)
  return add(self, t, "link.add")
end

-- Words that say which link, or how it is born, and nothing of how it is.
local identity = { name = true, kind = true, peer = true, netns = true, link_netns = true, index = true }
local unchecked = { name = true, peer = true, netns = true, link_netns = true, index = true }

local function identity_of(t, call)
  if t.name == nil and t.index == nil then
    errors.misuse("%s: name is needed", call)
  end
  local rest = {}
  for key, value in pairs(t) do
    if not identity[key] then
      rest[key] = value
    end
  end
  return t.name or t.index, rest
end

-- The collection a link of these words would be in.
local function home_of(self, t, call)
  if type(t) ~= "table" or t.netns == nil then
    return self
  end
  local handle, owned = device.netns(t.netns, call .. ": netns")
  if handle == self.handle then
    if owned then
      handle:close()
    end
    return self
  end
  return collection(handle)
end

---Make a link so if it is not: add it, or change what differs. A link of that name but another kind is an error (EEXIST).
---@param t table  as for `add`; the name is needed
---@return nslua.Link?
function methods:ensure(t)
  local call = "link.ensure"
  linkwords.check(call, t)
  local key, rest = identity_of(t, call)
  local home = home_of(self, t, call)
  local row = link.find(home, call, key)
  if not row then
    return self:add(t)
  elseif t.kind and row.kind ~= t.kind then
    errors.raise { call = call, netns = home.handle:describe(), errno = core.errno.EEXIST,
      detail = ("name = %q, kind = %q"):format(row.name, tostring(row.kind)) }
  elseif verbs.passes(row, verbs.tests(home, call, t, unchecked)) then
    return row
  end
  home:change(row, rest)
  if not netlink.batching(home.handle) then
    return link.find(home, call, row.index)
  end
end

---Make a link as these words say: change the one of that name, or put it in the place of one of another kind.
---@param t table  as for `add`
---@return nslua.Link?
function methods:replace(t)
  local call = "link.replace"
  linkwords.check(call, t)
  local key, rest = identity_of(t, call)
  local home = home_of(self, t, call)
  local row = link.find(home, call, key)
  if not row then
    return add(self, t, call)
  elseif t.kind and row.kind ~= t.kind then
    home:delete(row)
    return add(self, t, call)
  end
  if next(rest) then
    home:change(row, rest)
  end
  if not netlink.batching(home.handle) then
    return link.find(home, call, row.index)
  end
end

local function existing(self, call, target)
  local row = link.find(self, call, target)
  if not row then
    errors.raise { call = call, netns = self.handle:describe(), errno = ENODEV, detail = link.detail(target) }
  end
  return row
end

-- The new ones first: where one of them is taken, nothing of the old has gone, and those made before it go again.
local function set_altnames(self, call, target, wanted)
  local row = existing(self, call, target)
  local has, new, gone, keep = {}, {}, {}, {}
  for _, name in ipairs(row.altnames or {}) do
    has[name] = true
  end
  for _, name in ipairs(wanted) do
    if not has[name] and not keep[name] then
      new[#new + 1] = name
    end
    keep[name] = true
  end
  for _, name in ipairs(row.altnames or {}) do
    if not keep[name] then
      gone[#gone + 1] = name
    end
  end
  local function without(list)
    if list[1] then
      send(self, call, DELPROP, 0, { index = row.index, prop_list = { altnames = list } }, nil, link.detail(target))
    end
  end
  netlink.touch(true)
  if not new[1] then
    return without(gone)
  end
  local message = { index = row.index, prop_list = { altnames = new } }
  local request = { message = message, after = function()
    without(gone)
  end }
  local ok, e = pcall(send, self, call, NEWPROP, netlink.CREATE + netlink.EXCL, message, request, link.detail(target))
  if not ok then
    local now = link.find(self, call, row.index)
    local made = {}
    for _, name in ipairs(now and now.altnames or {}) do
      made[#made + 1] = not has[name] and keep[name] and name or nil
    end
    pcall(without, made)
    error(e, 0)
  end
end

local function set_port(self, call, target, words, asked)
  local port = linkwords.port(call, words)
  if not port and next(words) == nil then
    return
  elseif not port then
    local row = link.find(self, call, target)
    port = linkwords.port(call, words, row and row.linkinfo and row.linkinfo.slave_kind)
      or errors.misuse("%s: port: %s is a port of nothing that has such options", call, row and row.name or tostring(target))
  end
  local data = kinds.write(call, port, words, device.index, self.handle)
  local message = link.selector(self, call, target, { linkinfo = { slave_kind = port.kind, slave_data = data } })
  send(self, call, NEW, 0, message, nil, link.detail(target), asked)
end

---Change a link, or every link of a group: `change({ group = 7 }, { up = true })`.
---@param key string|integer|table  name, altname, index, row, or { group = }
---@param t table  as for `add`; `false` removes (master, alias, group, altnames); `netns` moves it, `name` renames it
function methods:change(key, t)
  local call = "link.change"
  local request = linkwords.request(call, t, self.handle, true, function(kind)
    if type(key) == "table" and key.name == nil and key.index == nil then
      errors.misuse("%s: the options of a %s are changed link by link", call, kind.kind)
    end
    local row = existing(self, call, key)
    return row.kind == kind.kind and link.options(row, "data") or nil
  end)
  local message = request.message
  if t.kind ~= nil then
    errors.misuse("%s: kind cannot be changed: delete the link and add it", call)
  end
  local asked = { call = call, key, t }
  if type(key) == "table" and key.name == nil and key.index == nil then
    verbs.options(call .. ": key", key, { group = true })
    if message.group or request.port or request.altnames then
      errors.misuse("%s: group, port and altnames are changed link by link", call)
    end
    message.group = names.number("group", key.group, call)
    send(self, call, NEW, 0, message, request, verbs.detail("group", key.group), asked)
    return
  end
  if type(key) == "string" and (message.name or message.group) then
    -- a name beside a new name, or beside a group, would be read by the kernel as something else
    local index = netlink.device(self.handle, key, link.index, call)
    if not index then
      errors.raise { call = call, netns = self.handle:describe(), errno = ENODEV, detail = link.detail(key) }
    end
    message.index = index
    key = index
  elseif next(message) then
    link.selector(self, call, key, message)
  end
  if next(message) then
    if t.name or t.netns then
      netlink.touch(true)
    end
    send(self, call, NEW, 0, message, request, link.detail(asked[1]), asked, key)
  end
  if request.port then
    set_port(self, call, key, request.port, asked)
  end
  if request.altnames then
    set_altnames(self, call, key, request.altnames)
  end
  if request.owned[1] and not netlink.batching(self.handle) then
    close_owned(request)
  end
end

---Delete a link, or every link of a group at once.
---@param key string|integer|table  name, altname, index, row, or { group = }
---@param options? { absent: "ok" }  no error where there is none
function methods:delete(key, options)
  local call = "link.delete"
  local absent = verbs.absent_ok(call, options)
  local message, detail = {}, link.detail(key)
  if type(key) == "table" and key.name == nil and key.index == nil then
    verbs.options(call .. ": key", key, { group = true })
    message.group = names.number("group", key.group, call)
    detail = verbs.detail("group", key.group)
  else
    link.selector(self, call, key, message)
  end
  netlink.touch(type(key) == "string" and key or true)
  netlink.remove(self, call, (link.schema or verbs.schema(link)):encode(message), detail, absent, key)
end

---@param object nslua.Object
return function(object)
  link = object
  object.methods = methods
end
