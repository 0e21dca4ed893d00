-- enter a container: the host's tools in its network, or its own in all its namespaces
--
-- A container is what `nslua containers` lists: web, docker:web, pod:default/web, the beginning of an id; also a name in /run/netns, pid:12, a path.
-- Nothing is put into it, and it needs no shell.

local core = require "nslua.core"
local errors = require "nslua.error"
local options = require "nslua.command.cli.options"
local place = require "nslua.command.cli.place"
local program = require "nslua.command.cli.program"
local prompts = require "nslua.shell"

local declaration = options.declare {
  name = "enter", usage = "[options] <container> [<program> [<argument>...]]", stop = true, operands = "container", status = 125,
  summary = "Run a program, or a shell, in a container's network: the program is the host's.",
  { "a", "all", help = "in all its namespaces, with its root and its environment: the program is the container's" },
  { "t", "tools", help = "the host's programs and files, in all its namespaces but that of mounts: /proc is the container's,\n"
    .. "its files are below $CONTAINER_ROOT: /proc/1/root, or /proc/PID/root where it is not the first of its processes" },
  { "e", "env", arg = "name=value", many = true, help = "set a variable" },
  { "w", "workdir", arg = "dir", help = "the working directory" },
  notes = "The status is the program's; 127 where it is not there, 126 where it cannot be run, 125 where the container could not be entered.",
  examples = {
    { "nslua enter web", "a shell with the host's tools in the network of web" },
    { "nslua enter web ss -tln", "listening sockets of a container that has no ss(8)" },
    { "nslua enter -a web", "the container's own shell, in all of its namespaces" },
    { "nslua enter -t web gdb -p 1", "the host's debugger at a container's first process" },
  },
}

local function variables(o)
  local env = {}
  for _, text in ipairs(o.env or {}) do
    local name, value = text:match "^([^=]+)=(.*)$"
    if not name then
      errors.misuse("--env %s: NAME=VALUE expected", text)
    end
    env[name] = value
  end
  return env
end

-- What its first process was started with; it may be anything.
local function environment(handle)
  local out = {}
  local text = core.foreign.read("/", ("/proc/%d/environ"):format(handle.pid), 1 << 20)
  for name, value in (text or ""):gmatch "([^=%z]+)=(%Z*)" do
    out[name] = out[name] or value
  end
  out.PATH = out.PATH or "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
  out.TERM = os.getenv "TERM"
  return out
end

local function with_prompt(plan, handle)
  if not plan[1] then
    plan[1] = "/bin/sh"
    plan.env.PS1 = prompts.prompt(handle) .. "\\w # "
  end
end

local function finish(result)
  return require "nslua.command.cli.finish"(result)
end

local function all(handle, o, plan)
  if not rawget(handle, "pid") then
    errors.misuse("--all: %s has no process to take the other namespaces from", tostring(handle))
  end
  local env = environment(handle)
  for name, value in pairs(plan.env) do
    env[name] = value
  end
  plan.env, plan.clear_env, plan.join, plan.cwd = env, true, "all", o.workdir or "/"
  with_prompt(plan, handle)
  local shell = not o[2]
  local ok, result = pcall(handle.run, handle, plan)
  if not ok and shell and errors.is(result, "ENOENT") and result.step == "exec" then
    errors.raise { call = "enter", errno = core.errno.ENOENT, message = ("%s has no /bin/sh"):format(handle:describe()),
      hint = "name a program it has, or take the host's with --tools" }
  elseif not ok then
    error(result, 0)
  end
  return finish(result)
end

-- Its number where it is: not 1 in the pid namespace of the host, or of another container.
local function inner_pid(pid)
  local status = core.foreign.read("/", ("/proc/%d/status"):format(pid), 1 << 16)
  return math.tointeger(tonumber((status or ""):match "\nNSpid:[^\n]-(%d+)\n")) or 1
end

local function tools(handle, o, plan)
  local pid = rawget(handle, "pid")
  if not pid then
    errors.misuse("--tools: %s has no process to take the other namespaces from", tostring(handle))
  end
  local join = {}
  for _, t in ipairs { "net", "pid", "ipc", "uts", "cgroup" } do
    join[t] = t == "net" and handle or rawget(handle, "pidfd") and { pidfd = handle.pidfd } or pid
  end
  plan.join, plan.mount_proc, plan.cwd = join, true, o.workdir
  plan.env.CONTAINER_ROOT = ("/proc/%d/root"):format(inner_pid(pid))
  if not plan[1] then
    return handle:shell(plan)
  end
  return finish(handle:run(plan))
end

local asked -- the program

local function explain(e)
  if e.call == "enter" then
    return e.message .. (e.hint and "; " .. e.hint or "")
  elseif e.step == "cwd" then
    return ("--workdir %s: %s"):format(e.detail or "", e.message)
  elseif e.step == "exec" then
    return program.explain(e, true, asked)
  end
end

return function(args)
  return declaration:run(args, function(o)
    if not o[1] then
      return declaration:wrong "the name of a container is missing"
    elseif o.all and o.tools then
      return declaration:wrong "--all and --tools exclude each other"
    end
    asked = o[2] or "/bin/sh"
    local handle <close> = place.open(o[1], true)
    local plan = { stdin = "inherit", stdout = "inherit", stderr = "inherit", env = variables(o), table.unpack(o, 2) }
    if o.all then
      return all(handle, o, plan)
    elseif o.tools then
      return tools(handle, o, plan)
    end
    plan.cwd = o.workdir
    if not plan[1] then
      return handle:shell(plan)
    end
    return finish(handle:run(plan))
  end, explain)
end
