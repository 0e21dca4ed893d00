-- run a program in the namespaces of other processes, or of a container by its name
--
-- The options are those of nsenter(1) of util-linux 2.42. A target is a pid, PID:INODE (of its pidfd: never another process that got
-- the pid), or a container: web, docker:web, podman:web, containerd:NAMESPACE/ID.

local ns = require "nslua"
local options = require "nslua.command.cli.options"
local program = require "nslua.command.cli.program"
local prepare = require "nslua.command.nsenter.plan"

local function namespace(letter, name, what)
  return { letter, name, arg = "file", optional = true, attached = true, keeps = true, help = ("enter %s namespace"):format(what) }
end

local nsenter = options.declare {
  name = "nsenter", usage = "[options] [<program> [<argument>...]]", stop = true, operands = "program",
  summary = "Run a program with namespaces of other processes.",
  { "a", "all", help = "enter all namespaces" },
  { "t", "target", arg = "pid", many = true,
    help = "process to get namespaces from: <pid>, <pid>:<inode> of its pidfd,\nor a container: <name>, docker:<name>, ..." },
  namespace("m", "mount", "mount"),
  namespace("u", "uts", "UTS"),
  namespace("i", "ipc", "System V IPC"),
  namespace("n", "net", "network"),
  { "N", "net-socket", arg = "fd", help = "enter the network namespace of a socket of the target" },
  namespace("p", "pid", "pid"),
  namespace("C", "cgroup", "cgroup"),
  namespace("U", "user", "user"),
  { false, "user-parent", help = "enter parent user namespace" },
  namespace("T", "time", "time"),
  { "S", "setuid", arg = "uid", words = { "follow" }, help = "set uid in entered namespace; follow: the target's" },
  { "G", "setgid", arg = "gid", words = { "follow" }, help = "set gid in entered namespace; follow: the target's" },
  { false, "preserve-credentials", help = "do not touch uids or gids" },
  { false, "keep-caps", help = "retain capabilities granted in user namespaces" },
  { "r", "root", arg = "dir", optional = true, attached = true, help = "set the root directory" },
  { "w", "wd", arg = "dir", optional = true, attached = true, help = "set the working directory" },
  { "W", "wdns", arg = "dir", help = "set the working directory in namespace" },
  { "e", "env", help = "inherit environment variables from target process" },
  { "F", "no-fork", help = "do not fork before exec'ing <program>" },
  { "c", "join-cgroup", help = "join the cgroup of the target process" },
  { "Z", "follow-context", help = "set the security context of the target process" },
  { false, "proc", own = true, help = "mount a /proc of the pid namespace, seen by <program> alone" },
  { "h", "help", help = "display this help" },
  { "V", "version", help = "display version" },
  notes = "A <file> is one of /proc/<pid>/ns/*, a bind mount of one, or :<id> with the 64-bit id of a namespace.",
  examples = {
    { "nslua nsenter -t 4711 -n ip addr", "addresses in the network of a process, by this host's ip(8)" },
    { "nslua nsenter -t web -a", "a shell in a container" },
    { "nslua nsenter -t docker:web -n ss -tln", "listening sockets of a container that has no ss(8)" },
  },
}

-- What this command found is said without its name, which the message begins with.
local function explain(e)
  local hint = e.hint and "; " .. e.hint or ""
  if e.call == "nsenter" then
    return e.message .. hint
  elseif e.call == "file" then
    return (e.detail and ("cannot open %s: %s"):format(e.detail, e.message) or e.message) .. hint
  elseif e.call == "container.find" and e.detail then
    return ("%s: %s"):format(e.message, e.detail:match '^"(.*)"$' or e.detail) .. hint
  end
  return program.explain(e, true)
end

return function(args)
  return nsenter:run(args, function(o)
    if o.version then
      print("nslua nsenter, of " .. ns._VERSION)
      return 0
    end
    local plan, forks = prepare(o)
    return program.start(plan, forks)
  end, explain)
end
