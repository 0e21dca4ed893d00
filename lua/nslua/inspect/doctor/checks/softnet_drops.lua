-- What comes in is dropped before anybody sees it, since a processor's backlog is full. It is the machine's, and counted since it started.

local core = require "nslua.core"
local procfs = require "nslua.procfs"

local LOOK = 0.5 -- seconds: what counts is what is dropped now
local FILE, LIMIT = "/proc/net/softnet_stat", "/proc/sys/net/core/netdev_max_backlog"

-- What all processors dropped, and how often they did not come to the end of what was there.
local function count(space)
  local drops, squeezes = 0, 0
  for line in space:read(FILE):gmatch "[^\n]+" do
    local dropped, squeezed = line:match "^%x+ (%x+) (%x+)"
    drops, squeezes = drops + (tonumber(dropped or "", 16) or 0), squeezes + (tonumber(squeezed or "", 16) or 0)
  end
  return drops, squeezes
end

return {
  name = "softnet_drops", on_request = true,
  why = "What comes by veths, tunnels and slow drivers waits in a backlog of each processor until the kernel gets to it. Where it is full, packets "
    .. "are dropped, of whatever namespace, and counted in softnet_stat alone. A burst may do that on any machine.",
  run = function(target, report)
    local exam = target.examination
    if exam.softnet_counted then
      return -- by another target
    end
    exam.softnet_counted = true
    local drops, squeezes = count(target)
    core.fd.poll({}, LOOK)
    local drops_now, squeezes_now = count(target)
    if drops_now > drops then
      local limit = math.tointeger(tonumber(procfs.read(LIMIT) or "")) -- only the machine's first network namespace has it
      local seen = { ("%d packets were dropped in %g s (%s)"):format(drops_now - drops, LOOK, FILE) }
      seen[2] = limit and ("%d may wait for each processor (sysctl net.core.netdev_max_backlog)"):format(limit) or nil
      if squeezes_now > squeezes then
        seen[#seen + 1] = ("%d times a processor had more to do than time (%s)"):format(squeezes_now - squeezes, FILE)
      end
      report:found { problem = "the machine drops what comes in before anybody sees it", sure = 0.9, evidence = seen,
        fix = ("sysctl -w net.core.netdev_max_backlog=%d"):format(math.max((limit or 1000) * 2, 2000)), here = true }
    end
  end,
}
