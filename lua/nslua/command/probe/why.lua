-- What went wrong with a probe, in words that say who said so and what it means.

local errors = require "nslua.error"

local M = {}

local ICMP = { port_unreachable = "nothing has that port", host_prohibited = "a firewall there rejects it",
  net_prohibited = "a firewall there rejects it",
  admin_prohibited = "a firewall there rejects it", net_unreachable = "it has no route there", no_route = "it has no route there",
  reject_route = "a route of it rejects that", time_exceeded = "the TTL ended there: too few hops allowed, or routers in a circle",
  protocol_unreachable = "it does not speak that protocol", fragmentation_needed = "too large for a link behind it",
  packet_too_big = "too large for a link behind it" }

local function is_own(handle, address)
  local ok, found = pcall(function()
    for row in handle.address:each() do
      if row.address:match "^[^/]*" == address then
        return true
      end
    end
  end)
  return ok and found
end

-- Where nobody else said it, the kernel did, of what this namespace has.
local LOCAL = { ENETUNREACH = "no route in this namespace leads there", EHOSTUNREACH = "an unreachable route, or no neighbour answers (ARP, NDP)",
  EACCES = "a prohibit route, or a broadcast address", EPERM = "a firewall rule of this namespace drops it",
  EINVAL = "a blackhole route, or no address to send from",
  ECONNREFUSED = "the host is there, and nothing listens on that port", ECONNRESET = "the other side reset the connection",
  EADDRNOTAVAIL = "no address of this namespace to send from", ENETDOWN = "the link to it is down",
  EMSGSIZE = "larger than the MTU, or than was to be taken", EPIPE = "the other side closed it" }

-- Whether the next hop to an address was asked for and has not answered.
local function no_neighbour(handle, address)
  local ok, found = pcall(function()
    local plain = address:gsub("%%.*", "")
    local hop = handle.route:lookup { plain }
    local next_hop = hop and hop.via or plain
    for row in handle.neighbour:each() do
      if row.dst == next_hop and (row.state == "incomplete" or row.state == "failed") then
        return next_hop
      end
    end
  end)
  return ok and found or nil
end

---Why nothing came back.
---@param handle nslua.Netns
---@param address? string
---@param timeout? number  seconds that were waited
---@return string
function M.silent(handle, address, timeout)
  local neighbour = address and no_neighbour(handle, address)
  return ("no answer%s: %s"):format(timeout and (" in %g s"):format(timeout) or "", neighbour
    and ("no neighbour has answered for %s (ARP, NDP)"):format(neighbour) or "dropped on the way there or back, or nobody is there")
end

---@param handle nslua.Netns
---@param r table          a result, or an error of a ping: error, icmp, from, mtu, message, detail
---@param timeout? number  seconds that were waited
---@return string? text  nil: nothing went wrong
function M.of(handle, r, timeout)
  local code = r.error
  if not code then
    return nil
  elseif r.message then
    return r.message
  elseif code == "ETIMEDOUT" and not r.icmp then
    return M.silent(handle, r.dst or r.address, timeout)
  elseif r.icmp then
    local own = r.from and is_own(handle, r.from)
    if own and r.icmp == "host_unreachable" then
      return "EHOSTUNREACH: no neighbour answers for it (ARP, NDP): it is not on that link, or is down"
    end
    local word = r.icmp:gsub("_", " ")
    return ("%s: %s says %s%s%s"):format(code, own and "this namespace itself" or r.from or "somebody", word,
      r.mtu and (" (mtu %d)"):format(r.mtu) or "", ICMP[r.icmp] and ": " .. ICMP[r.icmp] or "")
  end
  local words = LOCAL[code]
  if code == "EMSGSIZE" and r.mtu then
    words = ("larger than the MTU, %d%s"):format(r.mtu, r.from and ", says " .. r.from or "")
  elseif r.detail then
    words = words and words .. " (" .. r.detail .. ")" or r.detail
  end
  return words and code .. ": " .. words or code
end

---Of an error object: in one line.
---@param e any
---@return string
function M.line(e)
  if not errors.is(e) then
    return tostring(e)
  end
  local detail = e.detail and not e.detail:find '^"' and " (" .. e.detail .. ")" or "" -- what is quoted is what was typed
  return (e.message or e.code) .. detail .. (e.hint and "; " .. e.hint or "")
end

return M
