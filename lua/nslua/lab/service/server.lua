-- A server of many clients: one loop of poll(2), in a process of its own. Clients are not trusted: what they can make it hold is bounded.

local core = require "nslua.core"

local M = {}

local packet = core.packet
local E = core.errno
local CLIENTS = 1000   -- at the same time; others wait to be accepted
local IDLE = 60        -- seconds without a byte, after which a client is sent away
local HIGH = 1 << 18   -- bytes that wait to be sent to a client; nothing more is read from it then
local LATER = 10000    -- answers that wait for their time
local CHUNK = 65536

---@class nslua.lab.Client
---@field from string   its address
---@field port integer
---@field buffer string for its handler
local Client = {}
Client.__index = Client

---Send it something.
---@param text string
function Client:send(text)
  if text ~= "" and not self.closing then
    self.out[#self.out + 1] = text
    self.size = self.size + #text
  end
end

---Close it when all is sent.
function Client:finish()
  self.closing = true
end

---Whether so much waits to be sent that nothing more should be made.
---@return boolean
function Client:is_full()
  return self.size >= HIGH
end

---@class nslua.lab.Server
---@field data? fun(client: nslua.lab.Client, bytes: string)  what came from a client of TCP
---@field datagram? fun(socket: nslua.lab.Listener, packet: table)  what came by UDP
---@field discards? boolean  what comes by TCP is only counted
local Server = {}
Server.__index = Server

---@param fields table
---@return nslua.lab.Server
function M.new(fields)
  fields.clients, fields.count, fields.later = {}, 0, {}
  return setmetatable(fields, Server)
end

---Do something later.
---@param seconds number
---@param fn fun()
function Server:after(seconds, fn)
  if seconds <= 0 then
    fn()
  elseif #self.later < LATER then
    self.later[#self.later + 1] = { at = core.fd.clock() + seconds, fn = fn }
  end
end

---Answer a datagram, from the address it came to.
---@param socket nslua.lab.Listener
---@param got table
---@param text string
function M.reply(socket, got, text)
  local scope = socket.family == "inet6" and got.from:sub(1, 2) == "\xfe\x80" and got.dev_index or 0
  local to = got.to
  if to and socket.family == "inet" and (to:byte() >= 224 or to == "\255\255\255\255") or to and to:byte() == 255 then
    to = nil -- sent to a group
  end
  packet.send(socket.fd, text, got.from, got.port, scope, to)
end

function Server:drop(client)
  if self.clients[client] then
    self.clients[client] = nil
    self.count = self.count - 1
    client.fd:close()
    if self.gone then
      self.gone(client)
    end
  end
end

-- Send what waits; drop who is gone.
local function flush(self, client)
  while client.out[1] do
    local text = client.out[1]
    local n, _, errno = packet.send(client.fd, client.sent > 0 and text:sub(client.sent + 1, client.sent + CHUNK) or text)
    if not n then
      if errno ~= E.EAGAIN and errno ~= E.EINTR then
        self:drop(client)
      end
      return
    end
    client.last = core.fd.clock()
    client.sent, client.size = client.sent + n, client.size - n
    if client.sent >= #text then
      table.remove(client.out, 1)
      client.sent = 0
    end
  end
  if client.closing then
    self:drop(client)
  end
end

local function receive(self, client)
  if self.discards then
    local n, _, errno = packet.discard(client.fd, 1 << 26)
    if n and n > 0 then
      client.last, client.bytes = core.fd.clock(), client.bytes + n
    elseif n == 0 or errno ~= E.EAGAIN and errno ~= E.EINTR then
      self:drop(client)
    end
    return
  end
  local bytes, _, errno = client.fd:read(CHUNK)
  if bytes and bytes ~= "" then
    client.last = core.fd.clock()
    self.data(client, bytes)
    flush(self, client)
  elseif bytes == "" then
    client.ended = true
    client:finish()
    flush(self, client)
  elseif errno ~= E.EAGAIN and errno ~= E.EINTR then
    self:drop(client)
  end
end

local function accept(self, socket)
  for _ = 1, 64 do
    if self.count >= CLIENTS then
      return
    end
    local fd, _, errno = packet.accept(socket.fd)
    if not fd then
      if errno ~= E.EAGAIN and errno ~= E.EINTR and errno ~= E.ECONNABORTED then
        self.pause = core.fd.clock() + 0.1 -- no files, no memory
      end
      return
    end
    fd:nonblock(true)
    local ip, port = packet.name(fd, true)
    local client = setmetatable({ fd = fd, from = ip and core.inet.text(ip) or "?", port = port, out = {}, size = 0, sent = 0, buffer = "", bytes = 0,
      last = core.fd.clock(), poll = { fd, "r" } }, Client)
    self.clients[client], self.count = true, self.count + 1
  end
end

local function datagrams(self, socket)
  for _ = 1, 64 do
    local got, _, errno = packet.receive(socket.fd)
    if got then
      self.datagram(socket, got)
    elseif errno == E.EAGAIN then
      return
    end
  end
end

-- What is due; the time of the next.
local function due(self)
  local now, soonest = core.fd.clock(), nil
  for i = #self.later, 1, -1 do
    local each = self.later[i]
    if now >= each.at then
      self.later[i] = self.later[#self.later]
      self.later[#self.later] = nil
      each.fn()
    elseif not soonest or each.at < soonest then
      soonest = each.at
    end
  end
  return soonest
end

local function sweep(self)
  local limit = core.fd.clock() - IDLE
  for client in pairs(self.clients) do
    if client.last < limit then
      self:drop(client)
    end
  end
end

---Serve, for ever.
---@param sockets nslua.lab.Listener[]
function Server:run(sockets)
  core.limits.files(CLIENTS + 64)
  while true do
    local list, what = {}, {}
    local soonest = due(self)
    local now = core.fd.clock()
    if self.pause and now >= self.pause then
      self.pause = nil
    end
    for _, socket in ipairs(sockets) do
      if socket.proto == "udp" or self.count < CLIENTS and not self.pause then
        list[#list + 1], what[#what + 1] = { socket.fd, "r" }, socket
      end
    end
    for client in pairs(self.clients) do
      if client.late then -- an answer waits for its time: first that
        client.poll[2] = client.size > 0 and "w" or ""
      else
        client.poll[2] = (client.size < HIGH and not client.closing and "r" or "") .. (client.size > 0 and "w" or "")
      end
      if client.poll[2] ~= "" then
        list[#list + 1], what[#what + 1] = client.poll, client
      end
    end
    local seconds = math.min(self.count > 0 and IDLE / 4 or math.huge, soonest and soonest - now or math.huge,
      self.pause and self.pause - now or math.huge)
    local ready = core.fd.poll(list, seconds < math.huge and math.max(seconds, 0) or nil)
    for i, each in ipairs(what) do
      local is = ready and ready[i]
      if is and each.proto == "tcp" then
        accept(self, each)
      elseif is and each.proto == "udp" then
        datagrams(self, each)
      elseif is and self.clients[each] then
        if is:find("w", 1, true) then
          flush(self, each)
          if self.clients[each] and each.buffer ~= "" and not each.late and not each.closing and not each:is_full() then
            self.data(each, "") -- there was no room for its answer
          end
        end
        if is:find("r", 1, true) and self.clients[each] and each.poll[2]:find("r", 1, true) then
          receive(self, each)
        elseif is == "r" and self.clients[each] and each.closing then
          self:drop(each) -- hung up before it had all
        end
      end
    end
    if not self.swept or now > self.swept + IDLE / 4 then
      self.swept = now
      sweep(self)
    end
  end
end

---Go on with a client whose answer was late.
---@param client nslua.lab.Client
function Server:resume(client)
  client.late = nil
  if self.clients[client] then
    self.data(client, "")
    if self.clients[client] then
      flush(self, client)
    end
  end
end

return M
