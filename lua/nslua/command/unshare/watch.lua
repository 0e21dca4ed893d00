-- Run the plan of `nslua unshare` as a child: say how it goes on a file descriptor, pass signals on, leave it what --kill-child says.

local core = require "nslua.core"
local finish = require "nslua.command.cli.finish"
local host = require "nslua.host"
local ns = require "nslua"
local owned = require "nslua.owned"
local schema = require "nslua.schema"

-- To the descriptor itself: one that was opened by somebody else, or a socket, could not be opened again. Who reads no more is no matter.
local function line(fd, value)
  local text, from = fd and schema.json(value) .. "\n" or "", 1
  while from <= #text do
    local n, _, errno = core.process.write(fd, text, from)
    if n then
      from = from + n
    elseif errno == core.errno.EAGAIN then
      core.fd.poll({ { fd, "w" } })
    elseif errno ~= core.errno.EINTR then
      return
    end
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
  plan.tell_namespaces = how.status ~= nil
  plan.forward_signals, plan.stands_in = how.forward, true
  local process = ns.spawn(plan)
  local guard <close> = setmetatable({}, { __close = function() -- luacheck: ignore 211
    if plan.death_signal and host.interrupted() then -- the kernel gives it that when we are gone, and there is to be nothing else
      owned.remove(process.entry)
    else
      process:close()
    end
  end })
  if how.status then
    local started = { ["child-pid"] = process.pid }
    for t, inode in pairs(process.namespaces) do
      started[t .. "-namespace"] = inode
    end
    line(how.status, started)
  end
  local result = process:wait()
  line(how.status, { ["exit-code"] = result.status, ["exit-signal"] = result.signal })
  return finish(result)
end
