-- Filters of traffic control drop what comes or goes, where no table of a firewall tells of it.

local rules = require "nslua.inspect.doctor.rules"

-- What a filter does: "drop", or "program" where only the program knows.
local function does(row)
  for _, action in ipairs(row.action or {}) do
    if action.kind == "gact" and action.control == "drop" then
      return "drop"
    elseif action.kind == "bpf" then
      return "program"
    end
  end
  return row.kind == "bpf" and "program" or nil
end

local function silent(space, link)
  for _, row in ipairs(space.neighbours) do
    if row.dev_index == link.index and (row.state == "failed" or row.state == "incomplete") then
      return true
    end
  end
  return false
end

return {
  name = "packet_drop",
  why = "Filters of tc (clsact, ingress) and XDP programs see packets before netfilter does on the way in, and after it on the way out: what they "
    .. "drop no rule of a firewall tells of, and packet captures may not show it. Cilium and Calico work by them.",
  run = function(target, report)
    local function look(space, link)
      local odd = space.examination.findings[1] ~= nil or silent(space, link)
      local program = (link.xdp or {}).prog_id
      if program and odd then
        report:found { at = space, sure = 0.3, problem = ("a program sees what comes by %s first, and may drop it"):format(link.name),
          evidence = ("XDP program %d is attached to it (rtnetlink link)"):format(program) }
      end
      local hooks, dropped = {}, 0
      for _, qdisc in ipairs(space.qdiscs) do
        if qdisc.dev_index == link.index and (qdisc.kind == "clsact" or qdisc.kind == "ingress") then
          hooks = qdisc.kind == "clsact" and { "ingress", "egress" } or { "ingress" }
          dropped = (qdisc.stats or {}).drops or 0
        end
      end
      for _, hook in ipairs(hooks) do
        for _, row in ipairs(space.handle.filter:list { dev = link.name, parent = hook }) do
          local what = does(row)
          local all = what == "drop" and row.kind == "matchall" and (row.protocol == "all" or row.protocol == "ip")
          if what == "drop" or what and dropped > 0 then
            local words = what == "drop" and "%s of pref %d at %s of %s, with the action drop (rtnetlink filter)"
              or "%s of pref %d at %s of %s decides by a program (rtnetlink filter)"
            report:found { at = space, sure = all and 0.95 or dropped > 0 and odd and 0.9 or 0.5,
              problem = ("a filter of tc drops %s that %s %s"):format(all and "all" or "some", hook == "ingress" and "comes by" or "leaves by",
                link.name),
              evidence = { words:format(row.kind, row.pref, hook, link.name),
                dropped > 0 and ("filters of %s dropped %d packets (rtnetlink qdisc)"):format(link.name, dropped) or nil },
              fix = ("tc filter del dev %s %s pref %d"):format(rules.quoted(link.name), hook, row.pref) }
          elseif what and odd then
            report:found { at = space, sure = 0.3, evidence = ("a BPF program is attached at %s of %s (rtnetlink filter)"):format(hook, link.name),
              problem = ("a program sees what %s %s, and may drop it"):format(hook == "ingress" and "comes by" or "leaves by", link.name) }
          end
        end
      end
    end
    for _, link in ipairs(target.links) do
      look(target, link)
      local far = link.name ~= "lo" and target:far(link)
      if far and far.space ~= target then
        look(far.space, far.link)
      end
    end
  end,
}
