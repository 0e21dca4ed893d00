-- Sockets of a namespace, and what the kernel knows of each: a.sockets. sock_diag(7), ss(8), linux/inet_diag.h.
--
--    for s in a.sockets:each{ proto = "tcp", state = "listen" } do print(s.src, s.sport, s.uid) end
--    a.sockets:destroy{ proto = "tcp", dst = "10.0.0.0/8", dport = 80 }

local book = require "nslua.diag.schema"
local check = require "nslua.check"
local core = require "nslua.core"
local errors = require "nslua.error"
local filters = require "nslua.diag.filter"
local netlink = require "nslua.netlink"
local rows = require "nslua.diag.rows"
local schema = require "nslua.schema"

local M = {}

local NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, SOCK_DESTROY = 4, 20, 21 -- linux/netlink.h, linux/sock_diag.h
local AF = book:names "family"

---@class nslua.Sockets
---@field handle nslua.Netns
local methods = {}

local Sockets = { __index = methods, __name = "nslua.Sockets" }
M.metatable = Sockets

function Sockets:__tostring()
  return "sockets of " .. self.handle:describe()
end

local all = {}

-- What can be asked at once, with what its rows share.
local function ask(self, dump, call, shared)
  local set = { handle = self.handle, proto = dump.proto, shared = shared }
  return netlink.dump(self.handle, call, "sockets", book:compile(dump.message .. "_request"), SOCK_DIAG_BY_FAMILY, dump.payload,
    { protocol = NETLINK_SOCK_DIAG }), book:compile(dump.message), rows[dump.message], set
end

-- The test of a dump's rows. The kernel tells netlink sockets that are in a group twice.
local function test_of(dump, tests)
  if dump.family ~= "netlink" then
    return tests[1] and function(row)
      return filters.passes(row, tests)
    end or nil
  end
  local seen = {}
  return function(row)
    local cookie = row.cookie
    if seen[cookie] or not filters.passes(row, tests) then
      return false
    end
    seen[cookie] = true
    return true
  end
end

---Every socket that passes a filter, as independent rows. The kernel looks at states, ports, addresses and links itself. What it has no
---answer for (sctp, or raw without CONFIG_INET_RAW_DIAG) is nothing.
---@param filter? nslua.SocketFilter
---@param options? { brief: boolean? }  brief: internet sockets without `tcp_info`, `memory` and `congestion`, in half the time
---@return nslua.Socket[]
function methods:list(filter, options)
  if options ~= nil then
    check.options("sockets.list", options, { brief = "boolean" })
  end
  local found = filters.of(self, filter or all, "sockets.list", options and options.brief)
  local out, shared = {}, { handle = self.handle }
  for _, dump in ipairs(found.dumps) do
    local answer, S, class, set = ask(self, dump, "sockets.list", shared)
    for _, row in ipairs(answer:rows(S, class, set, test_of(dump, found.tests), AF[dump.family])) do
      out[#out + 1] = row
    end
  end
  return out
end

---Go through them. A row lives until the next step; `row:decode()` keeps it.
---@param filter? nslua.SocketFilter
---@return fun(): nslua.Socket?
function methods:each(filter)
  local found = filters.of(self, filter or all, "sockets.each")
  local at, step, passes, shared = 0, nil, nil, { handle = self.handle }
  return function()
    while true do
      if not step then
        at = at + 1
        local dump = found.dumps[at]
        if not dump then
          return nil
        end
        local answer, S, class, set = ask(self, dump, "sockets.each", shared)
        step, passes = answer:each(S, class, set, AF[dump.family]), test_of(dump, found.tests)
      end
      local row = step()
      if not row then
        step = nil
      elseif not passes or passes(row) then
        return row
      end
    end
  end
end

---The processes that have a socket open: `a.sockets:owners()[row.inode]`. They are looked for among all that this process may look at, whatever
---namespace they are in.
---@return table<integer, nslua.Owner[]> owners  by inode
---@return integer unseen                        processes that may not be looked at
function methods.owners()
  return require("nslua.owners").of_sockets()
end

local function hint(errno)
  return errno == core.errno.EOPNOTSUPP and "this kernel does not close sockets of that kind (CONFIG_INET_DIAG_DESTROY; tcp, udp, raw)" or nil
end

-- Ask the kernel to close one.
local function destroy(self, row, call, gone_is_fine)
  local id = row.id
  if not id then
    errors.misuse("%s: only internet sockets can be destroyed, this one is of family %s", call, tostring(row.family))
  end
  local proto = filters.protos[row.proto]
  local S = book:compile "inet_request"
  netlink.write { SOCK_DESTROY, 0, S:encode {
    family = AF[row.family], protocol = proto < 256 and proto or 0, proto_number = proto > 255 and proto or nil,
    states = 4294967295, id = id }, handle = self.handle, call = call, object = "sockets", schema = S, protocol = NETLINK_SOCK_DIAG, hint = hint,
    none = { [core.errno.ENOENT] = "no such socket" }, absent = gone_is_fine and { [core.errno.ENOENT] = true } or nil,
    detail = ("%s %s:%d to %s:%d"):format(row.proto, row.src, row.sport, row.dst, row.dport) }
end

---Close sockets that others have open, as `ss -K` does: their programs see ECONNABORTED; a UDP socket keeps its port. linux/sock_diag.h, SOCK_DESTROY
---@param which nslua.Socket|nslua.SocketFilter  a row; or a filter, with something in it
---@return integer? count  how many; nothing of a row, and in a batch
function methods:destroy(which)
  local call = "sockets.destroy"
  if netlink.transaction then
    netlink.transaction:note(self.handle, call, nil) -- raises: it has no inverse
  end
  if schema.isrow(which) then
    if tostring(which):sub(1, 11) ~= "sockets row" then
      errors.misuse("%s: a row of sockets expected, got %s", call, tostring(which))
    elseif schema.rowset(which).handle ~= self.handle then
      errors.misuse("%s: the socket is one of %s, not of %s", call, schema.rowset(which).handle:describe(), self.handle:describe())
    end
    return destroy(self, which, call, false)
  elseif type(which) ~= "table" or next(which) == nil then
    errors.misuse("%s: a row of sockets, or a filter with something in it, expected%s", call,
      type(which) == "table" and ": an empty one is every socket" or ", got " .. type(which))
  end
  local copy = {}
  for key, value in pairs(which) do
    copy[key] = value
  end
  copy.family = copy.family or { "inet", "inet6" }
  local found = self:list(copy)
  for _, row in ipairs(found) do
    destroy(self, row, call, true)
  end
  return not netlink.batching(self.handle) and #found or nil
end

return M
