-- "echo": what comes goes back, by TCP and UDP, RFC 862. "sink": what comes is counted and forgotten, RFC 863.

local server = require "nslua.lab.service.server"

local M = {}

M.echo = { port = 7, protos = { "tcp", "udp" }, words = {}, run = function(sockets, options)
  server.new({
    data = function(client, bytes)
      client:send(bytes)
    end,
    datagram = function(socket, got)
      if got.port ~= 0 and got.port ~= options.port then -- two echoes would never end
        server.reply(socket, got, got.data)
      end
    end,
  }):run(sockets)
end }

M.sink = { port = 9, protos = { "tcp", "udp" }, words = {}, run = function(sockets)
  server.new({
    discards = true,
    datagram = function() end,
    gone = function(client)
      print(("%s %d bytes"):format(client.from, client.bytes))
    end,
  }):run(sockets)
end }

return M
