-- nslua tools/doctor-table.lua: the truth table of the doctor, each case run here and now. Run from the root of the tree.

local ns = _G.ns

local truth = require "spec.doctor_table"

local wrong = 0
print(("%-22s %-8s %-22s %-8s %s"):format("FAULT", "BEFORE", "NAMED FIRST", "MENDED", "BY"))
for _, case in ipairs(truth.cases) do
  local name = case.title or case.fault or case.check
  local why = truth.cannot(ns, case)
  if why then
    print(("%-22s skipped: %s"):format(name, why))
  else
    local r = truth.run(ns, case)
    local good = not r.before[1] and r.first and r.first.check == case.check and not r.left[1] and not r.failed
    wrong = wrong + (good and 0 or 1)
    print(("%-22s %-8s %-22s %-8s %s"):format(name, r.before[1] and r.before[1].check or "healthy", r.first and r.first.check or "nothing",
      r.failed and "failed" or r.left[1] and "no" or "yes", table.concat(r.steps, "; then ")))
  end
end
os.exit(wrong == 0)
