-- Kinds of link that a script declares: ns.netlink.kind.

local check = require "nslua.check"
local errors = require "nslua.error"

local M = {}

local kind_forms = { enums = "table", flags = "table", structs = "table", sets = "table", unions = "table" }

local taken = { decode = true, json = true }

local function row_has(name)
  local schema = require "nslua.schema"
  local book, message = schema.book, schema.messages.link
  for _, list in ipairs { book.structs[message.head].members, book.sets[message.attrs].fields } do
    for _, field in ipairs(list) do
      if field.key == name then
        return true
      end
    end
  end
end

---Add a link kind, or put another in place of one.
---@param kind nslua.Kind
---@return nslua.Kind
function M.kind(kind)
  local link = require "nslua.rtnl.link"
  local kinds, forms = require "nslua.rtnl.kind", require "nslua.schema.forms"
  if type(kind) ~= "table" or type(kind.kind) ~= "string" or not kind.kind:find "^[%a_][%w_-]*$" then
    errors.misuse "netlink.kind: kind is needed: its name"
  end
  local name = kind.kind
  if not kinds.names()[name] and (link.writers[name] or link.class.computed[name] or taken[name] or row_has(name)) then
    errors.misuse("netlink.kind: kind %q: every link has a word of that name", name)
  end
  local own = {}
  for key, value in pairs(kind) do
    if kind_forms[key] then
      check.argument("netlink.kind", key, value, "table")
    else
      own[key] = value
    end
  end
  if own.attributes and not own.prefix then
    check.argument("netlink.kind", "attributes", own.attributes, "string")
    own.attributes = forms.unnamed(own.attributes)
  end
  local book, owner = require("nslua.schema").book, { title = "kind " .. kind.kind, header = kind.header }
  -- what is wrong is said before anything is changed: a wrong branch would spoil every link
  local trial = book:trial(owner.title .. ": ")
  local function declare(in_book)
    forms.declare(owner, in_book, kind)
    if in_book == book then
      kinds.define(own)
    elseif own.attributes then
      trial:set("attributes", { header = own.header, prefix = own.prefix }, own.attributes)
      trial:message("kind", { attrs = "attributes" })
      trial:check()
    end
  end
  for _, in_book in ipairs { trial, book } do
    if kinds.kinds[kind.kind] then
      in_book:replace(declare, in_book)
    else
      declare(in_book)
    end
  end
  return own
end

return M
