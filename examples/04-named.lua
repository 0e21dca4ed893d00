-- Named namespaces, as `ip netns` makes and sees them: add, list, exec, delete, delete_all.
--
-- Use:    nslua examples/04-named.lua
-- Prints: the list after each step, and the error of adding a name twice.
-- Needs:  root, or `unshare -Ur` before it. It works on a private /run, so that no name of the host's is seen or deleted.

local function names()
  local list = {}
  for i, n in ipairs(ns.netns.list()) do
    list[i] = n.name
  end
  table.sort(list)
  return #list > 0 and table.concat(list, " ") or "none"
end

local function recipe()
  print("at first:", names())

  local n <close> = ns.netns.add "nsdemo1"
  ns.netns.add "nsdemo2":close()
  print("added two:", names())

  local ok, e = pcall(ns.netns.add, "nsdemo1")
  print("added again:", ok, e.code)

  -- ip netns exec nsdemo1 ip -o link
  io.write("exec:\t", n:run{ "ip", "-o", "link", "show", "lo" }:check().stdout:match "^%d+: %S+ %S+", "\n")

  ns.netns.delete "nsdemo1"
  print("deleted one:", names())
  ns.netns.add "nsdemo3":close()
  ns.netns.delete_all() -- ip -all netns delete
  print("deleted all:", names())
end

ns.fork({ unshare = "mount", mounts = { { tmpfs = "/run" } }, stdout = "inherit" }, recipe):result()
