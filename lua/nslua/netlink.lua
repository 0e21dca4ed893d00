-- Requests to the kernel over netlink: a kept socket for each namespace handle and protocol, errors with the kernel's own words, batches.

local core = require "nslua.core"
local errors = require "nslua.error"
local privilege = require "nslua.privilege"

local M = {}

-- linux/netlink.h
local AF_NETLINK, SOCK_RAW, NETLINK_ROUTE = 16, 3, 0
local ACK = 0x4
M.ECHO, M.REPLACE, M.EXCL, M.CREATE, M.APPEND = 0x8, 0x100, 0x200, 0x400, 0x800

---@class nslua.Batch
---@package
---@field handle table     the namespace whose writes queue
---@field queue table[]    what is not sent yet, as for `write`
---@field errors table[]   what failed so far
---@field count integer    requests so far
---@field devices table<string, integer>  indexes looked up in this batch
---@field touched table<string, true>     names of links that what is queued makes, deletes or moves
---@field wild boolean?    what is queued may do that to any
---@field kept table        what writes keep for those that follow
---@field special boolean?  something is not of a run
---@field run table?         requests of one form that are queued last

---@type nslua.Batch?
local active

---@type nslua.Transaction|false  the one that runs
M.transaction = false

-- Sockets of other protocols than rtnetlink, by number, closed with their handle.
local Sockets = {}
Sockets.__index = Sockets

function Sockets:close()
  for protocol, nl in pairs(self) do
    self[protocol] = nil
    nl:close()
  end
end

---A netlink socket of a namespace that nobody else uses: for events.
---@param handle table
---@param call string
---@param protocol integer
---@return userdata
function M.socket(handle, call, protocol)
  if not rawget(handle, "fd") then
    errors.misuse("%s: %s is closed", call, handle:describe())
  end
  local fd = handle:raw_socket(AF_NETLINK, SOCK_RAW, protocol)
  return errors.check(call, { netns = handle:describe() }, core.netlink.open(fd))
end

---The kept socket of a namespace handle; a new one after a fork, since the two processes would take each other's replies.
---@param handle table
---@param call string
---@param protocol? integer  NETLINK_* of linux/netlink.h (default: rtnetlink)
---@return userdata
local function socket_of(handle, call, protocol)
  local kept, key = handle, "netlink_socket"
  if protocol and protocol ~= NETLINK_ROUTE then
    kept, key = rawget(handle, "netlink_sockets"), protocol
    if not kept then
      kept = setmetatable({}, Sockets)
      rawset(handle, "netlink_sockets", kept)
    end
  end
  local nl = rawget(kept, key)
  if nl and nl:own() then
    return nl
  end
  nl = M.socket(handle, call, protocol or NETLINK_ROUTE)
  rawset(kept, key, nl)
  return nl
end

local function detail_of(request)
  return request.detail or request.describe and request.describe(request.words) or nil
end

-- What the caller asked for, as an entry of a batch's errors tells it.
local function asked(request)
  return request.asked or { call = request.call, request.words }
end

-- Which right was missing, where: the target namespace's owner decides, and so does the far namespace's.
local function permission(request)
  local hint = privilege.missing("CAP_NET_ADMIN", rawget(request.handle, "fd"), privilege.grants.own)
  if request.far then
    hint = ("in netns %s or netns %s: %s"):format(request.handle:describe(), request.far:describe(), hint)
  end
  return hint
end

---The error object of a request that failed.
---@param request table  { handle =, call =, schema =, [3] = payload, detail =, none = }
---@param message string
---@param errno integer?
---@param extack table?  { message =, offset =, range =, missing =, missing_nest = }
---@return nslua.Error
local function failure(request, message, errno, extack)
  local e = { call = request.call, netns = request.handle:describe(), errno = errno, detail = detail_of(request) }
  if not errno then
    e.message = message
  elseif errno == core.errno.EPERM and not (extack and extack.message) then
    e.hint = request.forbidden and request.forbidden() or permission(request)
  else
    local none = request.none and request.none[errno]
    e.message = type(none) == "string" and none or nil
    e.hint = request.hint and request.hint(errno, extack and extack.message, request.words) or nil
  end
  if extack then
    e.extack = extack.message
    e.range = extack.range
    local schema = request.schema
    local path, value
    if schema and extack.offset then
      path, value = schema:path(request[3], extack.offset)
    elseif schema and extack.missing then
      path = schema:missing(request[3], extack.missing, extack.missing_nest)
    end
    if path then
      e.attribute = request.object .. "." .. path
      e.value = type(value) ~= "table" and value or nil
    end
  end
  return errors.new(e)
end

local none = {}

-- A namespace that a queued request names by fd must still be that one when it is sent.
local function stale(request)
  for _, handle in ipairs(request.fds or none) do
    if not rawget(handle, "fd") then
      return errors.new { call = request.call, netns = request.handle:describe(), errno = core.errno.EBADF,
        message = ("%s was closed before the batch was sent"):format(handle:describe()), detail = detail_of(request) }
    end
  end
end

-- What became of a request that was sent: `f` where it failed.
local function settle(batch, request, f)
  local e
  if f then
    if not (request.absent and request.absent[f.errno]) then
      e = failure(request, f.message, f.errno, f.extack)
      if f.unknown then
        e.hint = "its answer was lost: it may have been carried out"
      end
    end
  elseif request.after then
    local ok, raised = pcall(request.after, request)
    e = not ok and raised or nil
  end
  if e then
    batch.errors[#batch.errors + 1] = { index = request[4], request = asked(request), error = e }
  end
  for _, handle in ipairs(request.owned or none) do
    handle:close()
  end
end

-- Send requests of one protocol, keep what failed.
local function send(batch, sent)
  local failures, message, errno = socket_of(batch.handle, "batch", sent[1].protocol):batch(sent)
  if not failures then
    errors.check("batch", { netns = batch.handle:describe() }, failures, message, errno)
  end
  if not failures[1] and not batch.special then
    return
  end
  local failed, n = {}, 0
  for _, f in ipairs(failures) do
    failed[f.index] = f
  end
  for _, request in ipairs(sent) do
    local several = request.run or request.alike
    if several then
      local count = #request[3]
      for i = 1, failures[1] and count or 0 do
        local f = failed[n + i]
        if f then
          local bytes, words
          if request.alike then
            bytes, words = request[3]:get(i)
          else
            bytes, words = request[3][i], several[i]
          end
          settle(batch, setmetatable({ request[1], request[2], bytes, request[4] + i - 1, words = words }, getmetatable(request)), f)
        end
      end
      n = n + count
    else
      n = n + 1
      settle(batch, request, failed[n])
    end
  end
end

-- Send what is queued in its order: what follows each other on one socket goes together.
local function flush(batch)
  local queue, sent = batch.queue, {}
  batch.queue, batch.run = {}, nil
  if batch.wild then
    batch.devices = {}
  end
  for name in pairs(batch.touched) do
    batch.devices[name] = nil
  end
  batch.touched, batch.wild = {}, nil
  for _, request in ipairs(queue) do
    local e = not request.plain and stale(request)
    if e then
      batch.errors[#batch.errors + 1] = { index = request[4], request = asked(request), error = e }
    else
      if sent[1] and sent[1].protocol ~= request.protocol then
        send(batch, sent)
        sent = {}
      end
      sent[#sent + 1] = request
    end
  end
  if sent[1] then
    send(batch, sent)
  end
end

-- Send a batch's queue from within; what its requests do afterwards is done at once.
local function flush_active()
  local batch = active
  active = nil
  local ok, e = pcall(flush, batch)
  active = batch
  if not ok then
    error(e, 0)
  end
end

---Whether writes on this handle are being queued.
---@param handle table
---@return boolean
function M.batching(handle)
  return active ~= nil and active.handle == handle
end

---What the writes of the running batch on this handle may keep for those that follow: it goes where names of links may have changed.
---@param handle table
---@return table?
function M.kept(handle)
  return active and active.handle == handle and active.kept or nil
end

-- The replies to echoes would overrun the socket.
local function without_echo(flags)
  return flags - flags % 16 + flags % 8 -- its bit is 8
end

---Queue a request in the running batch, which is of this handle: thousands that have the same form are kept as one.
---@param form table     what else `write` has, the same for all of them; its own __index
---@param kind integer
---@param flags integer
---@param bytes string
---@param words table
function M.queue(form, kind, flags, bytes, words)
  local batch = active
  local run, count = batch.run, batch.count + 1
  batch.count = count
  if not run or run.form ~= form or run.asked_flags ~= flags or run[1] ~= kind then
    run = setmetatable({ kind, without_echo(flags), {}, count, run = {}, n = 0, form = form, asked_flags = flags }, form)
    batch.run = run
    batch.queue[#batch.queue + 1] = run
  end
  local n = run.n + 1
  run.n, run[3][n], run.run[n] = n, bytes, words
end

---Queue one more that is like the last but for its address.
---@param last table     what that was: { form =, flags =, bytes =, at =, size =, length =, words = } (core.netlink.alike)
---@param kind integer
---@param words table
---@return boolean done  or it is not alike
function M.again(last, kind, words)
  local batch, run = active, last.run
  if run and run == batch.run then
    if not run[3]:add(words) then
      return false
    end
  else
    local alike = core.netlink.alike(last.bytes, last.length, last.at, last.size, last.words)
    if not alike:add(words) then
      return false
    end
    run = setmetatable({ kind, without_echo(last.flags), alike, batch.count + 1, alike = true }, last.form)
    last.run, batch.run = run, run
    batch.queue[#batch.queue + 1] = run
  end
  batch.count = batch.count + 1
  return true
end

---Send a request that changes something, or queue it.
---@param request table  { type, flags, payload, handle =, call =, object =, schema =, detail = (text), describe = (makes it of
---`words`, what the caller gave), asked = (what a batch's error tells, where that is not `words`), after =, hint =,
---none = (errno to what it means of an object that is not there), absent = (the same, where that is no error),
---far = (another namespace it needs rights in), fds = (handles it names by fd), owned = (handles to close when it is done),
---protocol = (NETLINK_*, default: rtnetlink), forbidden = (a function: what grants it, after EPERM) }; in a batch, [4] becomes its number
---@return table[]? replies  list of { type, bytes }; nil where it was queued
function M.write(request)
  local handle = request.handle
  if active then
    if active.handle == handle then
      local batch = active
      batch.count = batch.count + 1
      request[4] = batch.count
      batch.queue[#batch.queue + 1] = request
      request[2] = without_echo(request[2])
      batch.special, batch.run = true, nil
      return nil
    end
  end
  return M.exchange(request)
end

---Send a request now, and wait for all the kernel has to say to it.
---@param request table  as for `write`
---@return table[]? replies  nil where there is none, and that is no error
function M.exchange(request)
  if active then
    flush_active()
  end
  local nl = socket_of(request.handle, request.call, request.protocol)
  local replies, message, errno, extack = nl:request(request[1], request[2] + ACK, request[3])
  if not replies then
    if errno and request.absent and request.absent[errno] then
      return nil
    end
    error(failure(request, message, errno, extack), 0)
  end
  if request.after then
    request.after(request)
  end
  return replies
end

---Send what the running batch has queued.
function M.flush()
  if active then
    flush_active()
  end
end

---Delete an object, or queue that.
---@param self nslua.Collection
---@param call string
---@param payload string
---@param detail string?
---@param absent boolean  it is no error where there is none
---@param key any  as the caller gave it
function M.remove(self, call, payload, detail, absent, key)
  local object = self.object
  M.write { object.del, 0, payload, handle = self.handle, call = call, object = object.name, schema = object.schema, protocol = object.protocol,
    detail = detail, none = object.none, absent = absent and object.none or nil, asked = active and { call = call, key } }
end

---Ask for one object.
---@param self nslua.Collection
---@param call string
---@param payload string
---@param absent? integer|table<integer, any>  errno (or errnos) that mean there is none
---@param detail? string
---@param target? integer  nsid of the namespace that is asked about
---@return table? row  nil where there is none
function M.ask(self, call, payload, absent, detail, target)
  if active then
    flush_active()
  end
  local handle, object = self.handle, self.object
  local nl = socket_of(handle, call, object.protocol)
  local set = { handle = handle, target = target }
  local row, message, errno, extack
  if object.echoes_get then
    -- the kernel tells whoever listens, us where we ask for the echo; and what it keeps to itself it answers with the ack alone
    row, message, errno, extack = nl:request(object.get, M.ECHO + ACK, payload)
    if row then
      return row[1] and object.schema:row(row[#row][2], object.class, set)
    end
  else
    row, message, errno, extack = nl:get(object.get, payload, object.schema, object.class, set)
  end
  if not row then
    if errno and (errno == absent or type(absent) == "table" and absent[errno]) then
      return nil
    end
    error(failure({ nil, nil, payload, handle = handle, call = call, object = object.name, schema = object.schema, detail = detail },
      message, errno, extack), 0)
  end
  return row
end

local function dump_failure(handle, call, object, schema, payload, more, message, errno, extack)
  return failure({ nil, nil, payload, handle = handle, call = call, object = object, schema = schema,
    forbidden = more and more.forbidden, hint = more and more.hint, detail = more and more.detail }, message, errno, extack)
end

---Ask for many: the dump, drained from the socket.
---@param handle table
---@param call string
---@param object string
---@param schema userdata
---@param kind integer
---@param payload string
---@param more? { protocol: integer, forbidden: function, hint: function, detail: string }  as for `write`
---@return userdata dump
function M.dump(handle, call, object, schema, kind, payload, more)
  if active then
    flush_active()
  end
  local dump, message, errno, extack = socket_of(handle, call, more and more.protocol):dump(kind, 0, payload)
  if not dump then
    error(dump_failure(handle, call, object, schema, payload, more, message, errno, extack), 0)
  end
  return dump
end

---Ask for many, all of them wanted: the rows of the dump.
---@param self nslua.Collection
---@param call string
---@param payload string
---@param set table       what the rows share
---@param family integer?  only those
---@return table[] rows
---@return boolean interrupted
function M.list(self, call, payload, set, family)
  if active then
    flush_active()
  end
  local handle, object = self.handle, self.object
  local S = object.schema
  local rows, message, errno, extack = socket_of(handle, call):list(object.get, 0, payload, S, object.class, set, family)
  if not rows then
    error(dump_failure(handle, call, object.name, S, payload, nil, message, errno, extack), 0)
  end
  return rows, message
end

---The index of a link by its name, of 1 to 15 bytes.
---@param handle table
---@param call string
---@param name string
---@return integer|false|nil index  false: there is none; nil: ask for more than the index, to learn why there is no answer
function M.index(handle, call, name)
  if active then
    flush_active()
  end
  return (socket_of(handle, call):index(name))
end

---Look an index up by a link's name, without sending the running batch where nothing in it is about that link; ports of one bridge ask once.
---@param handle table
---@param name string
---@param ask fun(handle: table, name: string, call: string): integer?
---@param call string
---@return integer?
function M.device(handle, name, ask, call)
  local batch = active
  if not batch or batch.handle ~= handle or batch.wild or batch.touched[name] then
    local index = ask(handle, name, call)
    if active and active.handle == handle then
      active.devices[name] = index
    end
    return index
  end
  local index = batch.devices[name]
  if not index then
    active = nil
    local ok, found = pcall(ask, handle, name, call)
    active = batch
    if not ok then
      error(found, 0)
    end
    index = found
    batch.devices[name] = index
  end
  return index
end

---What the next request of the running batch does to names of links: true for any, or the name.
---@param name string|true
function M.touch(name)
  if active then
    active.kept = {}
    if name == true then
      active.wild = true
    else
      active.touched[name] = true
    end
  end
end

-- A function called through string.gsub stands behind a C call boundary: a yield in it raises on every Lua.
local function contained(fn)
  local ok, e
  string.gsub(" ", " ", function()
    ok, e = pcall(fn)
  end)
  return ok, e
end

---Queue the writes that `fn` makes on a namespace, send them together, then raise one error for all that failed.
---@param handle table  a netns handle
---@param fn fun()      may not yield
function M.batch(handle, fn)
  if type(fn) ~= "function" then
    errors.misuse("batch: a function expected, got %s", type(fn))
  end
  if M.batching(handle) or M.transaction then -- a transaction has to see each of them
    fn()
    return
  end
  local outer = active
  if outer then
    flush_active()
  end
  local batch = { handle = handle, queue = {}, errors = {}, count = 0, devices = {}, touched = {}, kept = {} }
  active = batch
  local ok, e = contained(fn)
  active = nil
  if ok then
    ok, e = pcall(flush, batch)
  end
  active = outer
  local failed = batch.errors
  table.sort(failed, function(a, b)
    return a.index < b.index
  end)
  if not ok then
    if #failed > 0 and errors.is(e) and not e.errors then
      e.errors = failed -- requests that a read or another handle's write had already sent
      e.hint = e.hint or ("request %d had failed: %s"):format(failed[1].index, errors.without_place(failed[1].error))
    end
    error(e, 0)
  end
  if #failed > 0 then
    local first = failed[1].error
    local is_error = errors.is(first)
    errors.raise { call = "batch", netns = handle:describe(), errors = failed,
      errno = is_error and first.errno or nil, code = is_error and first.code or nil,
      message = ("%d of %d requests failed; request %d: %s"):format(#failed, batch.count, failed[1].index,
        errors.without_place(first)) }
  end
end

---Add a link kind, or put another in place of one: pure data. Beside the fields of nslua.Kind it may have `enums`, `flags`, `structs`, `sets`
---and `unions` of its own, as a family has them; their names are shared by all kinds. Without a `prefix` the lines of `attributes` have no C-NAME.
---@param kind nslua.Kind
---@return nslua.Kind
function M.kind(kind)
  return require("nslua.rtnl.kinddeclaration").kind(kind)
end

---Declare a family of generic netlink: pure data, for `netns:netlink(family)` (doc: nslua.genl.declare).
---@param declaration nslua.FamilyDeclaration
---@return nslua.FamilySchema
function M.family(declaration)
  return require("nslua.genl.declare").family(declaration)
end

-- Families that are declared already: ns.netlink.ethtool.
local families = {
  ethtool = function()
    return require "nslua.genl.ethtool"
  end,
  nlctrl = function()
    return require "nslua.genl.nlctrl"
  end,
  seg6 = function()
    return require "nslua.genl.seg6"
  end,
  wireguard = function()
    return require "nslua.genl.wireguard"
  end,
}
---Names of the families that are declared already: `ns.netlink.NAME` is each.
M.families = { "ethtool", "nlctrl", "seg6", "wireguard" }

return setmetatable(M, {
  __index = function(t, key)
    local load = families[key]
    local family = load and load()
    rawset(t, key, family)
    return family
  end,
})
