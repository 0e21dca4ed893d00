-- A container's network, from the host: its addresses, routes and listening sockets, with no tool inside the container.
--
-- Use:    nslua examples/09-container.lua $(docker inspect -f '{{.State.Pid}}' web)
-- Prints: what `nsenter -t PID -n ip addr`, `route -n` and `netstat -unlpt` would show:
--         address 172.17.0.2/16 dev eth0
--         route   default via 172.17.0.1 dev eth0
--         listen  tcp 0.0.0.0:80
-- Needs:  root (or the rights over the container's user namespace).

local pid = tonumber(arg[1])
if not pid then
  io.stderr:write "usage: nslua examples/09-container.lua PID\n"
  os.exit(2)
end
local c <close> = ns.netns.open(pid)

for _, a in ipairs(c.address:list()) do
  print(("address %s dev %s"):format(a.address, a.dev))
end
for _, r in ipairs(c.route:list{ table = "main" }) do
  print(("route   %s%s dev %s"):format(r.dst, r.via and " via " .. r.via or "", r.dev))
end

-- /proc/net writes an address as 32-bit words in the byte order of the machine (little-endian here).
local function address(hex)
  local words = {}
  for word in hex:gmatch "%x%x%x%x%x%x%x%x" do
    words[#words + 1] = ("<I4"):pack(tonumber(word, 16))
  end
  local bytes = table.concat(words)
  if #bytes == 4 then
    return ("%d.%d.%d.%d"):format(bytes:byte(1, 4))
  end
  local groups = {}
  for i = 1, 15, 2 do
    groups[#groups + 1] = ("%x"):format((">I2"):unpack(bytes, i))
  end
  local text = table.concat(groups, ":")
  return text == "0:0:0:0:0:0:0:0" and "[::]" or "[" .. text .. "]"
end

local LISTEN, UNCONNECTED = "0A", "07"
for _, proto in ipairs{ "tcp", "tcp6", "udp", "udp6" } do
  for ip, port, state in c:read("/proc/net/" .. proto):gmatch "%d+: (%x+):(%x+) %x+:%x+ (%x%x)" do
    if state == (proto:find "^tcp" and LISTEN or UNCONNECTED) then
      print(("listen  %s %s:%d"):format(proto, address(ip), tonumber(port, 16)))
    end
  end
end
