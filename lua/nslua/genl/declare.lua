-- Families of generic netlink, declared: pure data, read and checked at once, without a socket. genetlink: linux/genetlink.h; doc/schemas.md.

local check = require "nslua.check"
local errors = require "nslua.error"
local books = require "nslua.schema.book"
local forms = require "nslua.schema.forms"
local schema = require "nslua.schema"

local M = {}

---@class nslua.FamilyDeclaration
---@field name string           what the kernel calls it: "wireguard"
---@field version? integer      of its protocol (default: what the kernel says)
---@field id? integer           where it is a fixed one
---@field module? string        the kernel module it is in, where that has another name
---@field header? string        C header that numbers all of this: "linux/wireguard.h"; for a spec that compares them
---@field prefix? string        of the commands' constants: "WG_CMD_"
---@field structs? table<string, string|table>  `KEY TYPE` pairs; or { TEXT, c = "struct x", prefix = "x_" }
---@field enums? table<string, string|table>    "unset set inherit", from 0; "a=3 b"; or a table of them; or { TEXT, prefix = "X_" }
---@field flags? table<string, string|table>    the same for bits, from bit 0; "a=#5" is bit 5, "a=32" too
---@field sets? table<string, string|table>     lines of `ID key type [flags]`; { TEXT, prefix = "X_" } of `ID C-NAME key type [flags]`
---@field unions? table<string, table<string, string>>  name of a union's table -> value of its selector -> type
---@field front? string         a struct of it that stands before the attributes of every message
---@field commands? table<string, nslua.CommandDeclaration>
---@field events? table<string, nslua.CommandDeclaration>  what the kernel alone sends, where that has numbers of its own
---@field groups? string[]      multicast groups
---@field classes? table<string, nslua.schema.Class>  how rows of a set read, by its name
---@field write? table<string, fun(t: table, call: string)>  by set: the caller's words into keys, in place
---@field detail? string[]      words that an error of a command repeats: { "dev" }
---@field methods? table<string, function>  further methods of `netns:netlink(family)`

---@class nslua.CommandDeclaration
---@field [1] integer          its number
---@field [2]? string          the set of its request
---@field reply? string|false  the set of its answer (default: `false`: an ack is all it answers)
---@field dump? string|true    it can be listed: the set of that request, true: as [2]
---@field c? string            its C constant, without the prefix

---@class nslua.FamilySchema   a declared family
local Family = { __name = "nslua.FamilySchema" }
Family.__index = Family

function Family:__tostring()
  return "netlink family " .. self.name
end

local known = { name = "string", version = "0-255", id = "0-65535", module = "string", header = "string", prefix = "string", structs = "table",
  enums = "table", flags = "table", sets = "table", unions = "table", front = "string", commands = "table", events = "table", groups = "table",
  classes = "table", write = "table", methods = "table", detail = "table" }

---Methods of `netns:netlink(family)` that no command may hide.
M.reserved = { call = true, list = true, each = true, monitor = true, policy = true, close = true }

local function fail(self, fmt, ...)
  errors.misuse("family " .. self.name .. ": " .. fmt, ...)
end

local sorted = forms.sorted

local function declare(self, book, t)
  local owner = { title = "family " .. self.name, header = self.header }
  forms.declare(owner, book, t)
  -- struct genlmsghdr: command, version and two bytes of nothing, written when a request is made
  local front = "pad(4)"
  if t.front then
    local struct = book.structs[t.front]
    if not struct then
      fail(self, "front: %s", check.unknown("struct", t.front, book.structs))
    end
    local options, text = forms.parts(owner, "struct", t.front, t.structs[t.front])
    options.c, options.prefix = nil, nil
    book:struct("genlmsghdr", options, front .. " " .. text)
  else
    book:struct("genlmsghdr", {}, front)
  end
  book:message("ack", { head = "genlmsghdr" })
end

-- The message that a set is the body of; checked by flattening it.
local function message(self, set, what)
  local book = self.book
  if set ~= nil and not book.sets[set] then
    fail(self, "%s: %s", what, check.unknown("set", set, book.sets))
  end
  if set and not book.messages[set] then
    book:message(set, { head = "genlmsghdr", attrs = set })
  end
end

local function command(self, name, c, registry, numbers)
  local what = registry .. " " .. tostring(name)
  if type(name) ~= "string" or not name:match "^[%a_][%w_]*$" then
    fail(self, "%s: '%s' is no name", registry, tostring(name))
  elseif M.reserved[name] then
    fail(self, "%s: every family has a method of that name", what)
  end
  check.options("family " .. self.name .. ": " .. what, c, { "0-255", "string", reply = "string|false", dump = "string|boolean", c = "string" })
  if not c[1] then
    fail(self, "%s: its number is needed at [1]", what)
  elseif numbers[c[1]] then
    fail(self, "%s and %s are the same number", name, numbers[c[1]].name)
  end
  local dump = c.dump or nil
  if dump == true then
    dump = c[2] or false
  end
  message(self, c[2], what)
  message(self, c.reply or nil, what)
  message(self, dump or nil, what)
  local out = { name = name, number = c[1], set = c[2], reply = c.reply or nil, listed = c.dump and true or nil, dump = dump or nil,
    c = c.c or name:upper():gsub("_$", "") }
  numbers[c[1]] = out
  return out
end

---Declare a family.
---
---    local S = ns.netlink.family{ name = "tcp_metrics", version = 1,
---      sets = { metrics = "1 ip4 ip4  \n 3 age uint" }, commands = { get = { 1, "metrics", reply = "metrics", dump = true } } }
---@param t nslua.FamilyDeclaration
---@return nslua.FamilySchema
function M.family(t)
  check.options("netlink.family", t, known)
  if not t.name or t.name == "" or #t.name > 15 then
    errors.misuse "netlink.family: name is needed: what the kernel calls the family, 15 bytes at most"
  end
  local book = books.new("family " .. t.name .. ": ")
  book.name = t.name
  local self = setmetatable({ name = t.name, version = t.version, id = t.id, module = t.module, header = t.header, prefix = t.prefix, book = book,
    commands = {}, events = {}, groups = {}, numbers = {}, classes = {}, writes = {}, methods = {}, detail = t.detail or {} }, Family)
  declare(self, book, t)
  for _, name in ipairs(sorted(t.commands)) do
    self.commands[name] = command(self, name, t.commands[name], "command", self.numbers)
  end
  local heard = {}
  for _, name in ipairs(sorted(t.events)) do
    self.events[name] = command(self, name, t.events[name], "event", heard)
  end
  self.heard = t.events and heard or self.numbers
  for name, fn in pairs(t.methods or {}) do
    self.methods[name] = fn
  end
  for i, group in ipairs(t.groups or {}) do
    self.groups[i] = group
  end
  for name, class in pairs(t.classes or {}) do
    message(self, name, "class")
    class.name = class.name or t.name .. "." .. name
    self.classes[name] = schema.class(class)
  end
  for name, fn in pairs(t.write or {}) do
    message(self, name, "write")
    self.writes[name] = fn
  end
  book:check()
  return self
end

---Whether a value is a declared family.
---@param value any
---@return boolean
function M.is(value)
  return getmetatable(value) == Family
end

---The compiled schema of a message, by the name of its set; nil: of one without attributes.
---@package
---@param set string?
---@return nslua.schema.Compiled
function Family:compile(set)
  return self.book:compile(set or "ack")
end

---Every number of the declaration that has a C constant, as schema.constants().
---@package
---@return { expression: string, value: integer, header: string, where: string }[]
function Family:constants()
  local out = self.book:constants()
  if self.prefix and self.header then
    for _, list in ipairs { self.commands, self.events } do
      for name, c in pairs(list) do
        if c.c ~= "-" then
          out[#out + 1] = { expression = self.prefix .. c.c, value = c.number, header = self.header, where = "command " .. name }
        end
      end
    end
  end
  return out
end

return M
