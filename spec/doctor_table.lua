-- The truth table of the doctor: for each problem a lab that is healthy, what breaks it, whom to ask, and which check must name it first.

local M = {}

---@class doctor.Case
---@field check string         that names it
---@field lab string
---@field fault? string        of lab:fault; default: the check's name
---@field at string            the node that is broken
---@field ask? string          the node that is asked about (default: the same)
---@field before? fun(lab)     what must be there before it is broken, and is healthy
---@field after? fun(lab)      what happens once it is
---@field options? nslua.DoctorOptions  of what is asked
---@field by_hand? fun(lab, finding)  what is done besides, or where no command mends it: a program is started again
---@field slow? fun(ns): string?  why it takes long here; nil: it does not
---@field title? string        where several cases have one fault
---@field machine? boolean     others on the machine feel it: of one that is the spec's alone
---@field vlans? boolean       needs bridges that filter VLANs
---@field nft? boolean         needs nft(8) and nf_tables

---@type doctor.Case[]
M.cases = {}
for _, group in ipairs {
  require "spec.doctor_cases.hosts",
  require "spec.doctor_cases.nat",
  require "spec.doctor_cases.paths",
  (require "spec.doctor_cases.services"),
} do
  table.move(group, 1, #group, #M.cases + 1, M.cases)
end

local MOST = 4 -- commands until it is mended: a link has two ends

---Break a lab, ask, apply what the doctor says, ask again.
---@param ns nslua
---@param case doctor.Case
---@return { before: nslua.Finding[], first: nslua.Finding?, steps: string[], left: nslua.Finding[], failed: string? }
function M.run(ns, case)
  local lab <close> = ns.lab(case.lab)
  if case.before then
    case.before(lab)
  end
  local asked = lab.node[case.ask or case.at]
  local out = { before = ns.doctor(asked, case.options), steps = {} }
  local fault <close> = lab:fault(case.fault or case.check, case.at, { machine = case.machine })
  if case.after then
    case.after(lab)
  end
  local found = ns.doctor(asked, case.options)
  out.first = found[1]
  for _ = 1, MOST do
    local one = found[1]
    if not one or not one.fix and not case.by_hand then
      break
    end
    if one.fix then
      out.steps[#out.steps + 1] = one.fix
      local words = { "sh", "-c", one.fix, timeout = 10 }
      local r = one.outside and ns.run(words) or one.handle:run(words)
      if not r.ok then
        out.failed = ("%s: %s"):format(one.fix, r.stderr)
        break
      end
    else
      out.steps[#out.steps + 1] = "by hand: " .. (one.command or one.problem)
    end
    if case.by_hand then
      case.by_hand(lab, one)
    end
    found = ns.doctor(asked, case.options)
  end
  out.left = found
  fault:mend()
  return out
end

---Why a case cannot be reproduced here; nil where it can.
---@param ns nslua
---@param case doctor.Case
---@return string?
function M.cannot(ns, case)
  if case.nft then
    local lab <close> = ns.lab "a -- b"
    local ok, r = pcall(lab.a.run, lab.a, { "nft", "add table inet t { chain c { type nat hook postrouting priority srcnat; } ; }" })
    if not ok or not r.ok then
      return ok and "this kernel has no nftables" or "no nft(8) here"
    end
  end
  if case.vlans then
    local lab <close> = ns.lab "a -- (sw)"
    local ok, e = pcall(lab.node.sw.bridge_vlan.list, lab.node.sw.bridge_vlan)
    if not ok then
      return e.hint
    end
  end
  return case.probe and case.probe(ns) or nil
end

return M
