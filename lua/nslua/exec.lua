-- ns.exec: this process becomes the program. A file of its own: what only execs loads nothing of how children are looked after.

local core = require "nslua.core"
local errors = require "nslua.error"
local owned = require "nslua.owned"
local plan_of = require "nslua.plan"
local spawnhint = require "nslua.spawnhint" -- before the program's view of files is entered
local stdio = require "nslua.stdio"

local M = {}

local defaults = { stdin = "inherit", stdout = "inherit", stderr = "inherit" }

---Become the program: no process more, and nothing of this one is left. What it owned (programs, handles) is ended first.
---Its stdin, stdout and stderr are this process's. A new or joined pid namespace is for the program's children, as of unshare(1) without
---fork. Raises where it fails; a step before may have moved this process by then (`step` says which failed).
---@param plan nslua.Plan
function M.exec(plan)
  stdio.refuse_pipes("exec", plan)
  local job = plan_of.prepare("exec", plan, defaults)
  owned.terminate_all()
  local _, _, errno, step, detail = core.process.exec(job)
  local fields = spawnhint.explain("exec", job, step, errno, detail)
  plan_of.release(job, true)
  errors.raise(fields)
end

return M
