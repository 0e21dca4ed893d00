-- Labels of IPv6 prefixes, by which source addresses are chosen. ip-addrlabel(8), RFC 6724, linux/if_addrlabel.h.

local core = require "nslua.core"
local device = require "nslua.rtnl.device"
local errors = require "nslua.error"
local netlink = require "nslua.netlink"
local prefix = require "nslua.rtnl.prefix"
local schema = require "nslua.schema"
local verbs = require "nslua.rtnl.verbs"
require "nslua.rtnl.families" -- enum inet_family

local header = "linux/if_addrlabel.h"

schema.struct("ifaddrlblmsg", { c = "struct ifaddrlblmsg", header = header, prefix = "ifal_" }, [[
  family u8:enum(inet_family)  pad(1)  prefixlen u8  flags u8  dev_index=ifal_index u32  seq u32
]])
schema.set("addrlabel", { header = header, prefix = "IFAL_" }, [[
  1  ADDRESS  address  ip6
  2  LABEL    label    u32
]])
schema.message("addrlabel", { head = "ifaddrlblmsg", attrs = "addrlabel", c = "ADDRLABEL", header = "linux/rtnetlink.h",
  new = 72, del = 73, get = 74 })

local AF_INET6 = prefix.AF_INET6
local ESRCH, ENOENT = core.errno.ESRCH, core.errno.ENOENT

---@class nslua.AddressLabel  a row
---@field prefix string      "2001:db8::/32"; "::/0" for the rest
---@field label integer
---@field dev string?        of that link alone; `dev_index`

local addrlabel = { name = "addrlabel", noun = "prefix", new = 72, del = 73, get = 74, methods = {}, unchecked = {},
  none = { [ESRCH] = "no such label", [ENOENT] = "no such label" }, missing = ESRCH }

local function text_of(row)
  return row.address .. "/" .. ("%d"):format(row.prefixlen)
end

addrlabel.class = schema.class {
  name = "addrlabel",
  computed = {
    prefix = text_of,
    dev = function(row, set)
      return verbs.link_name(set, row.dev_index)
    end,
  },
  hidden = { "address", "prefixlen", "family", "flags", "seq" },
  same = function(a, b)
    return text_of(a) == text_of(b) and a.dev_index == b.dev_index and schema.rowset(a).handle == schema.rowset(b).handle
  end,
}

addrlabel.writers = { true, label = true, dev = true }

function addrlabel.detail(words)
  return ("%s%s"):format(tostring(words[1]), type(words.dev) == "string" and " dev " .. words.dev or "")
end

local function which(self, call, t)
  local address, length, family = prefix.split(call, "[1]", t[1])
  if family ~= AF_INET6 then
    errors.misuse("%s: %s: labels are for IPv6", call, tostring(t[1]))
  end
  return { family = AF_INET6, address = address, prefixlen = length,
    dev_index = t.dev ~= nil and device.index(self.handle, t.dev, call, "dev") or 0 }
end

addrlabel.matchers = { label = true, dev = verbs.matchers.dev, dev_index = true }
addrlabel.matchers.prefix = function(_, value, call)
  local address, length = prefix.split(call, "prefix", value)
  address = prefix.canonical(address)
  return function(row)
    return row.address == address and row.prefixlen == length
  end
end
addrlabel.matchers[1] = addrlabel.matchers.prefix

function addrlabel.payloads()
  return { (addrlabel.schema or verbs.schema(addrlabel)):encode { family = AF_INET6 } }
end

local function key_words(call, key)
  if type(key) == "string" then
    return { key }
  elseif type(key) == "userdata" then
    return { key.prefix, dev = key.dev_index ~= 0 and key.dev_index or nil }
  elseif type(key) == "table" then
    verbs.options(call .. ": key", key, { true, dev = true })
    return key
  end
  errors.misuse("%s: a label is named by { \"2001:db8::/32\", dev = } or its row, got %s", call, type(key))
end
addrlabel.key_words = key_words

function addrlabel.find(self, call, key)
  local words = key_words(call, key)
  local wanted = which(self, call, words)
  for _, row in ipairs(verbs.list(self, { words[1] })) do
    if row.dev_index == wanted.dev_index then
      return row
    end
  end
end

function addrlabel.identity(_, t)
  return { t[1], dev = t.dev }, { label = t.label }
end

local function write(self, call, flags, t, asked)
  verbs.options(call, t, addrlabel.writers)
  local message = which(self, call, t)
  if t.label == nil then
    errors.misuse("%s: label is needed", call)
  end
  message.label = t.label
  if not verbs.write(self, call, flags, message, t, asked) then
    return addrlabel.find(self, call, { t[1], dev = t.dev })
  end
end

local methods = addrlabel.methods

---Give an IPv6 prefix a label: ip addrlabel add.
---@param t table  the prefix at [1], label, dev
---@return nslua.AddressLabel? row  nothing in a batch
function methods:add(t)
  return write(self, "addrlabel.add", netlink.CREATE + netlink.EXCL, t)
end

---The same, in place of the label it has.
---@param t table
---@return nslua.AddressLabel?
function methods:replace(t)
  return write(self, "addrlabel.replace", netlink.CREATE + netlink.REPLACE, t)
end

---@param key string|table
---@param t { label: integer }
function methods:change(key, t)
  local call = "addrlabel.change"
  verbs.options(call, t, { label = true })
  local words = key_words(call, key)
  write(self, call, netlink.REPLACE, { words[1], dev = words.dev, label = t.label }, { call = call, key, t })
end

---@param key string|table
---@param options? { absent: "ok" }
function methods:delete(key, options)
  local call = "addrlabel.delete"
  local absent = verbs.absent_ok(call, options)
  local words = key_words(call, key)
  local row = type(key) == "userdata" and key or verbs.existing(self, call, words, absent)
  if not row then
    return
  end
  local message = which(self, call, words)
  message.label = row.label
  netlink.remove(self, call, (addrlabel.schema or verbs.schema(addrlabel)):encode(message), addrlabel.detail(words), absent, key)
end

return verbs.object(addrlabel)
