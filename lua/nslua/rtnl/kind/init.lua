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
---@field write? fun(options: table)    words into keys, in place
---@field read? fun(options: table)     keys into words, in place
---@field create? fun(handle: table, name: string?, options: table, kind: string): string?, string?, integer?  where rtnetlink cannot make it
---@field port? nslua.Kind      options of its ports, which stand in `port` of a link
---@field also? nslua.Kind[]    kinds declared along with it

---@type table<string, nslua.Kind>
M.kinds = {}
---@type nslua.Kind[]
M.ports = {}
---@type fun(kind: nslua.Kind)  link.lua's: a new word for links
M.declared = nil

-- Words that have a meaning of their own and are no attributes' keys.
local function vocabulary(kind, set)
  local words, hidden = {}, {}
  for _, key in ipairs(kind.hidden or {}) do
    hidden[key] = true
  end
  for word, key in pairs(kind.dev or {}) do
    words[word] = "string|integer|table|userdata"
    hidden[key] = true
  end
  for word, accepts in pairs(kind.words or {}) do
    words[word] = accepts
  end
  for _, key in ipairs(set and schema.keys(set) or {}) do
    if not hidden[key] then
      words[key] = true
    end
  end
  kind.vocabulary, kind.concealed = words, hidden
end

local function declare(kind, set, union)
  if kind.attributes then
    schema.set(set, { header = kind.header, prefix = kind.prefix }, kind.attributes)
    schema.kind(union, kind.wire or kind.kind, "nest(" .. set .. ")")
    kind.set = set
  end
  vocabulary(kind, kind.set)
end

---Add a link kind (or put another in place of one).
---@param kind nslua.Kind
---@return nslua.Kind
function M.define(kind)
  check.options("netlink.kind", kind, { kind = "string", wire = "string", header = "string", prefix = "string",
    attributes = "string", hidden = "table", words = "table", dev = "table", seconds = "table", yes_no = "table",
    write = "function", read = "function", create = "function", port = "table", also = "table" })
  if not kind.kind then
    errors.misuse "netlink.kind: kind is needed: its name"
  end
  local same = kind.wire and M.kinds[kind.wire]
  if same and same.set and same.attributes == kind.attributes then
    kind.set = same.set -- one set for two words: tun and tap
    vocabulary(kind, kind.set)
  else
    declare(kind, "linkinfo_" .. kind.kind, "link_kind")
  end
  M.kinds[kind.kind] = kind
  M.declared(kind)
  if kind.port then
    local port = kind.port
    port.kind = kind.kind
    declare(port, "linkinfo_port_" .. kind.kind, "link_port")
    M.ports[#M.ports + 1] = port
  end
  for _, other in ipairs(kind.also or {}) do
    M.define(other)
  end
  return kind
end

---The keys of the wire for the user's options of a kind.
---@param call string
---@param kind nslua.Kind
---@param options table
---@param device fun(handle: table, value: any, call: string, word: string): integer
---@param handle table  where names of links are looked up
---@return table
function M.write(call, kind, options, device, handle)
  if type(options) ~= "table" then
    errors.misuse("%s: %s must be a table of its options, got %s", call, kind.word or kind.kind, type(options))
  end
  check.options(call .. ": " .. (kind.word or kind.kind), options, kind.vocabulary)
  local data = {}
  for key, value in pairs(options) do
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
    kind.write(data)
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
