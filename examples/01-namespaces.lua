-- The namespaces of a process, as the links below /proc/PID/ns show them (readlink /proc/self/ns/net).
--
-- Use:    nslua examples/01-namespaces.lua [PID]
-- Prints: a line for each type, for instance
--         net      net:[4026531840]
-- Needs:  nothing; for other people's processes root.

local pid = tonumber(arg[1])

for _, type in ipairs{ "cgroup", "ipc", "mount", "net", "pid", "time", "user", "uts" } do
  local n <close> = pid and ns.namespace.open(pid, type) or ns.namespace.current(type)
  print(("%-8s %s:[%d]"):format(type, type == "mount" and "mnt" or type, n.inode))
end
