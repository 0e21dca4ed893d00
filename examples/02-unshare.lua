-- Each type of namespace, unshared: what the program sees inside, and that nothing changed outside.
--
-- Use:    nslua examples/02-unshare.lua
-- Prints: a line a type, for instance
--         uts      inside: web                  outside: myhost
--         pid      inside: 1                    outside: 4711
-- Needs:  root, or no right at all where users may make user namespaces: every plan has `user` in it.

local function sh(command, plan)
  plan = plan or {}
  plan[1], plan[2], plan[3] = "sh", "-c", command
  return (ns.run(plan):check().stdout:gsub("\n$", ""))
end

local function show(type, command, plan)
  plan.unshare = type == "user" and "user" or "user," .. type
  plan.map_users, plan.map_groups = "root", "root"
  print(("%-8s inside: %-28s outside: %s"):format(type, sh(command, plan), sh(command)))
end

show("user", "id -u", {})
show("uts", "hostname", { hostname = "web" })
show("net", "awk 'NR > 2 { printf \"%s \", $1 }' /proc/net/dev", {})
show("pid", "echo $$", { mount_proc = true })
show("mount", "stat -f -c %T /mnt", { mounts = { { tmpfs = "/mnt" } } })
show("ipc", "readlink /proc/self/ns/ipc", {})
show("cgroup", "readlink /proc/self/ns/cgroup", {})
show("time", "cut -d. -f1 /proc/uptime", { time = { boottime = 86400 } })
