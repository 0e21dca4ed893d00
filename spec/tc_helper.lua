-- What the specs of queueing share: Debian's tc(8) as the oracle, run inside a namespace handle: what it shows, and the bytes it sends.

local assert = require "luassert"
local cjson = require "cjson"
local helper = require "spec.helper"
local netlink = require "nslua.netlink"
local roundtrip = require "spec.roundtrip"
local rtnl = require "spec.rtnl_helper"
local schema = require "nslua.schema"

local M = {}

---Why these specs cannot run, or nil.
---@return string?
function M.cannot()
  return not helper.has "tc" and "needs tc(8)" or rtnl.cannot()
end

---What `tc -s -j ARGUMENTS` shows.
---@param handle table
---@param arguments string
---@return table
function M.show(handle, arguments)
  local out, ok = rtnl.inside(handle, "tc -s -j " .. arguments)
  assert(ok, "tc " .. arguments .. ": " .. out)
  return cjson.decode(out == "" and "[]" or out)
end

---Do something with tc(8).
---@param handle table
---@param arguments string
function M.set(handle, arguments)
  local out, ok = rtnl.inside(handle, "tc " .. arguments)
  assert(ok, "tc " .. arguments .. ": " .. out)
end

---Whether tc(8) can do something here: what the kernel lacks it says by refusing.
---@param handle table
---@param arguments string
---@return boolean
function M.can(handle, arguments)
  local _, ok = rtnl.inside(handle, "tc " .. arguments)
  return ok
end

---The requests that tc(8) sends for these lines, whatever the kernel says to them: one each.
---@param handle table
---@param lines string[]
---@return { [1]: integer, [2]: integer, [3]: string }[]  type, flags, payload
function M.sent(handle, lines)
  local path = os.tmpname()
  local f = assert(io.open(path, "w"))
  f:write(table.concat(lines, "\n"), "\n")
  f:close()
  -- one tc for all: what looks things up is sent by sendto(2)
  local out = rtnl.inside(handle, "strace -e trace=sendmsg -e write=all -s 0 tc -force -batch " .. path)
  os.remove(path)
  local list, bytes = {}, nil
  for line in out:gmatch "[^\n]+" do
    if line:find "^sendmsg%(" then
      bytes = {}
      list[#list + 1] = bytes
    elseif line:find "^%a" then
      bytes = nil
    end
    local hex = bytes and line:match "^ | %x%x%x%x+  (.*)"
    if hex then
      for byte in hex:sub(1, 48):gmatch "%x%x" do
        bytes[#bytes + 1] = string.char(tonumber(byte, 16))
      end
    end
  end
  assert(#list == #lines, ("tc sent %d requests for %d lines: %s"):format(#list, #lines, out:gsub("\n |[^\n]*", "")))
  for i = 1, #list do
    local message = table.concat(list[i])
    local function u16(at)
      return message:byte(at) + 256 * message:byte(at + 1)
    end
    list[i] = { u16(5), u16(7), message:sub(17) }
  end
  return list
end

---The request that a function of ours would send.
---@param fn function
---@return { [1]: integer, [2]: integer, [3]: string }
function M.would_send(fn, ...)
  local real, request = netlink.write, nil
  netlink.write = function(r)
    request = request or { r[1], r[2], r[3] }
    error("not sent", 0)
  end
  local ok, e = pcall(fn, ...)
  netlink.write = real
  assert(request, not ok and tostring(e) or "nothing was sent")
  return request
end

-- The first path at which two tables differ, and what is there in each.
local function difference(a, b, path)
  if type(a) ~= "table" or type(b) ~= "table" then
    if not roundtrip.same(a, b) then
      return path, a, b
    end
    return nil
  end
  local keys = {}
  for _, t in ipairs { a, b } do
    for key in pairs(t) do
      keys[key] = true
    end
  end
  for key in pairs(keys) do
    local where, mine, theirs = difference(a[key], b[key], path .. "." .. tostring(key))
    if where then
      return where, mine, theirs
    end
  end
end

---Assert that ours is theirs: type, mode, header, and every attribute in whatever order.
---@param name "qdisc"|"class"|"filter"
---@param ours table
---@param theirs table
---@param what string
function M.equal(name, ours, theirs, what)
  assert.equal(theirs[1], ours[1], what)
  local function mode(flags)
    return math.floor(flags % 4096 / 256)
  end
  assert.equal(mode(theirs[2]), mode(ours[2]), what)
  local S = schema.compile(name)
  local a, b = S:decode(ours[3]), S:decode(theirs[3])
  if type(b.options) == "table" and b.options["#tail"] == "\4\0\2\0" then
    b.options["#tail"] = nil -- an empty nest that kernels of long ago wanted
  end
  if type(b.options) == "table" and type(b.options.mark) == "table" then
    b.options.mark.success = 0 -- an answer's; tc sends what happens to be in its memory
  end
  local where, mine, tcs = difference(a, b, name)
  if where then
    error(("%s: %s is %s, and %s where tc sends it"):format(what, where, tostring(mine), tostring(tcs)), 0)
  end
end

return M
