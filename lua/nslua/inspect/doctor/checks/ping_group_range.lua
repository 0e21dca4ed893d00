-- Nobody without CAP_NET_RAW may ping.

local procfs = require "nslua.procfs"

local NET_RAW = 13 -- linux/capability.h

-- Groups of a process, and whether it may have raw sockets. proc_pid_status(5)
local function rights(pid)
  local text = procfs.read(("/proc/%d/status"):format(pid)) or ""
  local effective, gid, groups = text:match "\nCapEff:%s*(%x+)", text:match "\nGid:%s+%d+%s+(%d+)", text:match "\nGroups:([^\n]*)"
  if not effective or not gid then
    return nil
  end
  return gid .. " " .. (groups or ""), tonumber(effective, 16) >> NET_RAW & 1 == 1
end

return {
  name = "ping_group_range", on_request = true,
  why = "ping needs CAP_NET_RAW, or a group within net.ipv4.ping_group_range, which each new namespace has as \"1 0\": none. Without either it says "
    .. "that the operation is not permitted, whatever the network is like.",
  run = function(target, report)
    local low, high = (target:sysctl "net.ipv4.ping_group_range" or ""):match "^(%d+)%s+(%d+)"
    if not low then
      return
    end
    low, high = tonumber(low), tonumber(high)
    local pid = rawget(target.handle, "pid")
    local groups, raw = nil, false
    if pid then
      groups, raw = rights(pid)
    end
    local within = not groups and low <= high
    for gid in (groups or ""):gmatch "%d+" do
      within = within or low <= tonumber(gid) and tonumber(gid) <= high
    end
    if not within and not raw then
      -- a user namespace takes only groups that it has
      local most = rawget(target.handle, "userns") and 0 or 2147483647
      report:found { problem = "programs without CAP_NET_RAW may not ping", sure = groups and 0.9 or 0.5,
        fix = ("sysctl -w net.ipv4.ping_group_range='0 %d'"):format(most), evidence = {
          ("net.ipv4.ping_group_range is \"%d %d\" (sysctl)"):format(low, high),
          groups and ("pid %d has no CAP_NET_RAW, and the groups %s (/proc/%d/status)"):format(pid, groups:gsub("%s+$", ""), pid) } }
    end
  end,
}
