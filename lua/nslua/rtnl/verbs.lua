-- What the collections share: filters, list, each, ensure, names of devices in rows.

local check = require "nslua.check"
local core = require "nslua.core"
local device = require "nslua.rtnl.device"
local errors = require "nslua.error"
local names = require "nslua.rtnl.names"
local netlink = require "nslua.netlink"
local prefix = require "nslua.rtnl.prefix"
local schema = require "nslua.schema"
local told = require "nslua.rtnl.told"

local M = {}

local all = {}

---@class nslua.Object
---@field name string          "route"
---@field new integer          RTM_NEW*; `del` and `get` likewise
---@field message? string      the schema's message, where that is not `name`
---@field elsewhere? boolean   rows of another namespace can be asked for by its nsid
---@field restored? fun(message: table)  makes what the kernel told what it takes
---@field inverses? table<string, function>  of verbs, where the general ones (inverse.lua) do not fit
---@field bridge? boolean      its messages are AF_BRIDGE's, of a type that others have too
---@field class table          how rows read (schema.class)
---@field matchers table<string|integer, true|string|fun(self: nslua.Collection, value: any, call: string): any, any>  true: as rows have
---it; a type: the same, of a value that is computed
---@field yes_no? table<string, true>  keys of matchers whose `false` means no, where rows have no such field
---@field payloads fun(self: nslua.Collection, filter: table, call: string): string[], string[]?  dump requests that a filter needs, and the
---family each asks for: a kernel without IPv6 answers for it with what IPv4 has
---@field methods table        the verbs
---@field none table<integer, string|true>  errnos that mean there is none, and what they mean where strerror(3) speaks of something else
---@field echoes_get? boolean  RTM_GET answers by an echo
---@field family_number? fun(value: any, call: string): integer  of a filter, where the family is the header's and not only IPv4's or IPv6's
---@field visible? fun(row: table): boolean  what the kernel tells and is none of the objects is not
---@field missing integer      the one of these that is raised where it is found out here
---@field key_words fun(call: string, key: any): table  what a key says, as words of `add`
---@field detail fun(words: table): string?             these words in an error

---@class nslua.Collection
---@field handle table    the netns handle it belongs to
---@field object nslua.Object

---The compiled schema of an object.
---@param object nslua.Object
---@return userdata
function M.schema(object)
  local compiled = schema.compile(object.message or object.name)
  object.schema = compiled
  return compiled
end

---What the rows of one answer share: the namespace, and the names of its links once asked for.
---@param self nslua.Collection
---@param target? integer  nsid of the namespace they are of, where that is another
---@return table
function M.rowset(self, target)
  return { handle = self.handle, target = target }
end

---Whether two rows are of one namespace.
---@param a table
---@param b table
---@return boolean
function M.together(a, b)
  local one, other = schema.rowset(a), schema.rowset(b)
  return one.handle == other.handle and one.target == other.target
end

-- A filter that asks for another namespace: its nsid, and the filter with indexes of links there.
local function elsewhere(self, filter, call)
  local target = filter.target_nsid
  if not self.object.elsewhere then
    M.unknown(call, "target_nsid", self.object.matchers)
  elseif type(target) ~= "number" or target < 0 or target % 1 ~= 0 then
    errors.misuse("%s: target_nsid must be an id from 0, got %s", call, tostring(target))
  end
  local out = {}
  for key, value in pairs(filter) do
    if (key == "dev" or key == "master") and type(value) == "string" then
      value = require("nslua.rtnl.link").index(self.handle, value, call, target)
        or errors.raise { call = call, netns = self.handle:describe(), errno = core.errno.ENODEV,
          detail = ("%s = %q, target_nsid = %d"):format(key, filter[key], target) }
    end
    out[key] = value
  end
  out.target_nsid = nil
  return out, target
end

---Name of a link by its index, from one dump for each row set.
---@param set table
---@param index integer?
---@return string? name  nil for 0, nil, and a link that is gone
function M.link_name(set, index)
  if not index or index == 0 then
    return nil
  end
  local links = set.names
  if not links then
    links = require("nslua.rtnl.link").names(set.handle, set.target)
    set.names = links
  end
  return links[index]
end

---The name of the link whose index is in a field of rows.
---@param field string
---@return nslua.schema.Computed
function M.link_of(field)
  return { how = "link", field, call = function(row, set)
    return M.link_name(set, schema.raw(row, field))
  end }
end

local function the_one_with(word, kinds)
  local found
  for name, kind in pairs(kinds) do
    if kind.words[word] then
      if found then
        return nil
      end
      found = name
    end
  end
  return found
end

---Raise where an option is not known.
---@param call string
---@param t any
---@param known table
---@param kinds? table<string, { words: table }>  whose options stand in a table named after them
function M.options(call, t, known, kinds)
  if type(t) ~= "table" then
    errors.misuse("%s: a table expected, got %s", call, type(t))
  end
  for key, value in pairs(t) do
    if known[key] == "boolean" and type(value) ~= "boolean" then
      errors.misuse("%s: %s must be true or false, got %s", call, key, type(value))
    elseif known[key] == nil then
      local kind = kinds and (t[1] or t.kind or the_one_with(key, kinds))
      M.unknown(call, key, known, kind, kind and kinds[kind] and kinds[kind].words)
    end
  end
end

function M.unknown(call, key, known, kind, options)
  errors.misuse("%s: %s", call, names.unknown(key, known, kind, options))
end

---Text for the detail of an error: `name = "eth0"`.
---@param key string
---@param value any
---@return string?
function M.detail(key, value)
  if value == nil then
    return nil
  end
  return type(value) == "string" and ("%s = %q"):format(key, errors.short(value)) or ("%s = %s"):format(key, tostring(value))
end

-- Whether every field of `wanted` is in `found` with that value; tables inside likewise.
local function within(wanted, found)
  if type(wanted) ~= "table" or type(found) ~= "table" then
    return wanted == found
  end
  for key, value in pairs(wanted) do
    if not within(value, found[key]) then
      return false
    end
  end
  return true
end
M.within = within

---What a filter asks of a row, prepared once: { field, value } or { predicate =, value = }.
---@param self nslua.Collection
---@param call string
---@param filter table
---@param skip? table<string|integer, true>
---@return table[]
function M.tests(self, call, filter, skip)
  local matchers = self.object.matchers
  local tests = {}
  for key, value in pairs(filter) do
    if not (skip and skip[key]) then
      local matcher = matchers[key]
      if matcher == nil then
        M.unknown(call, key, matchers)
      elseif value == false and type(matcher) == "function" and not (self.object.yes_no and self.object.yes_no[key]) then
        tests[#tests + 1] = { key == 1 and self.object.noun or key, nil }
      elseif matcher == true then
        tests[#tests + 1] = { key, told.value(self.object, key, value, call) }
      elseif type(matcher) == "string" then
        check.argument(call, key, value, value ~= false and matcher or "false")
        tests[#tests + 1] = { key, value }
      else
        local field, wanted = matcher(self, value, call)
        tests[#tests + 1] = type(field) == "function" and { predicate = field, value = wanted } or { field, wanted }
      end
    end
  end
  if self.object.visible then
    tests[#tests + 1] = { predicate = self.object.visible }
  end
  return tests
end

---@param row any
---@param tests table[]
---@return boolean
local function passes(row, tests)
  for i = 1, #tests do
    local test = tests[i]
    local predicate = test.predicate
    if predicate then
      if not predicate(row, test.value) then
        return false
      end
    else
      local wanted, found = test[2], row[test[1]]
      if not wanted then
        if found then -- false and nil are both "has none"
          return false
        end
      elseif wanted ~= found and not (type(wanted) == "table" and within(wanted, found)) then
        return false
      end
    end
  end
  return true
end
M.passes = passes

---Filters that several objects have.
M.matchers = {
  family = function(_, value, call)
    return "family", prefix.family(value, call) == prefix.AF_INET and "inet" or "inet6"
  end,
  -- of rows with a `dev_index`, `proto_number`, `scope_number`, `table_number`
  dev = function(self, value, call)
    return "dev_index", device.index(self.handle, value, call, "dev")
  end,
  proto = function(_, value, call)
    return "proto_number", names.number("proto", value, call)
  end,
  scope = function(_, value, call)
    return "scope_number", names.number("scope", value, call)
  end,
  table = function(_, value, call)
    local number = names.number("table", value, call)
    return function(row)
      return (row.table_number or row.table8) == number
    end
  end,
}

---A filter: rows whose link is a port of that master.
---@param self nslua.Collection
---@param value any
---@param call string
---@return fun(row: table): boolean
function M.ports(self, value, call)
  local index = device.index(self.handle, value, call, "master")
  local ports = {}
  for _, row in ipairs(require("nslua.rtnl").collection(self.handle, "link"):list { master = index }) do
    ports[row.index] = true
  end
  return function(row)
    return ports[row.dev_index] == true
  end
end

---The dump request of a filter, by family and device.
---@param self nslua.Collection
---@param filter table
---@param call string
---@param field string  what the message calls the device
---@param target? integer  nsid
---@return table message
function M.dump_message(self, filter, call, field, target)
  return { target_nsid = target, family = filter.family and prefix.family(filter.family, call) or nil,
    [field] = filter.dev and device.index(self.handle, filter.dev, call, "dev") or nil }
end

local FAMILY = { family = true }
local FAMILIES = { inet = prefix.AF_INET, inet6 = prefix.AF_INET6, mpls = 28 }

-- A filter's family as a number where the header of every message has it: looked at before there is a row.
local function family_of(object, filter, call)
  local number = object.family_number or object.matchers.family == M.matchers.family and prefix.family
  return filter.family and number and number(filter.family, call) or nil
end

-- What is asked of the kernel for a filter, and of each row.
local function asking(self, call, filter)
  local object = self.object
  filter = filter or all
  if type(filter) ~= "table" then
    errors.misuse("%s: a filter is a table, got %s", call, type(filter))
  end
  local target
  if filter.target_nsid ~= nil then
    filter, target = elsewhere(self, filter, call)
  end
  local number = family_of(object, filter, call)
  local tests = M.tests(self, call, filter, number and FAMILY or nil)
  tests[#tests + 1] = target and { "target_nsid", target }
  local payloads, families = object.payloads(self, filter, call, target)
  return tests, M.rowset(self, target), payloads, function(at)
    return families and FAMILIES[families[at]] or number
  end
end

---Every row that passes a filter, as independent values.
---@param filter? table  words of the rows; false: has none
---@return table[]       `interrupted` is true where the kernel's tables changed under ten dumps in a row
function M.list(self, filter)
  local object = self.object
  local call = object.name .. ".list"
  local tests, set, payloads, family = asking(self, call, filter)
  local S, class = object.schema or M.schema(object), object.class -- a filter may have made another one
  local out, interrupted
  for at, payload in ipairs(payloads) do
    local rows, torn
    local only = family(at)
    if tests[1] then
      local dump = netlink.dump(self.handle, call, object.name, S, object.get, payload)
      torn = dump.interrupted
      rows = dump:rows(S, class, set, function(row)
        return passes(row, tests)
      end, only)
    else
      rows, torn = netlink.list(self, call, payload, set, only)
    end
    interrupted = interrupted or torn
    if not out then
      out = rows
    else
      for i = 1, #rows do
        out[#out + 1] = rows[i]
      end
    end
  end
  out = out or {} -- nothing was to be asked
  out.interrupted = interrupted or nil
  return out
end

---Go through the rows that pass a filter. A row lives until the next step; `row:decode()` keeps it.
---@param filter? table
---@return fun(): table?
---@return { interrupted: boolean? } state  `interrupted` is true once the kernel's tables changed under ten dumps in a row: rows may lack
function M.each(self, filter)
  local object = self.object
  local call = object.name .. ".each"
  local tests, set, payloads, family = asking(self, call, filter)
  local S, class = object.schema or M.schema(object), object.class -- a filter may have made another one
  local at, step, state = 0, nil, {}
  return function()
    while true do
      if not step then
        at = at + 1
        if not payloads[at] then
          return nil
        end
        local dump = netlink.dump(self.handle, call, object.name, S, object.get, payloads[at])
        state.interrupted = state.interrupted or dump.interrupted or nil
        step = dump:each(S, class, set, family(at))
      end
      local row = step()
      if not row then
        step = nil
      elseif not tests[1] or passes(row, tests) then
        return row
      end
    end
  end, state
end

---Make it so if it is not: add it, or change what differs. Returns the row.
---@param t table  as for `add`
---@return table? row  nothing in a batch
function M.ensure(self, t)
  local object = self.object
  local call = object.name .. ".ensure"
  M.options(call, t, object.writers)
  local key, rest = object.identity(self, t, call)
  local row = key and object.find(self, call, key)
  if not row then
    local ok, added = pcall(self.add, self, t)
    if ok then
      return added
    end
    -- somebody else was faster: what is there now decides
    row = errors.is(added, "EEXIST") and key and object.find(self, call, key)
    if not row then
      error(added, 0)
    end
  end
  if passes(row, M.tests(self, call, t, object.unchecked)) then
    return row
  end
  self:change(row, rest)
  if not netlink.batching(self.handle) then
    return object.find(self, call, key)
  end
end

---The key of an object that is named by an address and the link it is on, and the words that say how it is.
---@param t table        as for `add`
---@param call string
---@param third string   one more word of the key
---@return table key
---@return table rest
function M.on_device(t, call, third)
  if t[1] == nil or t.dev == nil then
    errors.misuse("%s: the address at [1] and dev are needed", call)
  end
  local rest = {}
  for key, value in pairs(t) do
    if key ~= 1 and key ~= "dev" and key ~= third and key ~= "family" then
      rest[key] = value
    end
  end
  return { t[1], dev = t.dev, [third] = t[third] }, rest
end

---The row of a key; raises where there is none.
---@param self nslua.Collection
---@param call string
---@param key any
---@param absent? boolean  nil instead
---@return table? row
function M.existing(self, call, key, absent)
  local object = self.object
  local row = object.find(self, call, key)
  if row or absent then
    return row
  end
  local errno = object.missing
  local text = object.none[errno]
  errors.raise { call = call, netns = self.handle:describe(), errno = errno, message = type(text) == "string" and text or nil,
    detail = object.detail(object.key_words(call, key)) }
end

---What all requests of one verb have in common: ten thousand of them may be queued.
---@param self nslua.Collection
---@param call string
---@param S userdata
---@param flags integer
---@return table
function M.form(self, call, S, flags)
  local forms = self.forms
  if not forms then
    forms = {}
    self.forms = forms
  end
  local form, making = forms[call], flags >= netlink.CREATE
  if not form or form.schema ~= S or form.making ~= making then
    local object = self.object
    form = { making = making, handle = self.handle, call = call, object = object.name, schema = S, describe = object.detail, plain = true,
      hint = object.hint, none = not making and object.none or nil } -- what makes an object fails for other reasons
    form.__index = form
    forms[call] = form
  end
  return form
end

---Send what makes or changes an object, or queue it: its bytes.
---@param self nslua.Collection
---@param call string
---@param flags integer
---@param bytes string   the message
---@param words table    of the caller, for the message of an error
---@param asked? table   what a batch's error tells, where that is not `words`
---@return boolean queued
---@return table[]? replies
function M.send(self, call, flags, bytes, words, asked)
  local object = self.object
  local form = M.form(self, call, object.schema or M.schema(object), flags)
  local batching = netlink.batching(self.handle)
  if batching and not asked then
    netlink.queue(form, object.new, flags, bytes, words)
    return true
  end
  return batching, netlink.write(setmetatable({ object.new, flags, bytes, false, words = words, asked = asked }, form))
end

---The same, of a message.
---@param self nslua.Collection
---@param call string
---@param flags integer
---@param message table
---@param words table
---@param asked? table
---@return boolean queued
---@return table[]? replies
function M.write(self, call, flags, message, words, asked)
  local object = self.object
  return M.send(self, call, flags, (object.schema or M.schema(object)):encode(message), words, asked)
end

---One row, or nil where there is none.
---@param key any
---@param options? { target_nsid: integer }  links and addresses: of the namespace that has this id here
---@return table?
function M.get(self, key, options)
  local object = self.object
  local target
  if options ~= nil then
    check.options(object.get_call, options, object.elsewhere and { target_nsid = "integer" } or {})
    target = options.target_nsid
  elseif object.elsewhere and schema.isrow(key) then
    target = schema.rowset(key).target
  end
  return object.find(self, object.get_call, key, target)
end

-- A key that is a row is one of this object: bytes of another would be read as something else.
local function own_rows(object, verb)
  local fn, call, own = object.methods[verb], object.name .. "." .. verb, object.name .. " row"
  return function(self, key, ...)
    if type(key) == "userdata" and not (schema.isrow(key) and tostring(key):sub(1, #own) == own) then
      errors.misuse("%s: %s expected as the key, got %s", call, own, schema.isrow(key) and tostring(key) or "userdata")
    elseif object.elsewhere and verb ~= "get" and schema.isrow(key) and schema.rowset(key).target then
      errors.misuse("%s: the row is of another namespace, nsid %d: its index means something else in this one", call, schema.rowset(key).target)
    end
    return fn(self, key, ...)
  end
end

-- While a transaction runs, it looks after every verb that changes something.
local function watched(object, verb)
  local fn = object.methods[verb]
  return fn and function(self, ...)
    local transaction = netlink.transaction
    if transaction then
      return transaction:verb(object, verb, fn, self, ...)
    end
    return fn(self, ...)
  end
end

---Collections of an object are made by this.
---@param object nslua.Object
function M.object(object)
  local methods = object.methods
  methods.list, methods.each = M.list, M.each
  methods.ensure = methods.ensure or object.writers and M.ensure or nil
  methods.get = methods.get or M.get
  for _, verb in ipairs { "get", "change", "delete" } do
    methods[verb] = methods[verb] and own_rows(object, verb) -- some are only read
  end
  local own = object.inverses and object.inverses.ensure and "ensure" -- that of others is made of these
  for _, verb in ipairs { "add", "append", "replace", "change", "delete", own } do
    methods[verb] = watched(object, verb)
  end
  object.get_call = object.name .. ".get"
  object.metatable = {
    __index = methods,
    __name = "nslua.Collection",
    __tostring = function(self)
      return ("%s of %s"):format(object.name, self.handle:describe())
    end,
  }
  return object
end

---Row from the echo of a request.
---@param self nslua.Collection
---@param replies table[]?
---@return table?
function M.echoed(self, replies)
  local object = self.object
  for i = replies and #replies or 0, 1, -1 do
    if replies[i][1] == object.new then
      return (object.schema or M.schema(object)):row(replies[i][2], object.class, M.rowset(self))
    end
  end
end

---Whether delete's options ask to be silent where there is nothing.
---@param call string
---@param options table?
---@return boolean
function M.absent_ok(call, options)
  if options == nil then
    return false
  end
  check.options(call, options, { absent = "string" })
  if options.absent and options.absent ~= "ok" and options.absent ~= "error" then
    errors.misuse("%s: absent must be \"ok\" or \"error\", got %q", call, options.absent)
  end
  return options.absent == "ok"
end

return M
