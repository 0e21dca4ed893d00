-- Enter a process (nsenter -t PID -n): the host's tools, the process's network.
--
-- Use:    nslua examples/03-enter.lua [PID]
--         Without a pid it starts a `sleep` of its own in new network and uts namespaces, and enters that.
-- Prints: its host name, what `ip -br addr` says inside, what nslua reads itself, and the name of the host again.
-- Needs:  root, or `unshare -Ur` before it.

local pid = tonumber(arg[1])
local sleep <close> = not pid and ns.spawn{ "sleep", "60", unshare = "net,uts", hostname = "web" } or nil
pid = pid or sleep.pid

-- Joining one namespace leaves everything else as it is here: the program, its files, its pids are the host's.
print("host name inside: " .. ns.run{ "hostname", join = { uts = pid } }:check().stdout:gsub("\n", ""))

local n <close> = ns.netns.open(pid)
n.link:change("lo", { up = true })
io.write("ip -br addr: ", n:run{ "ip", "-br", "addr", "show", "lo" }:check().stdout)
for _, a in ipairs(n.address:list()) do
  print(("%s %s"):format(a.dev, a.address))
end
print("host name outside: " .. ns.run{ "hostname" }:check().stdout:gsub("\n", ""))
