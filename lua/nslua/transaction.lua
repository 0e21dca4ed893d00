-- All or nothing: what a function writes in some namespaces is taken back where it fails, the last first.

local check = require "nslua.check"
local core = require "nslua.core"
local errors = require "nslua.error"
local inverse = require "nslua.rtnl.inverse"
local netlink = require "nslua.netlink"
local owned = require "nslua.owned"

local M = {}

---@class nslua.Transaction
---@field handles table<table, true>  the namespaces it is about
---@field undo { call: string, fn: fun(), settled: (fun(): boolean)? }[]  how to take back what was done, in the order it was done in
---@field guard any         takes back at the end of the program, should os.exit end it
---@field busy boolean?    a verb is running: what it calls in turn is part of it
---@field outer nslua.Transaction?
local Transaction = {}
Transaction.__index = Transaction

local unpack = table.unpack or unpack -- luacheck: ignore

local function pack(...)
  return { n = select("#", ...), ... }
end

-- Run something that is part of what is done already.
local function within(self, fn, ...)
  self.busy = true
  local results = pack(pcall(fn, ...))
  self.busy = nil
  return results
end

-- Take back what was done since `from`, the last first. One that fails does not keep the others.
local function roll_back(self, from)
  local failed = {}
  for i = #self.undo, from + 1, -1 do
    local step = self.undo[i]
    self.undo[i] = nil
    local results = within(self, step.fn)
    if not results[1] then
      failed[#failed + 1] = { call = step.call, error = results[2], settled = step.settled }
    end
  end
  local out = {}
  for _, f in ipairs(failed) do
    -- what could not be made then may have come back with what an earlier operation had taken away
    local settled = f.settled and within(self, f.settled)
    if not (settled and settled[1] and settled[2]) then
      out[#out + 1] = f
    end
    f.settled = nil
  end
  return out
end

-- A signal in the middle of these would leave something that nobody takes back.
local hold, release = core.process.hold, core.process.release

local function note(self, call, fn, settled)
  self.undo[#self.undo + 1] = { call = call, fn = fn, settled = settled }
  local guard = {} -- younger than every handle and socket: finalizers run from the youngest to the oldest
  guard.proxy = owned.at_collection(function()
    if self.guard == guard then
      roll_back(self, 0)
    end
  end)
  self.guard = guard
end

-- Run a verb, and note what takes it back. undo: of use also where it failed, as of several requests some may have been carried out.
local function carry_out(self, call, undo, useful, fn, ...)
  local results = within(self, fn, ...)
  if not results[1] then
    if undo and useful then
      within(self, undo, nil)
    end
  elseif undo then
    note(self, call, function()
      undo(results[2])
    end, inverse.settled[undo])
  end
  return results
end

---A verb of a collection, while a transaction runs.
---@param object nslua.Object
---@param verb string
---@param fn function
---@param collection nslua.Collection
---@return any ...
function Transaction:verb(object, verb, fn, collection, ...)
  local handle, call = collection.handle, object.name .. "." .. verb
  if self.busy then
    return fn(collection, ...)
  elseif self.over then
    errors.misuse("%s: a namespace of this transaction was closed, so all was taken back", call)
  elseif not self.handles[handle] then
    errors.misuse("%s: %s is not among the namespaces of this transaction", call, handle:describe())
  end
  local prepare = inverse.of(object, verb)
  if not prepare then
    errors.misuse("%s has no inverse: it cannot stand in a transaction", call)
  end
  local before = within(self, prepare, collection, call, ...)
  if not before[1] then
    error(before[2], 0)
  end
  local results = hold(carry_out, self, call, before[2], before[3], fn, collection, ...)
  if results[1] then
    return unpack(results, 2, results.n)
  end
  error(results[2], 0)
end

local function expected(self, handle, call)
  if not self.handles[handle] then
    errors.misuse("%s: %s is not among the namespaces of this transaction", call, handle:describe())
  end
end

---Something else that is done in a transaction's namespace, by `fn`, and what takes it back.
---@param handle table
---@param call string
---@param undo fun()
---@param fn fun(...): any
---@return any ...  what it returns
function Transaction:doing(handle, call, undo, fn, ...)
  if self.busy then
    return fn(...)
  end
  expected(self, handle, call)
  return hold(function(...)
    local results = pack(fn(...))
    self:note(handle, call, undo)
    return unpack(results, 1, results.n)
  end, ...)
end

---Something else that is done in a transaction's namespace, and what takes it back.
---@param handle table
---@param call string
---@param fn? fun()  nil: nothing can
function Transaction:note(handle, call, fn)
  if self.busy then
    return
  end
  expected(self, handle, call)
  if not fn then
    errors.misuse("%s has no inverse: it cannot stand in a transaction", call)
  end
  note(self, call, fn)
end

---One of its namespaces is being closed: what was done is taken back while that can be.
function Transaction:abandon()
  for handle in pairs(self.handles) do
    rawset(handle, "transaction_running", nil)
  end
  self.over = true
  self.rollback = roll_back(self, 0)
  if self.outer then
    self.outer:abandon()
  end
end

-- A function called through string.gsub stands behind a C call boundary: a yield in it raises on every Lua.
local function contained(self, fn)
  local results
  string.gsub(" ", " ", function()
    results = pack(fn())
  end)
  if self.over then
    errors.misuse("transaction: a namespace of it was closed, so all was taken back")
  end
  return unpack(results, 1, results.n)
end

-- The error that ended it, with what could not be taken back.
local function told(e, failed)
  if #failed == 0 then
    return e
  end
  local lines = {}
  for i, f in ipairs(failed) do
    lines[i] = ("%s was not taken back: %s"):format(f.call, errors.without_place(f.error))
  end
  local text = table.concat(lines, "\n")
  if not errors.is(e) then
    e = errors.new { call = "transaction", message = tostring(e) }
  end
  e.rollback = failed
  e.hint = e.hint and e.hint .. "\n" .. text or text
  return e
end

-- The transaction from its begin to its end, while signals wait: they come in `fn`.
local function run(self, fn)
  local set, outer = self.handles, self.outer
  netlink.transaction = self
  for handle in pairs(set) do
    rawset(handle, "transaction_running", self)
  end
  local results = pack(pcall(release, contained, self, fn)) -- here: an interrupted script goes on where nslua caught it
  local failed = results[1] and {} or self.rollback or roll_back(self, 0)
  self.guard = nil
  netlink.transaction = outer
  for handle in pairs(set) do
    rawset(handle, "transaction_running", outer)
  end
  if results[1] and outer then
    for _, step in ipairs(self.undo) do
      note(outer, step.call, step.fn, step.settled)
    end
  end
  return results, failed
end

---Run a function; where it raises, or a signal ends it, what its writes on these namespaces did is taken back, the last first, and the error
---goes on (with `.rollback = { { call, error }, ... }` where something could not be). Writes are sent one by one, also those of a `batch` in it.
---What has no inverse (link.delete, set_nsid) raises when it is called, and so does a write on another namespace. A transaction in another one
---is taken back with it. Others may change the same objects meanwhile: what they did to them is lost when an old state is restored.
---@param handles table[]  netns handles
---@param fn fun(...): any  may not yield
---@return any ...  what it returns
function M.transaction(handles, fn)
  if type(handles) ~= "table" or #handles == 0 then
    errors.misuse("transaction: a list of netns handles expected, got %s", type(handles) == "table" and "an empty table" or type(handles))
  end
  check.argument("transaction", "fn", fn, "function")
  local outer = netlink.transaction
  local set = {}
  for i, handle in ipairs(handles) do
    if type(handle) ~= "table" or type(handle.describe) ~= "function" or handle.type ~= "net" then
      errors.misuse("transaction: [%d] is no netns handle", i)
    elseif netlink.batching(handle) then
      errors.misuse("transaction: a batch of %s is being collected: a batch can stand in a transaction, not the other way", handle:describe())
    end
    set[handle] = true
  end
  for handle in pairs(outer and outer.handles or {}) do
    set[handle] = true
  end
  local results, failed = hold(run, setmetatable({ handles = set, undo = {}, outer = outer }, Transaction), fn)
  if not results[1] then
    error(told(results[2], failed), 0)
  end
  return unpack(results, 2, results.n)
end

return M
