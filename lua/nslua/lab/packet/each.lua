-- link:each_packet: a function of Lua that sees every packet of a link. What leaves either end goes to a device that a copy of the script has, and
-- from there, as the function left it, on its way.

local carry = require "nslua.carry"
local core = require "nslua.core"
local divert = require "nslua.lab.packet.divert"
local errors = require "nslua.error"
local loop = require "nslua.lab.packet.loop"
local process = require "nslua.process"
local wireend = require "nslua.wireend"

local M = {}

local PATIENCE = 30 -- seconds for an answer: the function may be busy
local FAREWELL = 5  -- for the last one

---@class nslua.lab.EachPacket  a function that sees the packets of a link, until close()
---@field link nslua.lab.Link
local Each = { __name = "nslua.lab.EachPacket" }
Each.__index = Each

-- A device beside that of an end: nobody speaks on it.
local function device(self, at)
  local node = at.node
  local row = node.link:get(at.dev)
  local name = #at.dev <= 11 and "lua-" .. at.dev or ("lua-%d"):format(row.index) -- a name has 15 letters
  local made = wireend.new(node, { node, dev = name, mtu = row.mtu }, self.hub)
  self.devices[#self.devices + 1] = { made = made, node = node, name = name }
  wireend.segment(made, true)
  errors.check("link.each_packet", nil, made.fd:nonblock(true))
  node:sysctl(("net.ipv6.conf.%s.disable_ipv6"):format((name:gsub("%.", "/"))), 1)
  node.link:change(name, { mtu = row.mtu, txqlen = 4096, arp = false, up = true })
  return made, name
end

local function close_all(list)
  for _, fd in ipairs(list) do
    fd:close()
  end
end

-- Take away what was made. That of the child goes with it.
local function clear(self)
  close_all(self.fds)
  for _, each in ipairs(self.devices) do
    if each.node:isopen() then
      pcall(wireend.close, each.made)
    end
  end
  for _, space in pairs(self.hub.spaces) do
    space:close()
  end
end

local function pipe(self)
  local reader, writer, errno = core.fd.pipe()
  errors.check("link.each_packet", nil, reader, writer, errno)
  self.fds[#self.fds + 1], self.fds[#self.fds + 2] = reader, writer
  return reader, writer
end

local function keep(list, fd)
  list[#list + 1] = fd
  return fd
end

local function start(self, fn)
  local ends, devices, childs = {}, {}, {}
  for i, at in ipairs(self.link.ends) do
    local made, name = device(self, at)
    devices[i] = name
    ends[i] = { fd = made.fd, packet = made.kind ~= "tap", from = at.node.node_name, to = self.link.ends[3 - i].node.node_name }
    ends[i].back = keep(self.fds, divert.back(at.node, name, at.dev))
  end
  for i, at in ipairs(self.link.ends) do
    ends[i].away = keep(self.fds, divert.away(at.node, at.dev, devices[i]))
  end
  local requests, ask = pipe(self)
  local answers, answer = pipe(self)
  self.process = process.fork({ stdin = "null" }, loop.run, fn, ends, requests, answer)
  -- What is the child's now ends with it; the reader of requests stays: to write to a pipe that nobody reads would be a signal.
  for _, at in ipairs(ends) do
    childs[#childs + 1], childs[#childs + 2], childs[#childs + 3] = at.fd, at.back, at.away
  end
  childs[#childs + 1] = answer
  close_all(childs)
  self.ask, self.answers = ask, answers
end

---@param link nslua.lab.Link
---@param fn fun(p: nslua.lab.Packet)
---@return nslua.lab.EachPacket
function M.begin(link, fn)
  for _, at in ipairs(link.ends) do
    if not at.node:isopen() then
      errors.misuse("link.each_packet: %s is closed", tostring(at.node))
    end
  end
  local self = setmetatable({ link = link, hub = { spaces = {}, peers = 0 }, devices = {}, fds = {}, asked = {}, late = {} }, Each)
  local ok, err = pcall(start, self, fn)
  if not ok then
    if self.process then
      self.process:close()
    end
    clear(self)
    if errors.is(err) then
      err.call = "link.each_packet"
    end
    error(err, 0)
  end
  return self
end

-- So many bytes of an answer; nil where there will be none.
local function receive(self, call, size, patience)
  local parts, deadline = {}, core.fd.clock() + patience
  while size > 0 do
    local ready, _, errno = core.fd.poll({ { self.answers, "r" } }, deadline - core.fd.clock())
    if not ready and not errno then
      errors.raise { call = call, errno = core.errno.ETIMEDOUT, message = ("the function has not come back for %d seconds"):format(patience) }
    end
    local bytes = ready and self.answers:read(math.min(size, 65536))
    if bytes == "" then
      return nil
    elseif bytes then
      parts[#parts + 1], size = bytes, size - #bytes
    end
  end
  return table.concat(parts)
end

local function ended(self, call)
  errors.raise { call = call, message = "the process that the function ran in was ended: " .. self.process:wait():reason() }
end

-- The values of an answer. One that was not waited for to its end comes before it: what was emitted by then is kept.
local function ask(self, call, what, patience)
  if self.closed then
    errors.misuse("%s: the function was taken away", call)
  end
  errors.check(call, nil, self.ask:write(what))
  table.insert(self.asked, what)
  while true do
    local head = receive(self, call, 4, patience or PATIENCE)
    local text = head and receive(self, call, (string.unpack("<I4", head)), PATIENCE)
    if not text then
      ended(self, call)
    end
    local kind, values = table.remove(self.asked, 1), carry.unpack(text:sub(2))
    if not self.asked[1] then
      return table.unpack(values, 1, 2)
    elseif kind == "e" then
      table.move(values[1], 1, #values[1], #self.late + 1, self.late)
    end
  end
end

local function raise_failed(self, call, failed, values)
  self.told = true
  local e = errors.new { call = call, message = "the function raised, and packets pass without it since: " .. failed }
  e.emitted = values
  error(e, 0)
end

---What p:emit() was given since this was last asked, in its order. All packets that have come to the link are looked at before.
---Raises what the function raised; `emitted` of the error is what there was before.
---@return any[]
function Each:emitted()
  local new, failed = ask(self, "link.emitted", "e")
  local list = table.move(new, 1, #new, #self.late + 1, self.late)
  self.late = {}
  for i, text in ipairs(list) do
    list[i] = carry.unpack(text)[1]
  end
  if failed then
    raise_failed(self, "link.emitted", failed, list)
  end
  return list
end

---@class nslua.lab.EachPacketCounters  taken + copied = sent + dropped + limited + refused + queued
---@field taken integer    packets that the function has seen
---@field copied integer   copies that it made
---@field sent integer     packets that were given on
---@field dropped integer  by the function
---@field delayed integer
---@field changed integer
---@field queued integer   are delayed now
---@field limited integer  would have been delayed, but 100,000 were
---@field refused integer  the kernel did not take: the device was down, or the frame was none
---@field missed integer   dropped before: the function was too slow, and the queue (4096 packets of each end) full

---What has happened so far.
---@return nslua.lab.EachPacketCounters
function Each:counters()
  local count, failed = ask(self, "each_packet.counters", "c")
  for _, each in ipairs(self.devices) do
    local row = each.made.kind == "tap" and each.node.link:get(each.name)
    count.missed = count.missed + (row and row.stats and row.stats.tx_dropped or 0)
  end
  self.failed = failed
  return count
end

---@return boolean
function Each:isopen()
  return not self.closed
end

---Take it away: packets pass as they did before. Those that were delayed arrive at once. Raises what the function raised, if nobody was told, and
---where it does not come back within 5 seconds: it is ended then.
---@return true
function Each:close(err)
  if self.closed then
    return true
  end
  local mine = self.process.child and self.process.child:mine() -- else it is that of the process this one was forked from
  local ok, failed
  if mine and err == nil and self.process:running() then -- where something has failed already nobody waits for it
    ok, failed = pcall(ask, self, "each_packet.close", "q", FAREWELL)
  end
  self.closed = true
  if self.link.each == self then
    self.link.each = nil
  end
  self.process:close()
  if not mine then
    close_all(self.fds)
    return true
  end
  clear(self)
  if ok and failed and not self.told then
    raise_failed(self, "link.each_packet", failed)
  elseif ok == false and errors.is(failed, "ETIMEDOUT") then
    failed.message = failed.message .. ", and was ended"
    error(failed, 0)
  end
  return true
end

Each.__close = Each.close
Each.__gc = function(self)
  pcall(self.close, self, true)
end

function Each:__tostring()
  return ("each packet of %s%s"):format(tostring(self.link), self.closed and " (closed)" or "")
end

return M
