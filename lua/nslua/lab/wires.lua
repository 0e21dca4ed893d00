-- Impaired links of a lab: netem where the kernel has it, wires of one process where it has not or the lab says so.

local impair = require "nslua.lab.impair"
local impairment = require "nslua.impairment"
local netem = require "nslua.netem"
local wire = require "nslua.wire"

local M = {}

local function of_end(lab, at)
  return { lab.node[at.node], dev = at.dev, lladdr = at.lladdr, mtu = at.mtu, up = false }
end

---The process that carries a lab's wires.
---@param lab nslua.Lab
---@return nslua.WireHub
function M.hub(lab)
  lab.hub = lab.hub or wire.hub { seed = lab.topology.seed, keeper = lab.keeper }
  return lab.hub
end

---Make those of a lab; each is kept in `lab.wires` by the number of its link.
---@param lab nslua.Lab
---@param topology nslua.lab.Topology
function M.add(lab, topology)
  for i, link in ipairs(topology.links) do
    if lab.plan.links[i].impaired then
      if not lab.hub and (topology.wire or not netem.available()) then
        M.hub(lab)
      end
      local ends = lab.plan.links[i].ends
      local made = impair.link { a = of_end(lab, ends[1]), b = of_end(lab, ends[2]), to = link.to, from = link.from, hub = lab.hub,
        backend = topology.wire and "wire" or nil, seed = not lab.hub and topology.seed and topology.seed + i or nil }
      made.called = "link" -- in messages
      lab.wires[i] = made
    end
  end
end

---What other processes have to know of them.
---@param lab nslua.Lab
---@return table  by the number of the link
function M.told(lab)
  local out = { seed = lab.hub and lab.hub.seed }
  for i, link in pairs(lab.wires) do
    out[i] = link.backend == "wire" and link:told() or { seed = link.seed }
    out[i].backend = link.backend
  end
  return out
end

-- An end of a link, as the plan has it.
local function end_of(lab, number, side)
  local at = lab.plan.links[number].ends[side]
  return { netns = lab.node[at.node], dev = at.dev }
end

---Ask those of a lab that another process built: `told` is what that said of them, `socket` leads to the process that carries them.
---@param lab nslua.Lab
---@param told table
---@param socket? nslua.fd
function M.adopt(lab, told, socket)
  if socket then
    lab.hub = wire.adopt(socket, told.seed)
  end
  for i, one in pairs(told) do
    local link = type(i) == "number" and lab.topology.links[i]
    if link and (one.backend == "netem" or lab.hub) then
      local ends, words = { a = end_of(lab, i, 1), b = end_of(lab, i, 2) }, { to = link.to or {}, from = link.from or {} }
      local adopted = one.backend == "netem" and impair.adopt(ends, words, one.seed) or lab.hub:adopt(ends, words, one)
      adopted.called = "link"
      lab.wires[i] = adopted
    end
  end
end

---Another process has moved an end of one, or changed what it is impaired by.
---@param lab nslua.Lab
---@param number integer  of the link
function M.follow(lab, number)
  local link, said = lab.wires[number], lab.topology.links[number]
  if link then
    link:follow({ a = end_of(lab, number, 1), b = end_of(lab, number, 2) }, { to = said.to or {}, from = said.from or {} })
  end
end

-- Devices that packets of the lab's own nodes go out by.
local function each_device(lab, fn)
  for _, node in ipairs(lab.nodes) do
    for _, interface in ipairs(node.plan.interfaces or {}) do
      if interface.dev ~= "outside" then
        fn(node, interface.dev)
      end
    end
  end
end

---Before netem decides something packet by packet anywhere: no node of the lab sends frames of many packets any more, as routers would forward them
---whole. A wire takes them apart.
---@param lab nslua.Lab
---@param link nslua.ImpairedLink|nslua.Wire
---@param steps table[]  words of each direction
function M.prepare(lab, link, steps)
  if link.backend ~= "netem" or rawget(lab, "single_packets") then
    return
  end
  for _, words in ipairs(steps) do
    if words.to and impairment.each_packet(words.to) or words.from and impairment.each_packet(words.from) or words.up ~= nil then
      rawset(lab, "single_packets", true)
      for _, each in pairs(lab.wires) do
        each.single = each.backend == "netem" or nil
      end
      each_device(lab, function(node, dev)
        impair.segments(node, dev, true)
      end)
      return
    end
  end
end

---The same once a lab is built, for what its links are impaired by.
---@param lab nslua.Lab
function M.prepare_all(lab)
  for _, link in pairs(lab.wires) do
    M.prepare(lab, link, { { to = link.to, from = link.from } })
  end
end

---Nothing that was scheduled is to come any more, and nothing is held of a lab that closes.
---@param lab nslua.Lab
---@return any failed  what a step of a schedule failed by, if nobody was told
function M.let_go(lab)
  local failed
  for _, link in pairs(lab.wires) do
    if link.backend == "netem" then
      local ok, e = pcall(link.let_go, link)
      failed = failed or not ok and e or nil
    else
      pcall(link.close, link) -- its process may be another's; what is held of the namespaces is ours
    end
  end
  return failed
end

return M
