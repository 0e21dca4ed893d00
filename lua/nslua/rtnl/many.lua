-- Messages that tell several objects at once (the VLANs of a port, the groups of a bridge): a row is made of each.

local errors = require "nslua.error"
local netlink = require "nslua.netlink"
local schema = require "nslua.schema"
local verbs = require "nslua.rtnl.verbs"

local M = {}

---The rows that pass a filter.
---@param self nslua.Collection
---@param call string
---@param filter? table
---@param hints? table<string, string>  codes of errors, and what they mean
---@return table[]
function M.rows(self, call, filter, hints)
  filter = filter or {}
  if type(filter) ~= "table" then
    errors.misuse("%s: a filter is a table, got %s", call, type(filter))
  end
  local object = self.object
  local tests = verbs.tests(self, call, filter)
  local S, class, set = object.schema or verbs.schema(object), object.class, verbs.rowset(self)
  local ok, dump = pcall(netlink.dump, self.handle, call, object.name, S, object.get, object.payloads(self, filter, call)[1])
  if not ok then
    local hint = hints and errors.is(dump) and hints[dump.code]
    if hint then
      errors.raise { call = call, netns = self.handle:describe(), errno = dump.errno, hint = hint }
    end
    error(dump, 0)
  end
  local out = {}
  local function emit(message)
    local row = S:row(S:encode(message), class, set)
    if verbs.passes(row, tests) then
      out[#out + 1] = row
    end
  end
  for each in dump:each(S, class, set) do
    object.split(S:decode(schema.bytes(each)), emit)
  end
  out.interrupted = dump.interrupted or nil
  return out
end

---An object whose messages tell several.
---@param object nslua.Object  with split(message, emit): a message, and what takes messages of one each
---@param hints? table<string, string>
---@return nslua.Object
function M.object(object, hints)
  local name, methods = object.name, object.methods
  verbs.object(object)
  function methods:list(filter)
    return M.rows(self, name .. ".list", filter, hints)
  end
  function methods:each(filter)
    local rows, at = M.rows(self, name .. ".each", filter, hints), 0
    return function()
      at = at + 1
      return rows[at]
    end, { interrupted = rows.interrupted }
  end
  return object
end

return M
