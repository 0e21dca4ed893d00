-- Services of a node: programs and functions that run behind the script, looked after by a process of their own.
--
--    local s = lab.h2:service{ "python3", "-m", "http.server", "80", ready = { tcp = 80 }, restart = "on_failure" }
--    s:wait_ready(5)

local channels = require "nslua.lab.service.channel"
local check = require "nslua.check"
local core = require "nslua.core"
local errors = require "nslua.error"
local owned = require "nslua.owned"
local plans = require "nslua.plan"
local process = require "nslua.process"
local procfs = require "nslua.procfs"
local results = require "nslua.result"
local readiness = require "nslua.lab.service.ready"
local supervisor = require "nslua.lab.service.supervisor"
local units = require "nslua.units"

local M = {}

---@class nslua.lab.Service
---@field name string           of the program, or what was said
---@field node nslua.lab.Node
---@field state "starting"|"running"|"backoff"|"stopping"|"stopped"|"exited"|"failed"  now. running: it is ready. backoff: it ended, and is
---started again soon. exited: it ended by itself, with status 0. failed: it ended badly, and is not started again
---@field pid integer?          of the program, as this process sees it; nil where none runs
---@field restarts integer      how often it was started again after an end of its own
---@field reason string?        how it ended last: "exit status 1"
---@field port integer?         of those that `serve` starts
---@field options table?        likewise: what it was told, or took by itself
local Service = { __name = "nslua.lab.Service" }
local methods = {}
local of_status = { state = true, pid = true, restarts = true, reason = true }

local GRACE = 1 -- seconds between TERM and KILL

-- Of each lab, those that are not closed: they run on where the script drops its object.
local of_lab = setmetatable({}, { __mode = "k" })

local function gone(self)
  local result = not self.process.child and self.process.over or self.process:wait(1)
  local how = self.closed and "it is closed" or "its supervisor has ended" .. (result and ": " .. result:reason() or "")
  return { state = self.closed and "stopped" or "failed", restarts = self.last and self.last.restarts or 0, reason = how }
end

-- Ask the supervisor. nil: it is there no more.
local function ask(self, request, seconds)
  if self.closed or not self.process.child:mine() then
    return nil
  end
  self.seq = self.seq + 1
  request.seq = self.seq
  if not self.channel:send(request) then
    return nil
  end
  local deadline = seconds and core.fd.clock() + seconds
  while true do
    local said = self.channel:receive(deadline)
    if not said then
      return nil
    elseif said.seq == self.seq then -- else the answer to what a signal has interrupted
      return said.value
    end
  end
end

-- The pid by which this process knows one that the supervisor started: it is in a pid namespace below ours. proc_pid_status(5)
local function outer_pid(self, inner)
  local id = self.process.pid
  if not inner then
    return nil
  end
  local children = procfs.read(("/proc/%d/task/%d/children"):format(id, id)) or table.concat(procfs.numbers "/proc" or {}, " ")
  for pid in children:gmatch "%d+" do -- all of them, where the kernel tells no children (CONFIG_PROC_CHILDREN)
    local parent, inside = (procfs.read("/proc/" .. pid .. "/status") or ""):match "\nPPid:%s*(%d+)\n.*\nNSpid:[%d%s]-(%d+)\n"
    if tonumber(parent) == id and tonumber(inside) == inner then
      return math.tointeger(tonumber(pid))
    end
  end
end

local function status(self, request, seconds)
  local said = ask(self, request or { op = "status" }, seconds)
  if said then
    self.last = said
    said.pid = outer_pid(self, said.pid)
    return said
  end
  return gone(self)
end

function Service:__index(key)
  if methods[key] then
    return methods[key]
  elseif of_status[key] then
    return status(self)[key]
  end
end

function Service:__tostring()
  return ("service %s on %s (%s)"):format(self.name, self.node.node_name, status(self).state)
end

local function tail(self)
  local text = results.tail(self:log())
  return text ~= "" and text or nil
end

---Wait until it is ready (one without `ready` is that as soon as it runs). Raises where it does not become ready in that time or has ended, with
---the reason and the end of its output.
---@param seconds? number|string  default 10
---@return nslua.lab.Service self
function methods:wait_ready(seconds)
  local call = "service.wait_ready"
  local limit = units.duration(seconds or 10, call)
  local said = status(self, { op = "wait", seconds = limit })
  if said.state == "running" then
    return self
  end
  local why = said.state == "starting" and ("not ready within %g s%s"):format(limit, said.missing and ": " .. said.missing or "")
    or ("%s%s"):format(said.state, said.reason and ": " .. said.reason or "")
  return errors.raise { call = call, netns = self.node.node_name, message = ("%s: %s"):format(self.name, why),
    errno = said.state == "starting" and core.errno.ETIMEDOUT or nil, detail = tail(self) }
end

---What it has written to stdout and stderr, of all its runs; of long texts the end (`log` of the plan).
---@param lines? integer  the last so many
---@return string
function methods:log(lines)
  check.argument("service.log", "lines", lines, "nil|integer")
  local text = ask(self, { op = "log" }) or self.last_log or ""
  self.last_log = text
  if lines then
    local all = {}
    for line in text:gmatch "[^\n]*\n?" do
      all[#all + 1] = line ~= "" and line or nil
    end
    text = table.concat(all, "", math.max(1, #all - lines + 1))
  end
  return text
end

---End it: TERM, `grace` seconds, KILL. It stays stopped until restart().
---@return nslua.lab.Service self
function methods:stop()
  status(self, { op = "stop" })
  return self
end

---End it if it runs, and start it; returns when it is started. Failures before count no more.
---@return nslua.lab.Service self
function methods:restart()
  local said = ask(self, { op = "restart" })
  if said == nil then
    errors.raise { call = "service.restart", netns = self.node.node_name, message = ("%s: %s"):format(self.name, gone(self).reason) }
  elseif said ~= true then
    error(said, 0)
  end
  return self
end

---Send a signal to the program.
---@param signal? string|integer  default "TERM"
---@return boolean sent  false where none runs
function methods:kill(signal)
  return ask(self, { op = "kill", signal = owned.signal_number("service.kill", signal or "TERM") }) == true
end

-- Let go of supervisors that were told to close, or whose lab goes on without this script.
local function release(self)
  self.closed = true
  self.channel:close()
  local known = of_lab[self.node.lab]
  if known then
    known[self] = nil
  end
end

local function tell(self)
  if not self.closed and self.process.child:mine() then
    local log = ask(self, { op = "log" }, GRACE)
    self.last_log, self.stuck = log or self.last_log, log == nil -- in a probe that does not come back
    self.channel:send { op = "close" }
  end
end

local function finish(self)
  if not self.closed then
    if self.process.child:mine() and not self.stuck then
      self.process:wait(self.grace + 1)
    end
    self.process:close()
    release(self)
  end
end

---End it and its supervisor. Idempotent; the lab's close() does it too.
---@return true
function methods:close()
  tell(self)
  finish(self)
  return true
end
Service.__close = methods.close

---End all services of a lab, at the same time; those of one that is kept go on.
---@param lab nslua.Lab
---@package
function M.close_all(lab)
  local list = {}
  for each in pairs(of_lab[lab] or {}) do
    list[#list + 1] = each
  end
  for _, each in ipairs(list) do
    if each.kept then
      each.process.child:close() -- never signals
      release(each)
    else
      tell(each)
    end
  end
  for _, each in ipairs(list) do
    finish(each)
  end
end

-- Services that a topology says are few: what they are made of is loaded where one does.
local function said(lab, step)
  for _, node in ipairs(lab.topology.nodes) do
    if node.serve then
      return require("nslua.lab.service.serve")[step](lab)
    end
  end
end

---Start the services that a lab's topology says.
---@param lab nslua.Lab
---@package
function M.start_said(lab)
  said(lab, "start_said")
end

---After something was moved.
---@param lab nslua.Lab
---@package
function M.moved(lab)
  for _, node in ipairs(lab.nodes) do
    if rawget(node, "services") then
      return require("nslua.lab.service.serve").moved(lab)
    end
  end
end

---Use those of a lab that was opened.
---@param lab nslua.Lab
---@package
function M.find_said(lab)
  said(lab, "find_said")
end

-- Starting -----------------------------------------------------------------------------------------------------------------------------

---@class nslua.lab.ServicePlan: nslua.Plan  a program and its arguments, or a function, at [1]; the keys of ns.spawn but those of its input,
---output and namespaces
---@field ready? nslua.lab.Ready|fun(node: nslua.lab.Node): any  what makes it ready; a function: as `probe` there
---@field restart? "never"|"on_failure"|"always"  when it is started again after an end of its own (default: never)
---@field max_restarts? integer      in a row, 5: after that it has failed. A run of more than 10 s begins a new row
---@field backoff? number|string     seconds before it is started again, 0.1; twice that each time in a row, at most 5
---@field grace? number|string       seconds from TERM to KILL, 1
---@field log? integer|string        bytes of its output that are kept, "64kb"
---@field name? string               for messages

local own = { ready = "table|function", restart = "string", max_restarts = "0-2147483647", backoff = "number|string", grace = "number|string",
  log = "number|string", name = "string" }
local refused = { stdout = "its output is the log", stderr = "its output is the log", stdin = "it has no input", input = "it has no input",
  join = "it is on its node", contain = "it ends with its lab", timeout = "stop() ends it", check = "restart says what an end means",
  pty = "its output is the log", forward_signals = "kill() sends signals", stands_in = "it runs behind the script", sys = "it is on its node" }
local words = {} -- all that a plan may say
for _, list in ipairs { own, plans.known } do
  for word in pairs(list) do
    words[word] = not refused[word] or nil
  end
end
local policies = { never = true, on_failure = true, always = true }

-- The plan in two: what the supervisor does, and what the program is.
local function read(plan)
  if type(plan) ~= "table" then
    errors.misuse("service: a plan (a table) expected, got %s", type(plan))
  elseif plan[1] == nil then
    errors.misuse "service: no program, and no function"
  end
  local spec, program = {}, {}
  for key, value in pairs(plan) do
    if own[key] then
      check.options("service", { [key] = value }, own)
      spec[key] = value
    elseif refused[key] then
      errors.misuse("service: %s is not for services: %s", key, refused[key])
    elseif type(key) ~= "number" and not plans.known[key] then
      errors.misuse("service: %s", check.unknown("key", key, words))
    else
      program[key] = value
    end
  end
  spec.restart = spec.restart or "never"
  if not policies[spec.restart] then
    errors.misuse("service: restart: %s", check.unknown("word", spec.restart, policies))
  end
  spec.ready = readiness.read(spec.ready)
  spec.max_restarts = spec.max_restarts or 5
  spec.backoff = units.duration(spec.backoff or 0.1, "service: backoff")
  spec.grace = units.duration(spec.grace or GRACE, "service: grace")
  spec.log = math.tointeger(math.max(1024, units.size(spec.log or "64kb", "service: log") // 1))
  return spec, program
end

local function is_callable(value)
  return type(value) == "function"
end

-- Fds that belong to the node, which probes in the supervisor need.
local function fds_of(node)
  local out = { node.fd }
  for _, key in ipairs { "userns", "netlink_socket" } do
    local held = rawget(node, key)
    local fd = held and (key == "userns" and held.fd or held:getfd())
    out[#out + 1] = fd
  end
  return out
end

local function complain(e)
  io.stdout:flush()
  local text = debug.traceback(tostring(e), 2):gsub("%s*%[C%]: in function 'xpcall'.*", "") -- below it is how it was started
  core.process.write(2, text .. "\n")
end

-- What starts the program, called in the supervisor; it runs where that is.
local function starter(program, fds, node)
  local fn = program[1]
  if not is_callable(fn) then
    program.stdin, program.stdout, program.stderr = "null", "pipe", "stdout"
    return function()
      return process.spawn(program)
    end
  end
  local plan = { stdin = "null", stdout = "pipe", stderr = "stdout" }
  for key, value in pairs(program) do
    plan[key] = key ~= 1 and value or nil
  end
  return function()
    return process.fork(plan, function()
      core.process.detach(fds)
      io.stdout:setvbuf "line"
      local ok = xpcall(fn, complain, node)
      core.process.exit(ok and 0 or 1)
    end)
  end
end

local function supervise(spec, channel, fds)
  local ok, e = pcall(function()
    local keep = { channel.reader, channel.writer, table.unpack(fds) }
    local done, message = core.process.detach(keep, spec.keep)
    assert(done, message)
    supervisor.run(spec, channel)
  end)
  if not ok then
    channel:send { seq = 0, value = { broken = tostring(e) } }
  end
  core.process.exit(ok and 0 or 1)
end

---Start a service on a node: a program, or a function of Lua, which runs in a copy of the script. Raises where the program cannot be started; that it
---does not become ready, wait_ready says.
---@param node nslua.lab.Node
---@param plan nslua.lab.ServicePlan
---@param fds? nslua.fd[]  that a function keeps
---@return nslua.lab.Service
function M.start(node, plan, fds)
  local spec, program = read(plan)
  local lab = node.lab
  local keeper = rawget(lab, "keeper")
  local kept = fds_of(node)
  for _, fd in ipairs(fds or {}) do
    kept[#kept + 1] = fd
  end
  for _, entry in ipairs(type(program.fds) == "table" and program.fds or {}) do
    kept[#kept + 1] = type(entry) == "table" and entry[1] or entry
  end
  spec.node, spec.start, spec.keep = node, starter(program, kept, node), lab.kept and keeper ~= nil
  local name = spec.name or is_callable(program[1]) and "function" or tostring(program[1])
  local mine, theirs = channels.pair()
  local self = setmetatable({ name = name, node = node, channel = mine, seq = 0, closed = false, kept = spec.keep, grace = spec.grace }, Service)
  local ok, e = pcall(function()
    self.process = node:fork({ contain = keeper or true, stdin = "null", stdout = "null", stderr = "null" }, supervise, spec, theirs, kept)
  end)
  theirs:close()
  if not ok then
    mine:close()
    error(e, 0)
  end
  of_lab[lab] = of_lab[lab] or {}
  of_lab[lab][self] = true
  if spec.keep then
    owned.remove(self.process.entry)
  end
  local first = mine:receive()
  local failed = not first and "its supervisor has ended" or first.value.broken or first.value.error
  if failed then
    self:close()
    error(failed, 0)
  end
  self.last = first.value
  return self
end

return M
