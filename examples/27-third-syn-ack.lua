-- The third SYN-ACK on a link is lost: a function of Lua sees every packet. The third connection waits for the next one, which comes a second later.
--
-- Use:    nslua examples/27-third-syn-ack.lua
-- Prints: how long each of three connections took to open, and which packet was dropped.
-- Needs:  Linux 5.16 (nf_tables at the egress of a device), and user namespaces or root.

local lab <close> = ns.lab "client -- server"
lab.server:serve "echo"

local seen = 0
lab:link("client", "server"):each_packet(function(p)
  if p.tcp and p.tcp.flags == "SA" then
    seen = seen + 1
    if seen == 3 then p:drop() p:emit(p) end
  end
end)

for i = 1, 3 do
  local answer = lab.client:tcp("server", 7, { family = "inet" })
  print(("connection %d: %s after %.1f s"):format(i, answer.ok and "open" or answer.error, answer.elapsed))
end
for _, p in ipairs(lab:link("client", "server"):emitted()) do
  print(("dropped: from %s, port %d, flags %s"):format(p.from, p.tcp.sport, p.tcp.flags))
end
