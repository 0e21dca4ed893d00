-- A family of generic netlink in one network namespace: `local f = a:netlink(S)`, its commands as methods. linux/genetlink.h

local check = require "nslua.check"
local core = require "nslua.core"
local declare = require "nslua.genl.declare"
local errors = require "nslua.error"
local namespace = require "nslua.namespace"
local netlink = require "nslua.netlink"
local privilege = require "nslua.privilege"

local M = {}

local NETLINK_GENERIC = 16 -- linux/netlink.h
local unpack = table.unpack or rawget(_G, "unpack")

---@class nslua.Family
---@field handle nslua.Netns
---@field schema nslua.FamilySchema
---@field info table  what the kernel says: family_id, version, maxattr, ops = { { id, flags }, ... }, mcast_groups = { { name, id }, ... }
local methods = {}

---@class nslua.FamilyRow: nslua.Row  a message of the kernel; its fields are the keys of the command's set

-- netns -> family -> what the kernel says of it, while the handle is open
local function known(handle, name)
  local all = rawget(handle, "netlink_families")
  if not all then
    all = {}
    rawset(handle, "netlink_families", all)
  end
  return all, all[name]
end

local function of(self, key)
  return self.schema.name .. "." .. key
end

-- The command of a name, or misuse.
local function command(self, name, call)
  local c = type(name) == "string" and self.schema.commands[name]
  if not c then
    errors.misuse("%s: %s", call, check.unknown("command", name, self.schema.commands))
  end
  return c
end

-- What EPERM means: flags of the command say which right it asks for.
local function forbidden(self, c)
  return function()
    for _, op in ipairs(self.info.ops or {}) do
      if op.id == c.number and op.flags.admin_perm and not op.flags.uns_admin_perm then
        return privilege.missing("CAP_NET_ADMIN") .. " (the first user namespace's root alone may do this)"
      end
    end
  end
end

-- Whether a command may change something: it asks for a right, or answers nothing.
local function changes(self, c)
  for _, op in ipairs(self.info.ops or {}) do
    if op.id == c.number then
      return op.flags.admin_perm or op.flags.uns_admin_perm or not c.reply
    end
  end
  return not c.reply
end

-- ENOENT and EOPNOTSUPP before any word of the command: the family or the command is not there.
local function hint(self, c)
  return function(errno, extack)
    if errno ~= core.errno.EOPNOTSUPP or extack then
      return nil
    end
    for _, op in ipairs(self.info.ops or {}) do
      if op.id == c.number then
        return nil
      end
    end
    return self.info.ops and ("this kernel's family %s has no command %s (%d)"):format(self.schema.name, c.name, c.number) or nil
  end
end

-- What was asked for, for the message of an error: `dev = "eth0"`.
local function detail(self, t)
  local out = {}
  for _, key in ipairs(self.schema.detail) do
    local value = t and t[key]
    if type(value) == "string" or type(value) == "number" then
      out[#out + 1] = (type(value) == "string" and "%s = %q" or "%s = %s"):format(key, value)
    end
  end
  return out[1] and table.concat(out, ", ") or nil
end

-- A message's bytes: the header with the command, and the caller's words.
local function encode(self, c, set, t, call)
  local S = self.schema:compile(set)
  if t == nil then
    t = {}
  elseif type(t) ~= "table" then
    errors.misuse("%s: a table expected, got %s", call, type(t))
  end
  local write = self.schema.writes[set]
  if write then
    local copy = {}
    for key, value in pairs(t) do
      copy[key] = value
    end
    write(copy, call)
    t = copy
  end
  return string.char(c.number, self.version % 256, 0, 0) .. S:encode(t):sub(5), S
end

local function rowset(self)
  return { handle = self.handle, family = self }
end

local request_flags = { replace = netlink.REPLACE, excl = netlink.EXCL, create = netlink.CREATE, append = 0x800, echo = netlink.ECHO }

---Call a command: `f:call("get", {})`; `f:get{}` is the same.
---@param name string       of the declaration's commands
---@param t? table          what its set has; nil: nothing
---@param options? { create: boolean, excl: boolean, replace: boolean, append: boolean, echo: boolean, undo: function }  NLM_F_* beside the
---request; `undo`: what takes it back, for a transaction
---@return nslua.FamilyRow? row  the answer, further ones after it; nothing for a command that only acknowledges, and for one in a batch
function methods:call(name, t, options)
  local call = of(self, tostring(name))
  local c = command(self, name, call)
  local flags, undo = 0, nil
  if options then
    check.options(call, options, { create = "boolean", excl = "boolean", replace = "boolean", append = "boolean", echo = "boolean",
      undo = "function" })
    for key, on in pairs(options) do
      flags = flags + (on == true and request_flags[key] or 0)
    end
    undo = options.undo
  end
  local transaction = netlink.transaction
  if transaction and not undo and changes(self, c) then
    transaction:note(self.handle, call, nil) -- raises: it has no inverse
  end
  local payload, S = encode(self, c, c.set, t, call)
  local request = { self.info.family_id, flags, payload, handle = self.handle, call = call, object = c.set or c.name, schema = S,
    protocol = NETLINK_GENERIC, forbidden = forbidden(self, c), hint = hint(self, c), detail = detail(self, t), asked = { call = call, t } }
  local send = c.reply and netlink.exchange or netlink.write
  local replies
  if transaction and undo then
    replies = transaction:doing(self.handle, call, undo, send, request)
  else
    replies = send(request)
  end
  if not (replies and replies[1]) then
    return nil
  end
  local set = c.reply or c.set
  local out, answer, shared = {}, self.schema:compile(set), rowset(self)
  for i, reply in ipairs(replies) do
    out[i] = answer:row(reply[2], self.schema.classes[set], shared)
  end
  return unpack(out)
end

local function dump(self, verb, name, t)
  local call = of(self, verb)
  local c = command(self, name, call)
  call = of(self, name)
  if not c.listed then
    errors.misuse("%s: command %s is not declared to be listed (dump = true)", of(self, verb), name)
  end
  local payload, S = encode(self, c, c.dump, t, call)
  local set = c.reply or c.set
  local answers = netlink.dump(self.handle, call, c.dump or c.name, S, self.info.family_id, payload,
    { protocol = NETLINK_GENERIC, forbidden = forbidden(self, c), hint = hint(self, c), detail = detail(self, t) })
  return answers, self.schema:compile(set), self.schema.classes[set]
end

---Every answer to a command that lists, as independent rows: `f:list("get", {})`.
---@param name string
---@param t? table
---@return nslua.FamilyRow[]  `interrupted` is true where the kernel's tables changed under ten dumps in a row
function methods:list(name, t)
  local answers, S, class = dump(self, "list", name, t)
  local rows = answers:rows(S, class, rowset(self))
  rows.interrupted = answers.interrupted or nil
  return rows
end

---Go through them. A row lives until the next step; `row:decode()` keeps it.
---@param name string
---@param t? table
---@return fun(): nslua.FamilyRow?
function methods:each(name, t)
  local answers, S, class = dump(self, "each", name, t)
  return answers:each(S, class, rowset(self))
end

---What this kernel accepts of a command, attribute by attribute: whether it knows one, of which type, in which range.
---
---    if pm:policy "add".endpoint.nested.flags.max then ... end
---@param name string
---@return table<string, nslua.FamilyPolicy>?  by key; "#9" for what is not declared; nil where the kernel tells nothing of the command
function methods:policy(name)
  local call = of(self, "policy")
  return require("nslua.genl.policy").of(self, M.open(self.handle, netlink.nlctrl), command(self, name, call))
end

---Listen to multicast groups: `for e in f:monitor("monitor"):each() do`.
---@param groups string|string[]    names
---@param options? { buffer: integer }  the size of the kernel's queue in bytes
---@return nslua.FamilyMonitor
function methods:monitor(groups, options)
  return require("nslua.genl.monitor").monitor(self, groups, options)
end

local Object = { __name = "nslua.Family" }

function Object:__index(key)
  local method = methods[key]
  if method then
    return method
  end
  local S = rawget(self, "schema")
  method = S.methods[key]
  if not method then
    if not S.commands[key] then
      errors.misuse("family %s: %s", S.name, check.unknown("command", key, S.commands))
    end
    method = function(me, ...)
      if type(me) ~= "table" or getmetatable(me) ~= Object or me.schema ~= S then
        errors.misuse("%s.%s: a method is called with a colon: f:%s{}", S.name, key, key)
      end
      return methods.call(me, key, ...)
    end
    S.methods[key] = method
  end
  return method
end

function Object:__tostring()
  return ("netlink family %s of %s"):format(self.schema.name, self.handle:describe())
end

local function make(handle, S, info)
  return setmetatable({ handle = handle, schema = S, info = info, version = S.version or info.version or 1 }, Object)
end

-- What the kernel says of a family, or nil.
local function ask(handle, name, call)
  local control = netlink.nlctrl
  local f = make(handle, control, { family_id = control.id })
  local ok, row = pcall(f.getfamily, f, { family_name = name })
  if ok then
    return row:decode()
  elseif errors.is(row, "ENOENT") then
    return nil
  end
  if errors.is(row) then
    row.call = call
  end
  error(row, 0)
end

-- Why a family is not there: the kernel has none, or has it in the first namespace only.
local function absent(handle, S, call)
  for _, target in ipairs { "current", 1 } do
    local ok, other = pcall(function()
      return target == 1 and namespace.open(1, "net", call) or namespace.current "net"
    end)
    if ok then
      local found
      ok, found = pcall(function()
        return other ~= handle and ask(other, S.name, call)
      end)
      other:close()
      if ok and found then
        return ("generic netlink family %q is in the first network namespace only (the kernel's family is not netnsok)"):format(S.name)
      end
    end
  end
  return ("this kernel has no generic netlink family %q (it may be in a module that is not there: modprobe %s)"):format(S.name, S.module or S.name)
end

---A declared family in a namespace. What the kernel calls it is asked once; that may load its module.
---@param handle nslua.Netns
---@param S nslua.FamilySchema|string  what ns.netlink.family gave, or the name of one of ns.netlink.families
---@return nslua.Family
function M.open(handle, S)
  local call = "netns.netlink"
  if type(S) == "string" then
    local found = false
    for _, name in ipairs(netlink.families) do
      found = found or name == S
    end
    if not found then
      errors.misuse("%s: %s; ns.netlink.family declares one", call, check.unknown("family", S, netlink.families))
    end
    S = netlink[S]
  elseif not declare.is(S) then
    errors.misuse("%s: a family that ns.netlink.family gave, or the name of one, expected, got %s", call, type(S))
  end
  local all, info = known(handle, S.name)
  if not info then
    info = ask(handle, S.name, call)
    if not info then
      errors.raise { call = call, netns = handle:describe(), errno = core.errno.ENOENT, message = absent(handle, S, call) }
    end
    all[S.name] = info
  end
  return make(handle, S, info)
end

M.methods = methods

return M
