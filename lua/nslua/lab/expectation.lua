-- What is expected of a lab: who reaches whom, and who shall not.

local check = require "nslua.check"
local core = require "nslua.core"
local errors = require "nslua.error"
local nodename = require "nslua.lab.nodename"
local nodestate = require "nslua.lab.nodestate"
local units = require "nslua.units"

local M = {}

---@class nslua.lab.Expectation
---@field [1] string|nslua.lab.Node   who asks
---@field [2] string|nslua.lab.Node   who is asked
---@field tcp? integer                a port to connect to; without tcp and udp it is an echo request
---@field udp? integer                a port that answers
---@field send? string                what is sent to it
---@field family? "inet"|"inet6"
---@field count? integer              echo requests, 1
---@field loss? number|string         at the most, 0
---@field rtt? number|string          at the most: of echo requests the median, of tcp the time to connect
---@field timeout? number|string      of one try, 1
---@field within? number|string       expect: it may take so long until it is so; 0
---@field during? number|string       never: it is looked at again and again so long; 0

local words = { true, true, tcp = "1-65535", udp = "1-65535", send = "string", family = "string", count = "1-10000", loss = "number|string",
  rtt = "number|string", timeout = "number|string", within = "number|string", during = "number|string" }

local function nodes_of(lab, call, t)
  check.options(call, t, words)
  local out = {}
  for side = 1, 2 do
    local name = nodename.of(t[side], call, lab)
    out[side] = lab.node[name] or errors.misuse("%s: %s", call, check.unknown("node", name, lab.node))
  end
  return out[1], out[2]
end

-- One look: whether it is so, what is said where it is not, and what was found.
local function look(from, to, t)
  local options = { family = t.family, timeout = t.timeout or 1 }
  if t.tcp or t.udp then
    options.send = t.send
    local found = t.tcp and from:tcp(to, t.tcp, options) or from:udp(to, t.udp, options)
    local kind = t.tcp and "tcp" or "udp"
    if not found.ok then
      return false, ("%s %d: %s"):format(kind, t.tcp or t.udp, found.error or "no answer"), found
    elseif t.rtt and found.elapsed > units.duration(t.rtt) then
      return false, ("%s %d took %.1f ms"):format(kind, t.tcp or t.udp, found.elapsed * 1000), found
    end
    return true, nil, found
  end
  options.count, options.interval = t.count or 1, 0.05
  local found = from:ping(to, options)
  if found.loss > (t.loss and units.fraction(t.loss) or 0) then
    local why = found.errors[1] and (found.errors[1].icmp or found.errors[1].error)
    return false, ("%d of %d echo requests answered%s"):format(found.received, found.sent, why and " (" .. why .. ")" or ""), found
  elseif t.rtt and found.rtt.median and found.rtt.median > units.duration(t.rtt) then
    return false, ("the median round trip is %.1f ms"):format(found.rtt.median * 1000), found
  end
  return true, nil, found
end

local function guarded(from, to, t)
  local ok, is, why, found = pcall(look, from, to, t)
  if not ok then
    if not errors.is(is) then
      error(is, 0)
    end
    return false, tostring(is) -- no address, no route
  end
  return is, why, found
end

-- What to say where the lab has no way between two: hosts with several links may look as if they were one.
local function no_way(lab, from, to, family)
  if lab.plan:address_of(to.node_name, from.node_name, family) then
    return nil
  end
  local between = {}
  for _, node in ipairs(lab.plan.nodes) do
    local stands = node.kind == "host" and #node.interfaces > 1 and node.name ~= from.node_name and node.name ~= to.node_name
    between[#between + 1] = stands and node.name or nil
  end
  return "the lab has no way there" .. (between[1] and (": %s %s with several links, which forwards nothing"):format(table.concat(between, ", "),
    between[2] and "are each a host" or "is a host") or "")
end

---@param lab nslua.Lab
---@param t nslua.lab.Expectation
---@return table
function M.expect(lab, t)
  local from, to = nodes_of(lab, "lab.expect", t)
  local deadline = core.fd.clock() + units.duration(t.within or 0, "lab.expect: within")
  while true do
    local is, why, found = guarded(from, to, t)
    if is then
      return found
    elseif core.fd.clock() >= deadline then
      local state = nodestate.lines(lab, {}, from, to)
      local wrong = state[1] and "state:\n  " .. table.concat(state, "\n  ") or nil
      errors.raise { call = "lab.expect", state = state, message = ("%s does not reach %s%s"):format(from.node_name, to.node_name,
        t.within and (" within %g seconds"):format(units.duration(t.within)) or ""), detail = why,
        hint = no_way(lab, from, to, t.family) or wrong }
    end
    core.fd.poll({}, 0.02)
  end
end

---@param lab nslua.Lab
---@param t nslua.lab.Expectation
function M.never(lab, t)
  local from, to = nodes_of(lab, "lab.never", t)
  local deadline = core.fd.clock() + units.duration(t.during or 0, "lab.never: during")
  repeat
    if guarded(from, to, t) then
      errors.raise { call = "lab.never", message = ("%s reaches %s"):format(from.node_name, to.node_name) }
    end
    core.fd.poll({}, 0.02)
  until core.fd.clock() >= deadline
end

return M
