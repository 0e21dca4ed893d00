-- There is no port left to connect from.

local expected = require "nslua.inspect.doctor.expected"

local USUAL = 60999 - 32768 + 1 -- ports that the kernel gives where nobody has changed it
local FULL = 0.9                -- of them: then some connects fail already

-- First and last port, and how many of them may be given.
local function range(target)
  local first, last = (target:sysctl "net.ipv4.ip_local_port_range" or ""):match "^(%d+)%s+(%d+)"
  if not first then
    return nil
  end
  first, last = math.tointeger(tonumber(first)), math.tointeger(tonumber(last))
  local size = last - first + 1
  for from, to in (target:sysctl "net.ipv4.ip_local_reserved_ports" or ""):gmatch "(%d+)%-?(%d*)" do
    local low, high = math.max(tonumber(from), first), math.min(tonumber(to) or tonumber(from), last)
    size = size - math.max(0, high - low + 1)
  end
  return first, last, math.tointeger(size)
end

-- Sockets of TCP, as the kernel counts them without a list.
local function busy(target)
  local inuse, tw = target:read("/proc/net/sockstat"):match "TCP: inuse (%d+) orphan %d+ tw (%d+)"
  local six = target:read("/proc/net/sockstat6"):match "TCP6: inuse (%d+)"
  return (tonumber(inuse) or 0) + (tonumber(tw) or 0) + (tonumber(six) or 0)
end

local function mend(target, size, n, tw, reuse)
  if size < USUAL then
    return "sysctl -w net.ipv4.ip_local_port_range='32768 60999'"
  elseif tw * 2 >= n and reuse ~= "1" then
    return "sysctl -w net.ipv4.tcp_tw_reuse=1"
  end
  local first = target:sysctl "net.ipv4.ip_local_port_range":match "%d+"
  return tonumber(first) > 1024 and "sysctl -w net.ipv4.ip_local_port_range='1024 65535'" or nil
end

return {
  name = "port_exhaustion",
  why = "Each connection to one address and port needs a port of its own at this end, out of ip_local_port_range; one that was closed keeps it for a "
    .. "minute in TIME_WAIT. When none is left, connect() fails with EADDRNOTAVAIL.",
  run = function(target, report)
    local first, last, size = range(target)
    if not first or busy(target) < size * FULL then
      return
    end
    local reuse = target:sysctl "net.ipv4.tcp_tw_reuse"
    local pairs_of = {}
    for _, row in ipairs(target.handle.sockets:list({ proto = "tcp", state = "connected" }, { brief = true })) do
      if row.sport >= first and row.sport <= last then
        local key = ("%s to %s port %d"):format(row.src, row.dst, row.dport)
        local each = pairs_of[key] or { n = 0, tw = 0 }
        pairs_of[key] = each
        local waits = row.state == "time-wait"
        -- with tcp_tw_reuse they are taken again
        if not waits or not (reuse == "1" or reuse == "2" and expected.is_loopback(row.src)) then
          each.n, each.tw = each.n + 1, each.tw + (waits and 1 or 0)
        end
      end
    end
    for key, each in pairs(pairs_of) do
      if each.n >= size * FULL then
        report:found { problem = "the ports to connect from are used up: " .. key, sure = each.n >= size and 0.96 or 0.8, evidence = {
          ("%d connections, %d of them in TIME_WAIT (sock_diag)"):format(each.n, each.tw),
          ("%d ports may be used: net.ipv4.ip_local_port_range is %d to %d (sysctl)"):format(size, first, last) },
          fix = mend(target, size, each.n, each.tw, reuse) }
      end
    end
  end,
}
