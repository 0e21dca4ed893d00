-- list namespaces, as lsns(8) does, and those it misses
--
-- Takes the options of lsns(8) 2.42. A namespace without a process says in its COMMAND what holds it: a thread, an open fd, a socket, a bind
-- mount here or in another mount namespace, or that it is the owner or parent of another.

local options = require "nslua.command.cli.options"

local TYPES = { "mnt", "net", "ipc", "user", "pid", "uts", "cgroup", "time" }
local COLUMNS = { "NS", "TYPE", "PATH", "NPROCS", "PID", "PPID", "COMMAND", "UID", "USER", "NETNSID", "NSFS", "PNS", "ONS", "ID", "FOUND",
  "CONTAINER" }

local declaration = options.declare {
  name = "ls", usage = "[options] [<namespace>]", summary = "List namespaces, or the processes of one (its inode number).",
  { "J", "json", help = "print JSON" },
  { "l", "list", help = "no tree" },
  { "n", "noheadings", help = "no headings" },
  { "o", "output", arg = "list", words = COLUMNS, help = "the columns to print; +<list> adds to the usual ones" },
  { false, "output-all", help = "print every column" },
  { "P", "persistent", help = "only namespaces without a process" },
  { "p", "task", arg = "pid", help = "only namespaces of that process" },
  { "Q", "filter", arg = "expr", help = "only lines for which that is true: NPROCS > 1 && COMMAND =~ \"sh\"" },
  { "r", "raw", help = "print words with one blank between them" },
  { "u", "notruncate", help = "do not cut text to the terminal's width" },
  { "W", "nowrap", help = "several mounts on one line" },
  { "t", "type", arg = "name", many = true, words = TYPES, help = "only that type: mnt, net, ipc, user, pid, uts, cgroup or time" },
  { "T", "tree", arg = "rel", optional = true, attached = true, words = { "owner", "parent", "process" },
    help = "a tree by owner (if not given), parent or process" },
  { "H", "list-columns", help = "tell what the columns are" },
  { false, "no-fds", help = "do not look at open files and sockets: several times faster" },
  { false, "watch", arg = "seconds", optional = true, help = "print again every 2 seconds, or as often as given, until Ctrl-C" },
  { "h", "help", help = "display this help" },
  { "V", "version", help = "display the version" },
}

return function(args)
  return declaration:run(args, function(o)
    if o.version then
      print("nslua ls, of " .. require "nslua"._VERSION)
      return 0
    end
    return require "nslua.command.ls.show"(o)
  end)
end
