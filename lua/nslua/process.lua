-- Programs and Lua functions in namespaces: ns.run, ns.spawn, ns.fork, and the methods of handles.

local core = require "nslua.core"
local errors = require "nslua.error"
local check = require "nslua.check"
local units = require "nslua.units"
local plan_of = require "nslua.plan"
local namespace = require "nslua.namespace"
local owned = require "nslua.owned"
local spawnhint = require "nslua.spawnhint"
local stdio = require "nslua.stdio"
local privilege = require "nslua.privilege"

local unpack = unpack or table.unpack -- luacheck: ignore 113

local M = {}

---@class nslua.Process
---@field pid integer
---@field stdin nslua.Stream?   where the plan said "pipe"
---@field stdout nslua.Stream?
---@field stderr nslua.Stream?
---@field pty nslua.Stream?     both ways, where the plan said pty
---@field namespaces table<string, integer>?  inode by type, where the plan said tell_namespaces
local Process = { __name = "nslua.Process" }
Process.__index = Process
M.Process = Process

local function child_of(self, call)
  if not self.child then
    errors.misuse("%s: the process is closed", call)
  end
  return self.child
end

-- The name of the program in messages.
local function program_of(job)
  return job.argv and job.argv[1] or "function"
end

-- Start what a prepared job says. Everything the child alone needs is closed when this returns.
local function start(call, job, owner)
  local began = core.fd.clock()
  local child, note, errno, step, detail = core.process.spawn(job) -- or: child, note, errno, its view, namespaces
  if child == nil then
    local fields = spawnhint.explain(call, job, step, errno, detail) -- it looks at the namespaces, which are still open
    plan_of.release(job, true)
    errors.raise(fields)
  elseif child == false then
    return false
  end
  if note then
    note = ("%s (%s)"):format(note, core.strerror(errno))
  end
  if step then -- the program's mount namespace, for the next one
    require("nslua.sysview").keep(job.joined.net, step, job.view_key, note)
  end
  plan_of.release(job)
  local self = setmetatable({
    child = child, pid = child:pid(), call = call, program = program_of(job), began = began, input = job.input, from = 1,
    deadline = job.timeout and began + job.timeout, captured = {}, first = job.first, forward = job.forward, namespaces = detail,
    note = note or job.note,
    terminal = job.foreground, stops = job.stops or job.foreground ~= nil, keyboard = job.keyboard, tty = job.tty,
  }, Process)
  for key, fd in pairs(job.ours) do
    fd:nonblock(true)
    self[key] = require("nslua.stream").new(fd, key)
    if job.captured[key] then
      self.captured[key] = {}
    end
  end
  if self.pty then -- one terminal, both ways
    if job.captured.stdout then
      self.captured.stdout = {}
    end
    self.stdout = self.pty
  end
  self.entry = owned.add(owner, self)
  return self
end

local function add(self, key, text)
  if text == false then
    if self[key] == self.pty then -- closing it would hang up on a program that has merely closed its side
      self.pty.ended = true
    elseif self[key] then
      self[key]:close()
    end
  elseif text then
    local parts = self.captured[key]
    parts[#parts + 1] = text
  end
end

-- Stopped, as by its terminal (Ctrl-Z): stop with it, as the shell above expects, and go on together.
local function suspended(self)
  if self.terminal then
    core.process.foreground(self.terminal, true)
  end
  core.process.stop()
  if self.terminal and core.process.foreground(self.terminal) then -- else it goes on in the background
    core.process.foreground(self.terminal, self.pid)
  end
  self.child:kill(owned.signals.CONT, true)
end

-- Feed and drain until the child ends or `deadline` comes. Returns what child:reap() says, or nil at the deadline.
local function attend(self, deadline)
  local child = self.child
  if self.forward then
    local ended, as, errno = core.process.forward(child, self.first, deadline and math.max(0, deadline - core.fd.clock()))
    errors.check(self.call, nil, ended, as, errno)
    self.killed_as = as or self.killed_as
    if not ended then
      return nil
    end
  end
  while true do
    local left = deadline and math.max(0, deadline - core.fd.clock())
    local out = self.captured.stdout and self.stdout
    out = out and not out.ended and out or nil
    local err = self.captured.stderr and self.stderr
    local into = self.input and (self.pty or self.stdin)
    local result = self.returns
    local what, written, o, e, r = core.process.pump(child, into and into.fd, self.input, self.from, out and out.fd, err and err.fd,
      result and result.fd, left, self.stops)
    if what == nil then
      errors.check(self.call, nil, what, written, o)
    elseif what == "timeout" then
      return nil
    elseif what == "stopped" then
      suspended(self)
    elseif what ~= "interrupted" then
      if into and written then
        self.from = self.from + written
      end
      if into and (written == false or self.from > #self.input) then
        self.input, self.from = nil, 1
        if not self.pty then
          into:close()
        end
      end
      add(self, "stdout", o)
      add(self, "stderr", e)
      add(self, "returns", r)
      if what == "ended" then
        local how, number, errno = child:reap()
        if how == nil then
          errors.check(self.call, nil, how, number, errno)
        elseif how then
          return how, number
        end
      end
    end
  end
end

local function finish(self, how, number, timed_out)
  self.over = self.over or require("nslua.result").of(self, how, number, timed_out)
  owned.remove(self.entry)
  if (self.terminal or self.keyboard) and self.child:mine() then
    local tty = self.tty and core.fd.open("/dev/tty", "rw")
    core.process.retake(self.child, self.terminal or tty or nil)
    if tty then
      tty:close()
    end
    self.terminal, self.keyboard = nil, nil
  end
  for _, key in ipairs { "stdout", "stderr" } do
    if self.captured[key] and self[key] then
      self[key]:close()
    end
  end
  return self.over
end

---Wait until the process ends.
---@param timeout? number|string  seconds; nil is returned when they ran out, and the process runs on
---@return nslua.Result?
function Process:wait(timeout)
  child_of(self, "wait")
  if self.over then
    return self.over
  end
  local given = timeout and core.fd.clock() + units.duration(timeout, "wait: timeout")
  if self.deadline and (not given or self.deadline < given) then
    local how, number = attend(self, self.deadline)
    if how then
      return finish(self, how, number)
    end
    how, number = owned.terminate({ self.entry }, 0)
    return finish(self, how, number, true)
  end
  local how, number = attend(self, given)
  return how and finish(self, how, number) or nil
end

---Send a signal to the process itself, by its pidfd: never to another that got its number.
---@param signal? string|integer  "TERM" (the default), "SIGTERM" or 15
---@return boolean sent           false where it had ended
function Process:kill(signal)
  local child, number = child_of(self, "kill"), owned.signal_number("kill", signal or "TERM")
  return errors.check("kill", { detail = self.program }, child:kill(number))
end

---Change the size of the program's terminal (pty); it gets SIGWINCH.
---@param rows integer
---@param columns integer
---@return nslua.Process self
function Process:resize(rows, columns)
  child_of(self, "resize")
  if not (self.pty and self.pty.fd) then
    errors.misuse "resize: the process has no pty"
  end
  check.options("resize", { rows = rows, columns = columns }, { rows = "0-65535", columns = "0-65535" })
  local got, message, errno = core.process.winsize(self.pty.fd, rows, columns)
  errors.check("resize", nil, got, message, errno)
  return self
end

---Whether it runs; false once closed. Never waits.
---@return boolean
function Process:running()
  return self.child ~= nil and self:wait(0) == nil
end

---End the process if it runs, and what belongs to it (its process group, or its pid namespace): TERM, a second, KILL.
---@return true
function Process:close()
  if self.child then
    if not self.over and self.child:mine() then
      finish(self, owned.terminate({ self.entry }, 1))
    end
    self.child:close()
    self.child = nil
  end
  for _, key in ipairs { "stdin", "stdout", "stderr", "pty", "returns" } do
    if self[key] then
      self[key]:close()
    end
  end
  return true
end
Process.__close = Process.close

---The pidfd, readable when the process has ended: for ns.wait, cqueues, luv, LuaSocket.
---@return integer
function Process:pollfd()
  return child_of(self, "pollfd"):pollfd()
end
Process.getfd = Process.pollfd

---The same, for what opens the namespaces of a process: ns.namespace.open, ns.setns, a plan's `join`.
---@return integer
function Process:pidfd()
  return child_of(self, "pidfd"):pollfd()
end

---@return string
function Process:events()
  child_of(self, "events")
  return "r"
end

---@return number? seconds  until the plan's timeout
function Process:timeout()
  return self.deadline and not self.over and math.max(0, self.deadline - core.fd.clock()) or nil
end

function Process:__tostring()
  local state = not self.child and "closed" or self.over and self.over:reason() or self.child:reap() and "ended" or "running"
  return ("process %d (%s, %s)"):format(self.pid, self.program, state)
end

local run_defaults = { stdin = "null", stdout = "capture", stderr = "capture" }
local spawn_defaults = { stdin = "null", stdout = "inherit", stderr = "inherit" }
local fork_defaults = { stdin = "inherit", stdout = "inherit", stderr = "inherit", fork = true }

-- Whether the plan's stdin is the terminal that this script has in the foreground.
local function on_terminal(job)
  return job.stdin == "inherit" and core.process.foreground(0)
end

-- Whether this script is what the keyboard of a terminal talks to. tty(4)
local function at_terminal()
  local tty = core.fd.open("/dev/tty", "rw")
  local foreground = tty and core.process.foreground(tty)
  if tty then
    tty:close()
  end
  return foreground
end

-- As with system(3): to the shell above both are one job, in one process group, and what the keyboard sends is for the program.
local function stand_in(job)
  local tty = core.fd.open("/dev/tty", "rw")
  job.keyboard, job.group, job.stops = tty ~= nil, tty == nil, true
  if tty then
    job.tty = core.process.foreground(tty)
    tty:close()
  end
end

-- Run what is prepared to its end.
local function finish_run(call, job, owner)
  if job.stdin == "inherit" and not job.timeout then
    stand_in(job)
  elseif on_terminal(job) then
    job.foreground, job.group = 0, true -- Ctrl-C is the program's; the terminal comes back to us
  else
    -- At a terminal it stays in our group without a timeout: Ctrl-C reaches both, and it may ask for a password.
    job.group = job.timeout ~= nil or not at_terminal()
  end
  local p = start(call, job, owner)
  local ok, result = pcall(p.wait, p)
  if not ok then -- a signal handler raised: the script was told to stop
    local fine, again = pcall(p.close, p)
    error(fine and result or again, 0)
  end
  p:close()
  return result
end

---Run a program to its end.
---stdin is null and the outputs are captured where the plan does not say otherwise. It ends when the program ends, not when a grandchild
---closes its pipe. A timeout ends the whole tree and is a value (`timed_out`), as is every status; failing to start raises.
---@param plan nslua.Plan
---@param owner? table  the handle it runs in (the methods of handles pass it)
---@return nslua.Result
function M.run(plan, owner)
  stdio.refuse_pipes("run", plan)
  local result = finish_run("run", plan_of.prepare("run", plan, run_defaults), owner)
  return plan.check and result:check() or result
end

-- Whether a socket of the process's network namespace listens on a TCP port: proc_pid_net(5), state 0A is LISTEN.
local function listens(pid, port)
  for _, name in ipairs { "tcp", "tcp6" } do
    local f = core.fd.open(("/proc/%d/net/%s"):format(pid, name), "r")
    local parts = {}
    while f do
      local bytes = f:read()
      if not bytes or bytes == "" then
        f:close()
        break
      end
      parts[#parts + 1] = bytes
    end
    if table.concat(parts):find((":%04X %%x+:%%x+ 0A "):format(port)) then
      return true
    end
  end
  return false
end

-- Wait until the program serves. It is looked at again after a moment, and at once when it ends.
local function await_ready(p, ready)
  local deadline = core.fd.clock() + ready.seconds
  local pause = 0.001
  while not listens(p.pid, ready.tcp) do
    local result = p:wait(pause)
    pause = math.min(0.05, pause * 2)
    if result or core.fd.clock() > deadline then
      p:close()
      local why = result and result:reason() or ("nobody after %.3g s"):format(ready.seconds)
      errors.raise { call = "spawn: ready", errno = not result and core.errno.ETIMEDOUT or nil, step = "ready", result = result,
        message = ("%s: no listener on TCP port %d: %s"):format(p.program, ready.tcp, why) }
    end
  end
end

---Start a program. It belongs to the handle it was spawned from, or to the script: it ends when that closes, and when the script is killed.
---stdin is null and the outputs are inherited where the plan does not say otherwise.
---@param plan nslua.Plan
---@param owner? table
---@return nslua.Process
function M.spawn(plan, owner)
  local job = plan_of.prepare("spawn", plan, spawn_defaults)
  if plan.stands_in then
    stand_in(job)
  else
    job.group = not on_terminal(job)
  end
  local p = start("spawn", job, owner)
  if job.ready then
    await_ready(p, job.ready)
  end
  return p
end

---Run a program and return what it printed, without the newlines at the end. Raises where it fails.
---@param plan nslua.Plan
---@param owner? table
---@return string
function M.output(plan, owner)
  stdio.refuse_pipes("output", plan)
  local result = finish_run("output", plan_of.prepare("output", plan, run_defaults), owner):check()
  return (result.stdout:gsub("\n+$", ""))
end

-- In the copy: run fn, send what it returns or raises, end. Nothing of the script above is unwound or finalised here.
local function forked(writer, fn, ...)
  local carry = require "nslua.carry"
  os.exit = function(status) -- luacheck: ignore 122
    core.process.exit(status == nil and 0 or status == true and 0 or status == false and 1 or status)
  end
  local function send(kind, ok, text)
    text = kind .. (ok and text or carry.pack("error", 1, text))
    local from = 1
    while from <= #text do
      local n, _, errno = core.process.write(writer, text, from)
      if n then
        from = from + n
      elseif errno ~= core.errno.EINTR then
        break
      end
    end
  end
  local function values(ok, ...)
    if ok then
      local fine, text = pcall(carry.pack, "result", select("#", ...), ...)
      send(fine and "r" or "e", fine, fine and text or "fork: " .. text)
      return 0
    end
    local fine, text = pcall(carry.pack, "error", 1, (...))
    send("e", fine, fine and text or tostring((...)))
    return 1
  end
  core.process.exit(values(pcall(fn, ...)))
end

---Run a Lua function in a child of that plan (no program in it). p:result() gives what it returns, or raises what it raises.
---The child is a copy of the script: its handles work there, and what it changes stays there. Refused where the process has threads.
---@param plan nslua.Plan|nil  may be left out: fork(fn, ...)
---@param fn function
---@param ... any
---@return nslua.Process
function M.fork(plan, fn, ...)
  if type(plan) == "function" then
    return M.fork_in(nil, nil, plan, fn, ...)
  end
  return M.fork_in(nil, plan, fn, ...)
end

---fork for a handle.
function M.fork_in(owner, plan, fn, ...)
  if type(fn) ~= "function" then
    errors.misuse("fork: a function expected, got %s", type(fn))
  end
  local threads = privilege.threads()
  if threads > 1 then
    errors.raise {
      call = "fork", errno = core.errno.EBUSY, hint = "use spawn with a program",
      message = ("this process has %d threads, and a copy of one of them could hang on the locks of the others"):format(threads),
    }
  end
  local job = plan_of.prepare("fork", plan or {}, fork_defaults)
  if job.argv[1] then
    plan_of.release(job, true)
    errors.misuse "fork: the plan of a function has no program"
  end
  local reader, writer, errno = require("nslua.carry").pipe(job.fds)
  if not reader then
    plan_of.release(job, true)
    errors.check("fork", nil, reader, writer, errno)
  end
  job.fork, job.argv, job.group = true, nil, not on_terminal(job)
  job.ours.returns = reader
  job.captured.returns = true
  job.held[#job.held + 1] = writer
  local p = start("fork", job, owner)
  if not p then
    require("nslua.carry").let_go(job)
    reader:close()
    forked(writer, fn, ...)
  end
  return p
end

---What the function of ns.fork returned; raises what it raised.
---@param timeout? number|string  seconds; nil, "timeout" when they ran out
---@return any ...
function Process:result(timeout)
  local r = self:wait(timeout)
  if not r then
    return nil, "timeout"
  end
  local text = table.concat(self.captured.returns or {})
  local kind = text:sub(1, 1)
  if kind == "" then
    errors.raise { call = "fork", message = "the child ended without a result: " .. r:reason(), result = r }
  end
  local values, n = require("nslua.carry").unpack(text:sub(2))
  if kind == "e" then
    error(values[1], 0)
  end
  return unpack(values, 1, n)
end

---ns.run, ns.spawn, ns.exec, ns.fork, output and shell as methods of handles: the plan is joined to the handle, and what runs belongs to it.
M.methods = {}

-- The plan, joined to the handle. join = "all": to all namespaces of the process the handle was opened from.
local function inside(call, handle, plan)
  namespace.fd_of(handle, call)
  if type(plan) ~= "table" then
    errors.misuse("%s: a plan (a table) expected, got %s", call, type(plan))
  end
  local copy = {}
  for k, v in pairs(plan) do
    copy[k] = v
  end
  local join = plan.join
  if join == "all" then
    local pid = rawget(handle, "pid")
    if not pid then
      errors.misuse("%s: join = \"all\" is for handles opened from a process; %s was not", call, tostring(handle))
    end
    copy.join = pid
  elseif type(join) == "table" and getmetatable(join) == nil then
    local all = { [handle.type] = handle }
    for t, target in pairs(join) do
      all[t] = target
    end
    copy.join = all
  elseif join == nil then
    copy.join = { [handle.type] = handle }
  else
    errors.misuse("%s: join must name types here, as in { mount = ... }, or be \"all\"; got %s", call, tostring(join))
  end
  if rawget(handle, "hostname") and type(copy.join) == "table" and copy.join.uts == nil and copy.hostname == nil then
    copy.join.uts = require("nslua.hostname").uts(handle)
  end
  return copy
end

---ns.run in this namespace.
---@param plan nslua.Plan
---@return nslua.Result
function M.methods.run(handle, plan)
  return M.run(inside("run", handle, plan), handle)
end

---ns.spawn in this namespace; the process ends when the handle closes.
---@param plan nslua.Plan
---@return nslua.Process
function M.methods.spawn(handle, plan)
  return M.spawn(inside("spawn", handle, plan), handle)
end

---What a program in this namespace printed, without the newlines at the end. Raises where it fails.
---@param plan nslua.Plan
---@return string
function M.methods.output(handle, plan)
  return M.output(inside("output", handle, plan), handle)
end

---ns.exec in this namespace.
---@param plan nslua.Plan
function M.methods.exec(handle, plan)
  return require("nslua.exec").exec(inside("exec", handle, plan))
end

---An interactive shell (or the plan's program) in the namespace, on this script's terminal.
---@param plan? nslua.Plan
---@return integer status  of the shell; 128 + n where signal n ended it
function M.methods.shell(handle, plan)
  local copy, reader = require("nslua.shell").plan(inside("shell", handle, plan or {}), handle)
  local ok, result = pcall(M.run, copy, handle)
  if reader then
    reader:close()
  end
  if not ok then
    error(result, 0)
  end
  return result.status or result.signal and 128 + owned.signal_number("shell", result.signal) or 1
end

---fork(fn, ...) or fork(plan, fn, ...).
---@param plan nslua.Plan|function
---@return nslua.Process
function M.methods.fork(handle, plan, ...)
  if type(plan) == "function" then
    return M.fork_in(handle, inside("fork", handle, {}), plan, ...)
  end
  return M.fork_in(handle, inside("fork", handle, plan or {}), ...)
end

return M
