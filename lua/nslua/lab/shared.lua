-- One lab, several processes: who built it and who has opened it see what any of them changed, and change it one at a time.

local addressing = require "nslua.lab.addressing"
local captures = require "nslua.lab.capture"
local core = require "nslua.core"
local errors = require "nslua.error"
local lost = require "nslua.lab.lost"
local running = require "nslua.lab.running"
local services = require "nslua.lab.service"
local topologies = require "nslua.lab.topology"
local wires = require "nslua.lab.wires"

local M = {}

local PATIENCE = 10 -- seconds for what another process does to the lab

-- The plan is another: nodes, links, what carries them, captures and services follow.
local function replan(lab, topology)
  local before = lab.plan
  lab.topology, lab.plan = topology, addressing.plan(topology)
  for i, node in ipairs(lab.nodes) do
    node.plan = lab.plan.nodes[i]
    node:forget_etc()
  end
  lab:replanned()
  for i, plan in ipairs(lab.plan.links) do
    wires.follow(lab, i)
    for side, at in ipairs(plan.ends) do
      if at.node ~= before.links[i].ends[side].node then
        captures.moved(lab, lab:numbered(i), side)
        lost.forget(lab.node[plan.ends[3 - side].node])
      end
    end
  end
  if lab.is_open_copy then
    services.find_said(lab)
  else
    services.moved(lab)
  end
end

local function take_over(lab)
  local said, seen
  if lab.board and not lab.closed then
    said, seen = running.news(lab.board, lab.seen)
  end
  if not said then
    return
  end
  lab.seen = seen
  if said.topology ~= lab.topology_text then
    replan(lab, topologies.read(running.topology_of(said)))
    lab.topology_text = said.topology
  end
  lab.agenda, lab.begun = said.agenda, said.begun
  for i, plan in ipairs(lab.plan.links) do
    if said.down[i] or lab.link_of[plan] then
      lab:numbered(i).is_down = said.down[i]
    end
  end
  for _, node in ipairs(lab.nodes) do
    rawset(node, "routed", said.routed[node.node_name])
  end
end

-- Whose turn it is sees what is there now; what another process was killed at is finished first.
local function begin(lab)
  take_over(lab)
  local begun = lab.begun
  if begun then
    lab.begun = nil -- tried once
    local ok, e = pcall(require("nslua.lab.move").finish, lab, begun)
    running.describe(lab)
    if not ok then
      errors.raise { call = "lab", message = "a move that another process was killed at could not be finished", detail = tostring(e) }
    end
  end
end

-- With the turn taken.
local function in_turn(lab, fn, ...)
  lab.has_turn = true
  local ok, value = pcall(fn, ...)
  lab.has_turn = nil
  return ok, value
end

---Take over what another process has changed.
---@param lab nslua.Lab
function M.refresh(lab)
  take_over(lab)
  if lab.begun and lab.board and not lab.closed and not lab.has_turn and core.board.lock(lab.board, true) then -- else it is being done
    local ok, e = in_turn(lab, begin, lab)
    core.board.lock(lab.board, false)
    if not ok then
      error(e, 0)
    end
  end
end

---Tell the others in the middle of what is done.
---@param lab nslua.Lab
function M.tell(lab)
  if lab.board and not lab.closed then
    running.describe(lab)
  end
end

local function take_turn(lab, call)
  local deadline = core.fd.clock() + PATIENCE
  while true do
    local ok, message, errno = core.board.lock(lab.board, true)
    if ok then
      return
    elseif errno ~= core.errno.EAGAIN or core.fd.clock() > deadline then
      errors.check(call, { detail = "another process changes the lab" }, ok, message, errno)
    end
    core.fd.poll({}, 0.005)
  end
end

---Do what changes a lab, while no other process does; then the others are told.
---@param lab nslua.Lab
---@param call string
---@param fn fun(...): any
---@return any
function M.alone(lab, call, fn, ...)
  if not lab.board or lab.closed or lab.has_turn then
    return fn(...)
  end
  take_turn(lab, call)
  local topology
  local ok, value = in_turn(lab, begin, lab)
  if ok then
    topology = lab.topology
    ok, value = in_turn(lab, fn, ...)
    local begun = lab.begun
    lab.begun = nil
    if ok or begun or lab.topology ~= topology then
      local told, e = pcall(running.describe, lab)
      ok, value = ok and told, not ok and value or told and value or e
    end
  end
  core.board.lock(lab.board, false)
  if not ok and errors.is(value) and value.errno and lab:has_ended() then
    errors.raise { call = call, errno = core.errno.ENOENT, message = ("the lab %q has ended meanwhile"):format(lab.name), detail = value.message }
  elseif not ok then
    error(value, 0)
  end
  return value
end

return M
