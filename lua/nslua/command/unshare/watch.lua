-- Run the plan of `nslua unshare` as a child, say how it goes on a file descriptor, pass signals on.

local finish = require "nslua.command.cli.finish"
local ns = require "nslua"
local schema = require "nslua.schema"

local function line(file, value)
  if file then
    file:write(schema.json(value), "\n")
    file:flush()
  end
end

---@param plan nslua.Plan
---@param how { forward: boolean?, status: integer? }
---@return integer status
return function(plan, how)
  collectgarbage "restart" -- cli/program.lua has stopped it
  local file <close> = how.status and assert(io.open(("/dev/fd/%d"):format(how.status), "a")) or nil
  for i = #plan.fds, 1, -1 do
    if plan.fds[i] == how.status then -- ours: a reader of it would else wait for the program
      table.remove(plan.fds, i)
    end
  end
  plan.tell_namespaces = file ~= nil
  plan.stdin, plan.stdout, plan.stderr, plan.forward_signals = "inherit", "inherit", "inherit", how.forward
  local process <close> = ns.spawn(plan)
  if file then
    local started = { ["child-pid"] = process.pid }
    for t, inode in pairs(process.namespaces) do
      started[t .. "-namespace"] = inode
    end
    line(file, started)
  end
  local result = process:wait()
  line(file, { ["exit-code"] = result.status, ["exit-signal"] = result.signal })
  return finish(result)
end
