-- What was there before a lab as nodes of it: containers, bridges and links of the machine, which are after it as they were, also after kill -9.

local helper = require "spec.helper"
local ns = require "nslua"
local rtnl = require "spec.rtnl_helper"

local HOST = "build/bin/nslua"

describe("a lab with what was there before", function()
  local why = rtnl.cannot()
  if why then
    return it("", function()
      pending(why)
    end)
  end

  it("converts it from text to table and back", function()
    for _, text in ipairs { "web{container=docker:web}\nr1\nh1\nweb -- r1 -- h1\n", "(br){bridge=docker0}\nh1\n(br) -- h1\n",
      "r1{macvlan=eth0}\nh1\nh2\nh1 -- r1 -- h2\n", "h1{wire=eth0}\nh2\nh1 -- h2\n" } do
      local topology = ns.lab.topology(text)
      local again = ns.lab.text(topology)
      assert.same(topology, ns.lab.topology(again), again)
    end
    local plan = ns.lab.topology { nodes = { { "web", container = "pid:7" } }, links = { { "web", "r1" }, { "web", "r2" } } }
    assert.equal("host", plan.nodes[1].kind)
    assert.is_truthy(ns.lab.draw("h1 -- web{container=x}", { format = "svg" }):find 'class="node host there"')
    assert.equal("x", require "dkjson".decode(ns.lab.draw("h1 -- web{container=x}", { format = "json" })).nodes[2].container)
  end)

  it("refuses what it could not undo, and what makes no sense", function()
    local function fault(pattern, said)
      local ok, e = pcall(ns.lab, said)
      assert.is_false(ok)
      assert.matches(pattern, tostring(e))
    end
    fault("neither web nor db is the lab's own", "web{container=netns:x} -- db{container=netns:y}")
    fault("the end at web cannot be impaired.*web %-%- %(sw%) %-%-10ms%-%- h1", "web{container=netns:x} --10ms-- h1")
    fault("a bridge of the machine is a switch", "h1{bridge=docker0} -- h2")
    fault("a container is a host", "(sw){container=x} -- h2")
    fault("its settings, services and addresses", { nodes = { { "web", container = "x", serve = "http" } }, links = { { "web", "h1" } } })
    fault("macvlan is for a host or router", "(sw){macvlan=eth0} -- h2")
    fault("wire is for a host or router", "(sw){wire=eth0} -- h2")
    fault("a and b are the same bridge, docker0", "h1 -- (a){bridge=docker0}\n(b){bridge=docker0} -- h2")
    fault("one device outside", "h1{wire=eth0, macvlan=eth0} -- h2")
    if helper.is_root() then
      fault("nslua%-none", "web{container=netns:nslua-none} -- h1")
      fault("no such container", "web{container=nslua-no-such-one} -- h1")
      fault("there is no bridge nslua%-none", "(br){bridge=nslua-none} -- h1")
      fault("no bridge but a link of kind", "(br){bridge=lo} -- h1")
      fault("is in the network that this script is in", ("me{container=pid:%d} -- h1"):format(helper.sh "echo $PPID"))
    else
      fault("EPERM.*the container belongs to others.*web.*root", "web{container=netns:x} -- h1")
      fault("EPERM.*the bridge belongs to others.*br.*root", "(br){bridge=docker0} -- h1")
      fault("EPERM.*no rights to it.*root", "h1{macvlan=eth0} -- h2")
    end
    assert.is_false(pcall(function()
      local lab <close> = ns.lab "h1 -- h2"
      lab.topology.nodes[1].container, lab.plan.nodes[1].container = "x", "x"
      lab:to_shell()
    end))
  end)

  describe("as root", function()
    -- A machine of its own for each test: a namespace with a bridge and a link; and a container, a namespace of its own with a network.
    local host, box, names
    local function dump()
      local out = {}
      for _, name in ipairs { names.host, names.box } do
        out[#out + 1] = helper.sh((([[
          ip -n NAME -d link | sed 's/^[0-9]*: //; s/@if[0-9]*//; s/[a-z_]*timer *[0-9.]*//g'; ip -n NAME addr | grep -v '^[0-9]'
          ip -n NAME route show table all; ip -n NAME -6 route show table all
          bridge -n NAME fdb | grep permanent; bridge -n NAME vlan
          ip netns exec NAME sysctl -a 2>/dev/null | grep -E '^net.ipv[46].(conf|ip_forward)' | sort]]):gsub("NAME", name)))
      end
      return table.concat(out, "\n"):gsub("valid_lft %w+ preferred_lft %w+", "")
    end
    -- The lines that are in one of two texts alone.
    local function difference(a, b)
      local count, out = {}, {}
      for sign, text in pairs { [1] = a, [-1] = b } do
        for line in text:gmatch "[^\n]+" do
          count[line] = (count[line] or 0) + sign
        end
      end
      for line, n in pairs(count) do
        out[#out + 1] = n ~= 0 and (n > 0 and "- " or "+ ") .. line or nil
      end
      table.sort(out)
      return table.concat(out, "\n")
    end
    local function settled(want)
      pcall(ns.eventually, function()
        return difference(want, dump()) == ""
      end, 20)
      assert.equal("", difference(want, dump()))
    end

    before_each(function()
      if not helper.is_root() then
        return
      end
      local tag = ("%x"):format(math.random(1, 1 << 30))
      names = { host = "nslh" .. tag, box = "nslb" .. tag }
      host, box = ns.netns.add(names.host, { lo = true }), ns.netns.add(names.box, { lo = true })
      for _, handle in ipairs { host, box } do
        handle:sysctl("net.ipv6.conf.default.accept_dad", 0)
        handle:sysctl("net.ipv6.conf.all.accept_dad", 0)
      end
      host.link:add { name = "br0", kind = "bridge", up = true } -- it has the address of its port
      host.link:add { name = "p0", kind = "veth", master = "br0", up = true, peer = { name = "p1" } }
      host.link:change("p1", { up = true })
      host.address:add { "192.0.2.1/24", dev = "br0" }
      host.link:add { name = "eth0", kind = "veth", peer = { name = "far" }, up = true }
      host.link:change("far", { up = true })
      ns.connect(host, box, { "198.51.100.1/24", "198.51.100.2/24" })
      box.route:add { "default", via = "198.51.100.1" }
      box:sysctl("net.ipv6.conf.default.disable_ipv6", 1)
      for _, handle in ipairs { host, box } do
        ns.eventually(function() -- at rest
          for address in handle.address:each() do
            if address.tentative then
              return false
            end
          end
          return #handle.link:list { operstate = "up" } >= 1
        end, 20)
      end
    end)
    after_each(function()
      if host then
        host:close()
        box:close()
        ns.netns.delete(names.host)
        ns.netns.delete(names.box)
        host = nil
      end
    end)

    -- A script, run on that machine.
    local function run(script)
      local r = host:run { HOST, "-e", "local box = os.getenv 'BOX'\n" .. script, env = { BOX = names.box }, timeout = 60 }
      assert(r.ok, r.stderr)
      return r.stdout
    end

    it("joins a container, which keeps its own routes", function()
      if not host then
        return pending "needs root"
      end
      local before = dump()
      assert.equal("1\t1\t1\t1\tlab0\n198.51.100.1\n", run [[
        local lab = ns.lab("h1 -- r1 -- (sw)\nweb{container=netns:" .. box .. "} -- (sw)\nh2 -- (sw)")
        lab:expect { "h1", "web", within = 5 }
        print(lab.h1:ping("web").received, lab.web:ping("h1", { family = "inet6" }).received, lab.h2:ping("web", { family = "inet6" }).received,
          lab.web:ping(lab.h2).received, lab.web.plan.interfaces[1].dev)
        print(lab.web.route:get { "default" }.via)
        lab:close() ]])
      settled(before)
      -- two labs at a time
      run [[
        local text = "h1 -- web{container=netns:" .. box .. "}"
        local one <close> = ns.lab(text)
        local two <close> = ns.lab("h1 --10.78.0.0/24, fd78::/64-- r1 --10.79.0.0/24, fd79::/64-- h2\n"
          .. "r1 --10.77.0.0/24, fd77::/64-- web{container=netns:" .. box .. "}")
        one:expect { "h1", "web", within = 5 }
        two:expect { "h2", "web", within = 5 }
        assert(two.web.plan.interfaces[1].dev == "lab1") ]]
      settled(before)
    end)

    it("leaves nothing there that would stay, and does not take others' addresses", function()
      if not host then
        return pending "needs root"
      end
      local before = dump()
      assert.equal("", run [[
        local function fault(pattern, fn, ...)
          local ok, e = pcall(fn, ...)
          if ok or not tostring(e):find(pattern) then
            print(pattern, e)
          end
        end
        local web = "web{container=netns:" .. box .. "}"
        do
          local lab <close> = ns.lab(web .. " -- r1 -- h1\nr1 -- (br){bridge=br0}")
          for _, node in ipairs { lab.web, lab.br } do
            fault("was there before the lab", node.firewall, node, "block_icmp")
            for _, name in ipairs { "no_forwarding", "rp_filter", "no_default_route", "mtu_black_hole", "icmp_blocked" } do
              fault("lab.fault: .* was there before the lab", lab.fault, lab, name, node)
            end
          end
          fault("was there before the lab", lab.web.nat, lab.web, "home", { out = "r1" })
          fault("was there before the lab", lab.web.frr, lab.web, { ospf = true })
          for _, name in ipairs { "link_down", "duplicate_address", "wrong_neighbour" } do
            lab:fault(name, "web")
          end
        end
        fault("lab: web and b are the same network", ns.lab, web .. " -- r1 -- b{container=netns:" .. box .. "}")
        fault("EEXIST.*web has 198.51.100.2/24 on .* already.*198.51.0.0/16.*another subnet", ns.lab, web .. " -- r1 --198.51.0.0/16-- h1")
        local one <close> = ns.lab(web .. " -- h1")
        fault("EEXIST.*web has 10.0.1.1/24 on lab0 already", ns.lab, web .. " -- h1")
        one:expect { "h1", "web", within = 5 }
        fault("p0 takes no macvlan: it is a port", ns.lab, "h1{macvlan=p0} -- h2")
        fault("there is no link nslua%-none here", ns.lab, "h1{macvlan=nslua-none} -- h2")
      ]])
      settled(before)
    end)

    it("leaves a bridge that had no ports its address, also where the script is killed", function()
      if not host then
        return pending "needs root"
      end
      host.link:add { name = "bare", kind = "bridge", up = true }
      local before = host.link:get("bare").address
      for _, the_end in ipairs { "lab:close()", "ns.run { 'sh', '-c', 'kill -9 $PPID' }" } do
        local r = host:run { HOST, "-e", 'local lab = ns.lab "h1 -- (sw){bridge=bare}"\nprint(lab.h1:isopen())\nio.stdout:flush()\n' .. the_end,
          timeout = 60 }
        assert.same({ "true\n", the_end:find "kill" and "KILL" or nil }, { r.stdout, r.signal }, r.stderr)
        ns.eventually(function()
          return not host.link:list({ master = "bare" })[1]
        end, 20)
        assert.equal(before, host.link:get("bare").address)
      end
    end)

    it("has a bridge of the machine as a switch, beside what is on it", function()
      if not host then
        return pending "needs root"
      end
      local before = dump()
      run [[
        local lab <close> = ns.lab "h1[192.0.2.77/24] --192.0.2.0/24-- (br){bridge=br0}"
        ns.eventually(function() return lab.h1:ping("192.0.2.1", { timeout = "200ms" }).received == 1 end, 10)
        ns.run { "ping", "-c1", "-W5", "192.0.2.77", check = true } ]]
      settled(before)
    end)

    for _, how in ipairs { "macvlan", "wire" } do
      it("has a " .. how .. " on a link of the machine, which stays where it is", function()
        if not host then
          return pending "needs root"
        end
        local before = dump()
        run(([[
          local lab <close> = ns.lab "h1 -- r1{%s=eth0} -- h2"
          lab.r1.address:add { "203.0.113.9/24", dev = "outside" }
          local here = ns.netns.current()
          here.address:add { "203.0.113.1/24", dev = "far" }
          ns.eventually(function() return lab.r1:ping("203.0.113.1", { timeout = "200ms" }).received == 1 end, 10)
          lab.r1:nat("home", { out = "outside" })
          assert(lab.h1:ping("203.0.113.1", { timeout = 5 }).received == 1)
          here.address:delete { "203.0.113.1/24", dev = "far" } ]]):format(how))
        settled(before)
      end)
    end

    it("leaves it as it was when the script is killed", function()
      if not host then
        return pending "needs root"
      end
      local before = dump()
      for _ = 1, 3 do
        local p = host:spawn { HOST, "-e", [[
          local lab = ns.lab("h1 -- (sw)\nweb{container=netns:" .. os.getenv "BOX" .. "} -- (sw)\n"
            .. "h2{macvlan=eth0} -- h3{wire=far} -- (br){bridge=br0}")
          io.stdout:write "up\n"
          io.stdout:flush()
          lab.h1:run { "sleep", "600" } ]], env = { BOX = names.box }, stdout = "pipe" }
        assert.equal("up", p.stdout:read "l")
        p:kill "KILL"
        p:wait()
        p:close()
        settled(before)
      end
    end)
  end)
end)
