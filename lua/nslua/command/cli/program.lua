-- How a command that stands before a program starts it, as unshare(1) and nsenter(1) do.

local core = require "nslua.core"
local errors = require "nslua.error"
local ns = require "nslua"

local M = {}

local LAST_RESORT = "/bin/sh"

---Put the program's words into a plan: those that were given, or the user's shell as a login shell.
---@param plan nslua.Plan
---@param operands string[]
function M.words(plan, operands)
  for i, word in ipairs(operands) do
    plan[i] = word
  end
  if not plan[1] then
    local shell = plan.env and plan.env.SHELL or not plan.clear_env and os.getenv "SHELL" or select(4, core.idmap.who())
    plan[1] = shell and shell ~= "" and shell or LAST_RESORT
    plan.argv0 = "-" .. plan[1]:match "[^/]*$"
  end
end

local started -- the name of the program, for messages

local function start(plan, forks, run)
  started = plan[1]
  if not forks then
    return ns.exec(plan)
  end
  plan.stdin, plan.stdout, plan.stderr = "inherit", "inherit", "inherit"
  if run then
    return run(plan)
  end
  return require "nslua.command.cli.finish"(ns.run(plan))
end

---Become the program, or run it to its end. A user's shell that is not there, as in a container, is replaced by /bin/sh.
---@param plan nslua.Plan
---@param forks? boolean
---@param run? fun(plan: nslua.Plan): integer  how a program that forks is run, where not by ns.run
---@return integer status
function M.start(plan, forks, run)
  if not plan.argv0 or plan[1] == LAST_RESORT then
    return start(plan, forks, run)
  end
  local ok, result = pcall(start, plan, forks, run)
  if ok then
    return result
  elseif not (errors.is(result, "ENOENT") and result.step == "exec") then
    error(result, 0)
  end
  if not forks then -- this process has moved already
    plan = { env = plan.env, clear_env = plan.clear_env, fds = plan.fds }
  end
  plan[1], plan.argv0 = LAST_RESORT, "-sh"
  return start(plan, forks, run)
end

-- What unshare(1) and nsenter(1) call the steps of a plan that have another name there.
local steps = { uid = "setuid", gid = "setgid", groups = "setgroups", cwd = "change directory", root = "change root directory",
  mount_proc = "mount of proc", binfmt = "mount of binfmt_misc", persist = "bind mount of a namespace", time = "offset of a clock",
  ["map users"] = "map of ids", keep_caps = "keeping of capabilities" }

-- A hint for who writes options and no plan.
local function in_options(hint, joins)
  return (hint:gsub(', or with unshare = "[^"]*", map_users = "root"', joins and "" or ", or with --map-root-user")
    :gsub('%(or the plan makes no pid namespace: unshare = "pid"%)', "(or the program is in no pid namespace of its own: --pid --fork)"))
end

---For Declaration:run: the message and the status of a program that could not be executed, or of a step before that.
---@param e nslua.Error
---@param joins? boolean  the command makes no namespaces: that is no way to the right that is missing
---@param name? string     of the program, where it was not started here
---@return string? message
---@return integer? status  127 where it is not there, 126 where it is no program
function M.explain(e, joins, name)
  if e.step and e.step ~= "exec" then
    return ("%s failed: %s%s%s"):format(steps[e.step] or e.step, e.message, e.detail and (" (%s)"):format(e.detail) or "",
      e.hint and "; " .. in_options(e.hint, joins) or "")
  end
  if e.step == "exec" then
    local detail = e.detail and e.detail ~= (name or started) and (" (%s)"):format(e.detail) or ""
    return ("failed to execute %s: %s%s"):format(name or started, e.message, detail), e.code == "ENOENT" and 127 or 126
  end
  return (("%s: %s"):format(e.call, e.message):gsub("^exec: ", ""):gsub("^run: ", "")) .. (e.detail and (" (%s)"):format(e.detail) or "")
    .. (e.hint and "; " .. e.hint or "")
end

return M
