-- What ip(8) and bridge(8) send, and what nslua would: the same attributes with the same bytes, whatever their order.

local helper = require "spec.helper"
local netlink = require "nslua.netlink"
local roundtrip = require "spec.roundtrip"
local rtnl = require "spec.rtnl_helper"

local M = {}

local library

---Why nothing can be compared, or nil.
---@return string?
function M.cannot()
  if not library then
    if not helper.has "cc" then
      return "no C compiler here"
    end
    library = os.tmpname()
    local out, ok = helper.sh("cc -shared -fPIC -o " .. library .. " spec/netlink_sent.c -ldl && chmod 755 " .. library)
    assert(ok, out)
  end
end

function M.close()
  if library then
    os.remove(library)
    library = nil
  end
end

local function number(bytes, at, n)
  local value = 0
  for i = n - 1, 0, -1 do
    value = value * 256 + bytes:byte(at + i)
  end
  return value
end

---The last request of a command, whether or not the kernel takes it.
---@param handle table
---@param command string  "ip route add ..."
---@param kind? integer  the last of this type
---@return { type: integer, flags: integer, payload: string }
function M.theirs(handle, command, kind)
  local path = os.tmpname()
  local said = rtnl.inside(handle, ("env LD_PRELOAD=%s NSLUA_SENT=%s %s"):format(library, path, command))
  local f = assert(io.open(path, "rb"))
  local bytes = f:read "*a"
  f:close()
  os.remove(path)
  local at, last = 1, nil
  while at + 15 <= #bytes do
    local length = number(bytes, at, 4)
    local is = number(bytes, at + 4, 2)
    if not kind or is == kind then
      last = { type = is, flags = number(bytes, at + 6, 2), payload = bytes:sub(at + 16, at + length - 1) }
    end
    at = at + length + (4 - length % 4) % 4
  end
  return last or error(("%s sent nothing: %s"):format(command, said), 0)
end

---The last write that `fn` would make.
---@param fn fun()
---@return { type: integer, payload: string }
function M.ours(fn)
  local write, last = netlink.write, nil
  netlink.write = function(request)
    last = { type = request[1], payload = request[3] }
    error("sent", 0)
  end
  local _, e = pcall(fn)
  netlink.write = write
  return last or error(e, 0)
end

---Raise where the two differ in more than the order of attributes and the flag bits of their types.
---@param handle table
---@param command string
---@param head integer   bytes in front of the attributes
---@param fn fun()
function M.same(handle, command, head, fn)
  local ours = M.ours(fn)
  local theirs = M.theirs(handle, command, ours.type)
  local function text(request)
    return ("%d %s %s"):format(request.type, roundtrip.hex(request.payload:sub(1, head)), roundtrip.hex(roundtrip.attributes(request.payload, head)))
  end
  if text(theirs) ~= text(ours) then
    error(("%s\nsends %s\nnslua %s"):format(command, text(theirs), text(ours)), 0)
  end
end

return M
