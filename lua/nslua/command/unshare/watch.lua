-- Run the plan of `nslua unshare` as a child, say how it goes on a file descriptor, pass signals on.

local core = require "nslua.core"
local finish = require "nslua.command.cli.finish"
local ns = require "nslua"
local schema = require "nslua.schema"

local function line(file, value)
  if file then
    file:write(schema.json(value), "\n")
    file:flush()
  end
end

-- The fds beside 0, 1, 2 that this process was given, but for one: a reader of that would else wait for the program.
local function others(status)
  local out = {}
  for _, name in ipairs(core.file.list "/proc/self/fd" or {}) do
    local fd = tonumber(name)
    if fd > 2 and fd ~= status and core.fd.inherits(fd) then
      out[#out + 1] = fd
    end
  end
  return out
end

---@param plan nslua.Plan
---@param how { forward: boolean?, status: integer? }
---@return integer status
return function(plan, how)
  plan.fds = how.status and others(how.status) or plan.fds
  local file <close> = how.status and assert(io.open(("/dev/fd/%d"):format(how.status), "a")) or nil
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
