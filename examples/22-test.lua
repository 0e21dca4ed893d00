-- A network, tested: each test makes what it needs, and what failed is in the report with its place.
--
-- Use:    nslua examples/22-test.lua [REPORT.xml], or: prove -e nslua examples/22-test.lua
-- Prints: TAP; with a file, JUnit's XML goes there. The exit status is 1 where something failed.
-- Needs:  nothing: without root it makes a user namespace.

local t <close> = ns.test { name = "firewall", format = arg[1] and "junit", file = arg[1] }

local function network()
  return ns.lab "client -- r1 -- server"
end

t:test("the server answers", function()
  local lab <close> = network()
  lab.server:serve("http", { files = { ["/"] = "hello\n" } })
  local answer = lab.client:http("http://" .. lab.server:address_of "client" .. "/")
  assert(answer.status == 200 and answer.body == "hello\n", answer.error)
end)

t:test("nobody reaches a port that is not served", function()
  local lab <close> = network()
  lab.server:serve("echo", { port = 7777 })
  lab:expect { "client", "server", tcp = 7777 }
  lab:never { "client", "server", tcp = 7778 }
end)

t:test("a router that does not forward is noticed", function()
  local lab <close> = network()
  lab.r1:sysctl("net.ipv4.ip_forward", 0)
  assert(not lab.client:tcp("server", 80, { timeout = 0.1, family = "inet" }).connected)
end)

t:test("wireguard is there", function()
  local a <close> = ns.netns.new()
  local ok = pcall(a.link.add, a.link, { name = "wg0", kind = "wireguard" })
  if not ok then
    t:skip "this kernel has no wireguard, or this user no right"
  end
end)
