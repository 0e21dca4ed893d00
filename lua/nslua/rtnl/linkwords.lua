-- What people write of a link, as the message that says it.

local check = require "nslua.check"
local device = require "nslua.rtnl.device"
local errors = require "nslua.error"
local kinds = require "nslua.rtnl.kind"
local names = require "nslua.rtnl.names"

local M = {}

-- linux/if.h; a word, and whether it says the opposite of the flag
local flags = { up = { 0x1 }, debug = { 0x4 }, arp = { 0x80, true }, promisc = { 0x100 }, allmulticast = { 0x200 }, multicast = { 0x1000 },
  dynamic = { 0x8000 }, trailers = { 0x20, true } }

---@class nslua.LinkRequest  what one table of words becomes
---@field message table      the message's keys
---@field late table?        words the kernel takes of a link that is there already
---@field peer table?        the other end's words
---@field peer_late table?
---@field netns table?       namespace of the own end, `peer_netns` of the other
---@field owned table[]      namespace handles opened for it

-- Words of which "remove it" means something, and what says so.
local removes = { master_index = 0, alias = "", group = 0 }

---@alias nslua.LinkWriter fun(request: nslua.LinkRequest, value: any, call: string, handle: table, key: string)

local function plain(field)
  return function(request, value, call, _, key)
    if value == false then
      value = removes[field]
      if not request.change or value == nil then
        errors.misuse("%s: %s cannot be false", call, key)
      end
    end
    request.message[field] = value
  end
end

local function yes_no(field)
  return function(request, value, call, _, key)
    if type(value) ~= "boolean" then
      errors.misuse("%s: %s must be true or false, got %s", call, key, type(value))
    end
    request.message[field] = value
  end
end

-- What the kernel ignores while it makes a link stands in a second request.
local function late(writer)
  return function(request, value, call, handle, key)
    if request.change then
      return writer(request, value, call, handle, key)
    end
    request.late = request.late or {}
    request.late[key] = value
  end
end

local function flag(request, value, call, _, key)
  if type(value) ~= "boolean" then
    errors.misuse("%s: %s must be true or false, got %s", call, key, type(value))
  end
  local bit, message = flags[key], request.message
  message.change = (message.change or 0) + bit[1]
  if value ~= (bit[2] or false) then
    message.flags = (message.flags or 0) + bit[1]
  end
end

local function index_of(field)
  return function(request, value, call, handle, key)
    if value == false and request.change and removes[field] then
      request.message[field] = 0
    elseif type(value) == "boolean" then
      errors.misuse("%s: %s must be the name or index of a link, got %s", call, key, tostring(value))
    else
      request.message[field] = device.index(field == "link_index" and request.link_home or handle, value, call, key)
    end
  end
end

local function af_inet6(field)
  return late(function(request, value)
    local message = request.message
    message.af_spec = message.af_spec or { inet6 = {} }
    message.af_spec.inet6[field] = value
  end)
end

---@type table<string, nslua.LinkWriter|"kind">
M.writers = {
  name = function(request, value, call, _, key)
    request.message.name = device.name(call, key, value)
  end,
  index = plain "index",
  kind = function(request, value, call)
    local kind = kinds.kinds[value]
    if not kind and type(value) ~= "string" then
      errors.misuse("%s: kind must be text, got %s", call, type(value))
    end
    local info = request.message.linkinfo or {}
    info.kind = kind and kind.wire or value
    request.kind = value
    request.message.linkinfo = info
  end,
  type = function(_, _, call)
    errors.misuse("%s: unknown key 'type': a link has a kind (kind = \"veth\"); a route has a type", call)
  end,
  mtu = plain "mtu", txqlen = plain "txqlen", address = plain "address", broadcast = plain "broadcast",
  num_tx_queues = plain "num_tx_queues", num_rx_queues = plain "num_rx_queues",
  gso_max_size = plain "gso_max_size", gso_max_segs = plain "gso_max_segs", gro_max_size = plain "gro_max_size",
  gso_ipv4_max_size = plain "gso_ipv4_max_size", gro_ipv4_max_size = plain "gro_ipv4_max_size", parentdev = plain "parentdev",
  operstate = plain "operstate", linkmode = plain "linkmode", link_netnsid = plain "link_netnsid",
  alias = late(plain "alias"), carrier = late(yes_no "carrier"), proto_down = late(yes_no "proto_down"),
  proto_down_reason = late(plain "proto_down_reason"),
  addrgenmode = af_inet6 "addr_gen_mode", token = af_inet6 "token",
  group = function(request, value, call)
    request.message.group = value == false and request.change and 0 or names.number("group", value, call)
  end,
  master = index_of "master_index",
  link = index_of "link_index",
  netns = function(request, value, call)
    local owned
    request.netns, owned = device.netns(value, call .. ": netns")
    if owned then
      request.owned[#request.owned + 1] = request.netns
    end
    request.message.netns_fd = request.netns.fd:number()
  end,
  -- where the lower link is, which `link` and a kind's `dev` name
  link_netns = function(request, value, call, handle)
    if request.change then
      errors.misuse("%s: link_netns is for a new link", call)
    end
    local home, owned = device.netns(value, call .. ": link_netns")
    if owned then
      request.owned[#request.owned + 1] = home
    end
    request.link_home = home
    if home ~= handle then
      local nsid = require "nslua.rtnl.nsid"
      request.message.link_netnsid = nsid.of(handle, home) or nsid.set(handle, home)
    end
  end,
  altnames = late(function(request, value, call)
    if value ~= false and type(value) ~= "table" then
      errors.misuse("%s: altnames must be a list, got %s", call, type(value))
    end
    request.altnames = value or {}
  end),
  port = late(function(request, value)
    request.port = value
  end),
  peer = function(request, value, call)
    if type(value) ~= "table" then
      errors.misuse("%s: peer must be a table, got %s", call, type(value))
    end
    request.peer = value
  end,
}
for word in pairs(flags) do
  M.writers[word] = flag
end
-- ip(8)'s words for some of these
M.spelled = { numtxqueues = "num_tx_queues", numrxqueues = "num_rx_queues", protodown = "proto_down", protodown_reason = "proto_down_reason",
  txqueuelen = "txqlen" }
for word, field in pairs(M.spelled) do
  M.writers[word] = M.writers[field]
end

-- Words of a peer that the kernel does not take while it makes the pair: a veth whose other end is not there yet cannot go up.
local peer_late = { up = true, master = true, link = true }

---The peer of a veth or netkit: a link's own words, born in its own namespace.
---@param request nslua.LinkRequest
---@param call string
---@param handle table
local function peer(request, call, handle)
  local words = request.peer
  call = call .. ": peer"
  M.check(call, words, request.change)
  local inner = { message = {}, owned = request.owned }
  local home = handle
  if words.netns ~= nil then
    M.writers.netns(inner, words.netns, call)
    home = inner.netns
  elseif request.netns then
    home = request.netns -- born beside the own end
  end
  for key, value in pairs(words) do
    if key == "kind" or key == "peer" or M.writers[key] == "kind" then
      errors.misuse("%s: %s has no meaning for the other end", call, key)
    elseif peer_late[key] then
      inner.late = inner.late or {}
      inner.late[key] = value
    elseif key ~= "netns" then
      M.writers[key](inner, value, call, home, key)
    end
  end
  if inner.message.index and not request.message.index then
    errors.misuse("%s: index is taken only where the own end has an index too: veth.c of the kernel", call)
  end
  request.peer_late, request.peer_netns = inner.late, home
  request.peer_name = inner.message.name
  local info = request.message.linkinfo
  info.data = info.data or {}
  info.data.peer = inner.message
end

---Raise where a word is not known.
---@param call string
---@param t any
function M.check(call, t)
  if type(t) ~= "table" then
    errors.misuse("%s: a table expected, got %s", call, type(t))
  end
  local writers = M.writers
  for key in pairs(t) do
    if not writers[key] then
      local kind = type(t.kind) == "string" and kinds.kinds[t.kind]
      errors.misuse("%s: %s%s", call, names.unknown(key, writers, t.kind, kind and kind.vocabulary),
        key == 1 and " (a link's name is written name = \"eth0\")" or "")
    end
  end
end

---The request that a table of words makes.
---@param call string
---@param t table
---@param handle table
---@param change boolean  of a link that is there
---@param now? fun(kind: nslua.Kind): table?  the options that link has, for a kind that is changed as a whole
---@return nslua.LinkRequest
function M.request(call, t, handle, change, now)
  M.check(call, t)
  local writers = M.writers
  local request = { message = {}, owned = {}, change = change }
  local options
  if t.link_netns ~= nil then
    writers.link_netns(request, t.link_netns, call, handle) -- the others look names up there
  end
  for key, value in pairs(t) do
    local writer = writers[key]
    if writer == "kind" then
      if options then
        errors.misuse("%s: %s and %s: a link has one kind", call, options, key)
      end
      options = key
    elseif key ~= "link_netns" then
      writer(request, value, call, handle, key)
    end
  end
  if options then
    local kind = kinds.kinds[options]
    local info = request.message.linkinfo or {}
    if request.kind and request.kind ~= options then
      errors.misuse("%s: options of kind %s for a link of kind %s", call, options, request.kind)
    elseif not request.kind and not change then
      errors.misuse("%s: kind is needed beside %s", call, options)
    end
    info.kind = kind.wire or kind.kind
    info.data = kinds.write(call, kind, t[options], device.index, request.link_home or handle, kind.whole and now and now(kind) or nil)
    request.message.linkinfo = info
    request.kind = options
  end
  if request.peer then
    local kind = kinds.kinds[request.kind]
    if not (kind and kind.peer) then
      errors.misuse("%s: peer is for kind = \"veth\" and kind = \"netkit\"", call)
    end
    peer(request, call, handle)
  end
  return request
end

---The kind of port whose words these are.
---@param call string
---@param words table
---@param master_kind? string  known already
---@return nslua.Kind? port  nil where several could be meant
function M.port(call, words, master_kind)
  if type(words) ~= "table" then
    errors.misuse("%s: port must be a table, got %s", call, type(words))
  end
  local fits, count = nil, 0
  for _, port in ipairs(kinds.ports()) do
    if not master_kind or port.kind == master_kind then
      local all = true
      for key in pairs(words) do
        all = all and port.vocabulary[key] ~= nil
      end
      if all then
        fits, count = port, count + 1
      end
    end
  end
  if count == 0 then
    local all = {}
    for _, port in ipairs(kinds.ports()) do
      for word in pairs(port.vocabulary) do
        all[word] = true
      end
    end
    for key in pairs(words) do
      if not all[key] then
        errors.misuse("%s: port: %s", call, check.unknown("key", key, all))
      end
    end
    errors.misuse("%s: port: no kind of master has these options together", call)
  end
  return count == 1 and fits or nil
end

return M
