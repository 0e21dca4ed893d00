-- run a program in new namespaces, as unshare(1) does
--
-- Takes the options of unshare(1) 2.42. Without --fork the program replaces this process. With it, this process waits, ends as the
-- program ends, and takes the program with it when it is ended.

local command = require "nslua.command.unshare.plan"
local program = require "nslua.command.cli.program"
local options = require "nslua.command.cli.options"

local declaration = options.declare {
  name = "unshare", usage = "[options] [<program> [<argument>...]]", stop = true, operands = "program",
  summary = "Run a program with some namespaces unshared from the parent.",
  "Namespaces; with <file> they are kept by a bind mount on it",
  { "m", "mount", arg = "file", optional = true, keeps = true, help = "unshare the mount namespace" },
  { "u", "uts", arg = "file", optional = true, keeps = true, help = "unshare the UTS namespace (host name)" },
  { "i", "ipc", arg = "file", optional = true, keeps = true, help = "unshare the System V IPC namespace" },
  { "n", "net", arg = "file", optional = true, keeps = true, help = "unshare the network namespace" },
  { "p", "pid", arg = "file", optional = true, keeps = true,
    help = "unshare the pid namespace (of the program's children, or with --fork\nof the program); <file> needs --fork" },
  { "U", "user", arg = "file", optional = true, keeps = true, help = "unshare the user namespace" },
  { "C", "cgroup", arg = "file", optional = true, keeps = true, help = "unshare the cgroup namespace" },
  { "T", "time", arg = "file", optional = true, keeps = true, help = "unshare the time namespace" },
  "The program's process",
  { "f", "fork", help = "run the program as a child" },
  { false, "kill-child", arg = "signame", optional = true,
    help = "what the child gets when this process dies (KILL, if not given);\nimplies --fork" },
  { false, "forward-signals",
    help = "pass HUP, INT, QUIT, TERM, USR1, USR2, WINCH and CONT on to the\nchild, also where it is pid 1; implies --fork" },
  { false, "init", own = true, help = "a pid 1 that reaps orphans and passes signals on; implies --fork\nand --pid" },
  { false, "json-status", own = true, arg = "fd", help = "write how it goes to that file descriptor, one JSON object a line;\nimplies --fork" },
  "Ids",
  { false, "map-user", arg = "uid|name", help = "map the current user to that one (implies --user)" },
  { false, "map-group", arg = "gid|name", help = "map the current group to that one (implies --user)" },
  { "r", "map-root-user", help = "map the current user and group to root (implies --user)" },
  { "c", "map-current-user", help = "map the current user and group to themselves (implies --user)" },
  { false, "map-auto", help = "map the block of subordinate ids that this user has to 0 and up" },
  { false, "map-subids", help = "map that block to itself" },
  { false, "map-users", arg = "inner:outer:count", many = true, words = { "auto", "subids", "all" },
    help = "map count users from outer to inner; or auto, subids, all\n(implies --user)" },
  { false, "map-groups", arg = "inner:outer:count", many = true, words = { "auto", "subids", "all" }, help = "the same for groups" },
  { false, "owner", arg = "uid:gid", help = "let these own the user namespace (implies --user)" },
  { false, "setgroups", arg = "allow|deny", words = { "allow", "deny" }, help = "whether setgroups(2) works in the user namespace" },
  { "S", "setuid", arg = "uid", help = "uid of the program in the user namespace" },
  { "G", "setgid", arg = "gid", help = "gid of the program; its other groups are dropped" },
  { false, "keep-caps", help = "let the program keep its capabilities, whatever its uid" },
  "The view",
  { false, "mount-proc", arg = "dir", optional = true, help = "mount a proc file system first (implies --mount)" },
  { false, "mount-binfmt", arg = "dir", optional = true, help = "mount the user namespace's binfmt_misc (implies --user and --mount)" },
  { "l", "load-interp", arg = "string", help = "register an interpreter there (implies --mount-binfmt)" },
  { false, "propagation", arg = "slave|shared|private|unchanged", words = { "slave", "shared", "private", "unchanged" },
    help = "of mounts in the new mount namespace (private, if not given)" },
  { "R", "root", arg = "dir", help = "run the program with that root directory" },
  { "w", "wd", arg = "dir", help = "and that working directory" },
  { false, "hostname", own = true, arg = "name", help = "set the host name (implies --uts)" },
  { false, "lo", own = true, help = "bring lo up (implies --net)" },
  { false, "monotonic", arg = "seconds", help = "offset of the monotonic clock in the time namespace" },
  { false, "boottime", arg = "seconds", help = "offset of the boottime clock" },
  { false, "clear-env", help = "start with an empty environment" },
  { false, "whitelist-env", arg = "names", many = true, help = "and keep the variables of this list (A,B,C)" },
  { "h", "help", help = "display this help" },
  { "V", "version", help = "display the version" },
}

return function(args)
  return declaration:run(args, function(o)
    if o.version then
      print("nslua unshare, of " .. require "nslua"._VERSION)
      return 0
    end
    local plan, how = command(declaration, o)
    if not plan then
      return how
    end
    program.words(plan, o)
    local run = how.watched and function(p)
      return require "nslua.command.unshare.watch"(p, how)
    end
    return program.start(plan, how.fork, run)
  end, program.explain)
end
