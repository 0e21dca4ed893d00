-- Link kinds: what is known of each, and the words of its options. A kind is a table (see veth.lua, vxlan.lua, bridge.lua);
-- `ns.netlink.kind` takes one more of them.

local check = require "nslua.check"
local errors = require "nslua.error"
local schema = require "nslua.schema"
local units = require "nslua.units"

local M = {}

---@class nslua.Kind
---@field kind string           as in ip link add type KIND
---@field wire? string          what the kernel calls it, where that differs
---@field header? string        C header that numbers its attributes: "linux/if_link.h"
---@field prefix? string        "IFLA_VXLAN_"
---@field attributes? string    lines of "ID NAME key type [flags]" (doc: nslua.schema); none: a kind without options
---@field hidden? string[]      keys of `attributes` that are no words of the user
---@field words? table<string, string>  further words, with the types they take: "integer|string"
---@field dev? table<string, string>    word that is a link's name -> key of its index
---@field seconds? table<string, integer>  keys that are durations -> how many units of the kernel make a second
---@field yes_no? table<string, true>   integer keys that mean yes or no
---@field spelled? table<string, string>  words that are taken for others: ip(8)'s "dstport" for "port"
---@field both? table<string, string[]>    words that say two others at once: "key" of "ikey" and "okey"
---@field untold? table<string, true>     words that the kernel takes and never tells: no filter finds by them
---@field whole? boolean      a change replaces all options in the kernel: those that are not said are sent as they are
---@field peer? boolean       a pair: `peer` of the link has the other end's words
---@field write? fun(options: table, call: string, now: table?)  words into keys, in place; now: what a `whole` kind's link has, in a change
---@field read? fun(options: table)     keys into words, in place
---@field taken_back? fun(was: table, has: table, said: table)  completes the words that make a link as it was: `has`, before `said` was said
---@field create? fun(handle: table, name: string?, options: table, kind: string): string?, string?, integer?  where rtnetlink cannot make it
---@field port? nslua.Kind      options of its ports, which stand in `port` of a link
---@field also? nslua.Kind[]    kinds declared along with it

-- nslua's own, each loaded when it is first named or met: kind -> its file.
M.files = { bridge = "bridge", dummy = "dummy", ifb = "ifb", veth = "veth", vlan = "vlan", macvlan = "macvlan", macvtap = "macvlan",
  ipvlan = "ipvlan", ipvtap = "ipvlan", vxlan = "vxlan", geneve = "geneve", tun = "tun", tap = "tun", bond = "bond", vrf = "vrf", netkit = "netkit",
  gre = "gre", gretap = "gre", erspan = "gre", ip6gre = "gre", ip6gretap = "gre", ip6erspan = "gre", ipip = "ipip", sit = "ipip",
  ip6tnl = "ipip", vti = "vti", vti6 = "vti", xfrm = "xfrm", wireguard = "wireguard", macsec = "macsec", hsr = "hsr", nlmon = "nlmon" }
local masters = { "bridge", "bond", "vrf" }

---@type table<string, nslua.Kind>
M.kinds = setmetatable({}, {
  __index = function(kinds, name)
    local file = M.files[name]
    if file then
      M.define(require("nslua.rtnl.kind." .. file))
      return rawget(kinds, name)
    end
  end,
})
local ports = {}
---@type fun(name: string)  link.lua's: a new word for links
M.declared = nil

-- Words that have a meaning of their own and are no attributes' keys.
local function vocabulary(kind, set)
  local words, hidden = {}, {}
  for _, key in ipairs(kind.hidden or {}) do
    hidden[key] = true
  end
  for word, key in pairs(kind.dev or {}) do
    words[word] = "string|integer|table|userdata|false"
    hidden[key] = true
  end
  for word, accepts in pairs(kind.words or {}) do
    words[word] = accepts
  end
  for spelling in pairs(kind.spelled or {}) do
    words[spelling] = true
  end
  for word, two in pairs(kind.both or {}) do
    words[word] = words[two[1]]
  end
  for _, key in ipairs(set and schema.keys(set) or {}) do
    if not hidden[key] and not words[key] then
      words[key] = true
    end
  end
  kind.vocabulary, kind.concealed = words, hidden
end

-- Sets by their text, and what the unions know: tun and tap are one set and one kind of the kernel's, gre and gretap one set.
local by_text, branches = {}, {}

local function declare(kind, set, union)
  if kind.attributes then
    local text = tostring(kind.prefix) .. kind.attributes
    if not by_text[text] then
      schema.set(set, { header = kind.header, prefix = kind.prefix }, kind.attributes)
      by_text[text] = set
    end
    kind.set = by_text[text]
    local branch = union .. " " .. (kind.wire or kind.kind)
    if branches[branch] ~= kind.set then
      schema.kind(union, kind.wire or kind.kind, "nest(" .. kind.set .. ")")
      branches[branch] = kind.set
    end
  end
  vocabulary(kind, kind.set)
end

---Add a link kind (or put another in place of one).
---@param kind nslua.Kind
---@return nslua.Kind
function M.define(kind)
  check.options("netlink.kind", kind, { kind = "string", wire = "string", header = "string", prefix = "string",
    attributes = "string", hidden = "table", words = "table", dev = "table", seconds = "table", yes_no = "table",
    spelled = "table", both = "table", untold = "table",
    whole = "boolean", peer = "boolean", write = "function", read = "function", taken_back = "function",
    create = "function", port = "table", also = "table" })
  if not kind.kind then
    errors.misuse "netlink.kind: kind is needed: its name"
  end
  declare(kind, "linkinfo_" .. kind.kind, "link_kind")
  M.kinds[kind.kind] = kind
  M.declared(kind.kind)
  if kind.port then
    local port = kind.port
    port.kind = kind.kind
    declare(port, "linkinfo_port_" .. kind.kind, "link_port")
    ports[#ports + 1] = port
  end
  for _, other in ipairs(kind.also or {}) do
    M.define(other)
  end
  return kind
end

---Load a kind of nslua's own.
---@param name string
---@return nslua.Kind
function M.load(name)
  return M.kinds[name]
end

---The options of ports, of every kind of master.
---@return nslua.Kind[]
function M.ports()
  for _, name in ipairs(masters) do
    M.load(name)
  end
  return ports
end

---The name of every kind.
---@return table<string, true>
function M.names()
  local names = {}
  for name in pairs(M.files) do
    names[name] = true
  end
  for name in pairs(M.kinds) do
    names[name] = true
  end
  return names
end

---What was said, each in its own word.
---@param call string
---@param kind nslua.Kind
---@param options table
---@return table
function M.said(call, kind, options)
  if type(options) ~= "table" then
    errors.misuse("%s: %s must be a table of its options, got %s", call, kind.word or kind.kind, type(options))
  end
  check.options(call .. ": " .. (kind.word or kind.kind), options, kind.vocabulary)
  local said = {}
  local function say(word, value, key)
    if said[word] ~= nil then
      errors.misuse("%s: %s: %s is said twice (by %s)", call, kind.kind, word, key)
    end
    said[word] = value
  end
  for key, value in pairs(options) do
    local two = kind.both and kind.both[key]
    if two then
      say(two[1], value, key)
      say(two[2], value, key)
    else
      say(kind.spelled and kind.spelled[key] or key, value, key)
    end
  end
  return said
end

---The keys of the wire for the user's options of a kind.
---@param call string
---@param kind nslua.Kind
---@param options table
---@param device fun(handle: table, value: any, call: string, word: string): integer
---@param handle table  where names of links are looked up
---@param now? table     the keys of a link that is changed, for a `whole` kind
---@return table
function M.write(call, kind, options, device, handle, now)
  local data = {}
  for key, value in pairs(M.said(call, kind, options)) do
    local scale = kind.seconds and kind.seconds[key]
    if kind.dev and kind.dev[key] then
      key, value = kind.dev[key], value and device(handle, value, call, key) or 0
    elseif scale then
      value = math.floor(units.duration(value, call .. ": " .. key) * scale + 0.5)
    elseif type(value) == "boolean" and kind.yes_no and kind.yes_no[key] then
      value = value and 1 or 0
    end
    data[key] = value
  end
  if kind.write then
    kind.write(data, ("%s: %s"):format(call, kind.word or kind.kind), now)
  end
  for key, value in pairs(now or {}) do
    if data[key] == nil then
      data[key] = value
    end
  end
  return data
end

---The user's words for the keys of the wire.
---@param kind nslua.Kind
---@param raw table  a decoded nest; not changed
---@param name? fun(index: integer): string?  name of a link
---@return table
function M.read(kind, raw, name)
  local data = {}
  for key, value in pairs(raw) do
    local scale = kind.seconds and kind.seconds[key]
    if scale and scale ~= 1 and type(value) == "number" then
      value = value / scale
    elseif kind.yes_no and kind.yes_no[key] and (value == 0 or value == 1) then
      value = value == 1
    end
    data[key] = value
  end
  for word, key in pairs(kind.dev or {}) do
    if data[key] and data[key] ~= 0 then
      data[word] = name and name(data[key]) or data[key]
    end
  end
  if kind.read then
    kind.read(data)
  end
  for key in pairs(kind.concealed) do
    data[key] = nil
  end
  return data
end

return M
