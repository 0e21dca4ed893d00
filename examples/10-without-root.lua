-- No root: a user namespace owns two network namespaces, this process stays what it is.
--
-- Use:    nslua examples/10-without-root.lua
-- Prints: who we are outside and inside, and a ping between the two.
-- Needs:  nothing where users may make user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone).

local u <close> = ns.userns.new{ map_users = "root", map_groups = "root" }
local a <close> = ns.netns.new{ userns = u, lo = true, label = "a" }
local b <close> = ns.netns.new{ userns = u, lo = true, label = "b" }
ns.connect(a, b, { "10.0.0.1/24", "10.0.0.2/24" })

print("uid outside: " .. ns.run{ "id", "-u" }:check().stdout:gsub("\n", ""))
print("uid inside:  " .. a:output{ "id", "-u" })
print("ping:        " .. a:run{ "ping", "-c1", "-W5", "10.0.0.2" }:check().stdout:match "%d+ received")
