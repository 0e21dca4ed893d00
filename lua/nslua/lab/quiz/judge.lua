-- Whether a lab does what it did before it was broken: packets decide, not what was typed.

local core = require "nslua.core"
local errors = require "nslua.error"

local M = {}

---@class nslua.lab.quiz.Probe
---@field [1] string?      who asks
---@field [2] string?      who is asked
---@field address? string  in place of a node
---@field tcp? integer     a port to connect to; else it is an echo request
---@field udp? integer     a port that answers
---@field resolve? string  a name, in place of who is asked
---@field size? integer    of the echo request
---@field test? fun(lab: nslua.Lab): boolean, string?  what no packet tells; and what is said where it is not so

-- An echo request that is too large may teach its sender so: the next one counts too.
local function answered(from, to, probe, timeout)
  for _ = 1, probe.size and 2 or 1 do
    if from:ping(to, { count = 1, size = probe.size, timeout = timeout }).received > 0 then
      return true
    end
  end
  return false
end

local function guarded(fn)
  local ok, is, why = pcall(fn)
  if not ok and not errors.is(is) then
    error(is, 0)
  end
  return ok and is, why or not ok and tostring(is) or nil -- no route, no address
end

-- nil where it works, else what is said of it.
local function look(lab, probe, timeout)
  if probe.test then
    local ok, why = probe.test(lab)
    return not ok and why or nil
  end
  if probe.resolve then
    local r = lab.node[probe[1]]:resolve(probe.resolve, { timeout = timeout })
    return not r.ok and ("%s does not find the address of %s (%s)"):format(probe[1], probe.resolve, r.error or r.rcode or "no answer") or nil
  end
  local from, to = lab.node[probe[1]], probe.address or lab.node[probe[2]]
  local name = probe.address or probe[2]
  if probe.tcp then
    local ok, why = guarded(function()
      local r = from:tcp(to, probe.tcp, { timeout = timeout })
      return r.ok, r.error
    end)
    return not ok and ("%s cannot connect to port %d of %s%s"):format(probe[1], probe.tcp, name, why and " (" .. why .. ")" or "") or nil
  end
  if probe.udp then
    local ok = guarded(function()
      return from:udp(to, probe.udp, { send = "hello", timeout = timeout }).ok
    end)
    return not ok and ("%s gets no answer from port %d of %s (udp)"):format(probe[1], probe.udp, name) or nil
  end
  local ok = guarded(function()
    return answered(from, to, probe, timeout)
  end)
  return not ok and ("%s gets no answer from %s%s"):format(probe[1], name, probe.size and (" to %d bytes"):format(probe.size) or "") or nil
end

local function ask(pairs_of, timeout)
  return require("nslua").probe.ping_many(pairs_of, { timeout = timeout }).pairs
end

---@class nslua.lab.quiz.State  what works in a lab
---@field pings table[]                  { from =, to =, family = }
---@field ports nslua.lab.quiz.Probe[]

---What works now.
---@param lab nslua.Lab
---@return nslua.lab.quiz.State
function M.state(lab)
  local out = { pings = {}, ports = {} }
  for _, pair in ipairs(lab:ping_all({ timeout = 2 }).pairs) do
    if pair.received > 0 then
      out.pings[#out.pings + 1] = { from = pair.from, to = pair.to, family = pair.address:find(":", 1, true) and "inet6" or "inet" }
    end
  end
  for _, node in ipairs(lab.nodes) do
    for name, service in pairs(rawget(node, "services") or {}) do
      for _, other in ipairs(name == "http" and lab.nodes or {}) do
        local probe = { other.node_name, node.node_name, tcp = service.port }
        if other ~= node and other.kind == "host" and not look(lab, probe, 2) then
          out.ports[#out.ports + 1] = probe
        end
      end
    end
  end
  return out
end

-- Neighbours that did not answer are asked anew at once, not when the kernel tries again.
local function forget(lab)
  for _, node in ipairs(lab.nodes) do
    for _, row in ipairs(node.neighbour:list {}) do
      if row.state == "failed" or row.state == "incomplete" then
        node.neighbour:delete(row, { absent = "ok" })
      end
    end
  end
end

local function left(lab, probes, state, timeout)
  forget(lab)
  local out = {}
  for _, probe in ipairs(probes) do
    out[#out + 1] = look(lab, probe, timeout)
  end
  if out[1] then
    return out -- the rest is asked when these are well
  end
  for i, pair in ipairs(ask(state.pings, timeout)) do
    if pair.received == 0 then
      local asked = state.pings[i]
      out[#out + 1] = ("%s gets no answer from %s by %s, and did before it was broken"):format(asked.from.node_name, asked.to.node_name,
        asked.family == "inet6" and "IPv6" or "IPv4")
    end
  end
  for _, probe in ipairs(state.ports) do
    local text = look(lab, probe, timeout)
    out[#out + 1] = text and text .. ", and could before it was broken"
  end
  return out
end

---What does not work of what is asked for, and of what there was.
---@param lab nslua.Lab
---@param probes nslua.lab.quiz.Probe[]
---@param state nslua.lab.quiz.State
---@param timeout number  of one packet
---@param within number   what is mended may need a moment until all is well
---@return string[]
function M.left(lab, probes, state, timeout, within)
  local deadline = core.fd.clock() + within
  while true do
    local out = left(lab, probes, state, timeout)
    if not out[1] or core.fd.clock() >= deadline then
      return out
    end
    core.fd.poll({}, 0.05)
  end
end

return M
