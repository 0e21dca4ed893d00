-- ns.container.find: containers by the state files of their engines, laid out as docker, podman and containerd lay them out.

local helper = require "spec.helper"
local layout = require "spec.container_helper"
local ns = require "nslua"
local core = require "nslua.core"

local root = helper.is_root()

local A, B = layout.A, layout.B

describe("container.find", function()
  local dir
  before_each(function()
    dir = helper.sh "mktemp -d"
  end)
  after_each(function()
    helper.close_held()
    helper.sh("rm -rf " .. dir)
  end)

  local write, docker, podman, containerd, process
  before_each(function()
    local at = layout.below(dir)
    write, docker, podman, containerd, process = at.write, at.docker, at.podman, at.containerd, layout.process
  end)

  local function find(name)
    return helper.held(ns.container.find(name, { root = dir }))
  end
  -- The error object of a name.
  local function refused(name, code)
    local ok, e = pcall(ns.container.find, name, { root = dir })
    assert.is_false(ok)
    assert.is_true(ns.error.is(e, code), tostring(e))
    return tostring(e), e
  end

  -- By engine: lay out one container.
  local engines = {
    docker = function(id, name, pid)
      docker(id, name, pid)
    end,
    podman = function(id, name, pid)
      podman { { id = id, name = name, pid = pid } }
    end,
  }

  for engine, lay in pairs(engines) do
    it(engine .. ": by name, id and the beginning of an id", function()
      local pid, id = process(A)
      if not id then
        pending "not root, and this process's cgroup has no name"
        return
      end
      lay(id, "web", pid)
      for _, name in ipairs(root and { "web", A, "a1b2", "a1b2a1b2a1b2" } or { "web", id }) do
        for _, prefix in ipairs { "", engine .. ":", engine .. "://" } do
          local c = find(prefix .. name)
          assert.same({ engine, "web", id, pid }, { c.engine, c.name, c.container, c.pid })
          assert.is_true(core.namespace.pidfd_alive(c.pidfd))
          local own = helper.held(ns.namespace.open(c, "net"))
          assert.equal(helper.sh(("readlink /proc/%d/ns/net"):format(pid)), ("net:[%d]"):format(own.inode))
        end
      end
    end)
  end

  it("without cgroups, as often without root: by what the runtime says of its process", function()
    local p = helper.held(ns.spawn { "sleep", "600" })
    local start = tonumber((helper.sh(("cut -d' ' -f22 /proc/%d/stat"):format(p.pid))))
    docker(A, "web", p.pid)
    podman { { id = B, name = "box", pid = p.pid } }
    assert.matches("web .* is not running: pid %d+, which it had, is another process now", (refused("web", "ESRCH")))
    local runc = '{"init_process_pid":%d,"init_process_start":%d}'
    write("/run/docker/runtime-runc/moby/" .. A .. "/state.json", runc:format(p.pid, start))
    write("/run/crun/" .. B .. "/status", ('{"pid":%d,"process-start-time":%d}'):format(p.pid, start))
    assert.equal(p.pid, find("web").pid)
    assert.equal(p.pid, find("podman:box").pid)
    for _, text in ipairs { runc:format(p.pid, start - 1), runc:format(p.pid + 1, start), "{}", "no JSON" } do
      write("/run/docker/runtime-runc/moby/" .. A .. "/state.json", text)
      refused("web", "ESRCH")
    end
  end)

  it("podman: those of --rm, and of every storage driver", function()
    local pid, id = process(A)
    if not id then
      pending "not root, and this process's cgroup has no name"
      return
    end
    podman({ { id = id, name = "gone-soon", pid = pid } }, true)
    podman({ { id = B, name = "other" } }, false, "vfs")
    assert.equal(pid, find "gone-soon".pid)
    refused("other", "ESRCH")
  end)

  it("containerd: by id, in whichever of its namespaces; docker's are docker's first", function()
    local pid, id = process(A)
    if not id then
      pending "not root, and this process's cgroup has no name"
      return
    end
    containerd("default", id, pid)
    assert.equal("default/" .. id, find(id).name)
    assert.equal(pid, find("containerd:default/" .. id).pid)
    containerd("k8s.io", "other", 1)
    docker(id, "web", pid)
    if #id ~= 64 then -- a name, which each engine may have
      assert.matches("containerd:default/", (refused(id, "ENOTUNIQ")))
      return
    end
    assert.equal("docker", find(id).engine)
    assert.equal("containerd", find("containerd:" .. id).engine)
    containerd("moby", id, pid, "/run/docker/containerd/daemon")
    assert.equal("docker", find(id).engine)
  end)

  it("docker: data where daemon.json puts it", function()
    write("/etc/docker/daemon.json", '{ "data-root": "/srv/docker" }')
    docker(A, "web", 0, "/srv/docker")
    assert.matches("docker:web %(a1b2a1b2a1b2%) is not running: exited", (refused("web", "ESRCH")))
    write("/srv/docker/containers/" .. B .. "/config.v2.json", '{"State":{"Running":true,"Restarting":true,"Pid":0},"Name":"/loop"}')
    assert.matches("docker:loop %(a1c3a1c3a1c3%) is not running: it ends, and is started again and again", (refused("loop", "ESRCH")))
    local rows = ns.container.list { root = dir }
    assert.same({ "loop", "restarting" }, { rows[1].name, rows[1].state })
    assert.is_nil(rows[2])
  end)

  it("says who else is called so", function()
    docker(A, "web", 0)
    podman { { id = B, name = "web" } }
    local text, e = refused("web", "ENOTUNIQ")
    assert.matches("docker:web %(a1b2a1b2a1b2, not running%), podman:web %(a1c3a1c3a1c3, not running%)", text)
    assert.equal(2, #e.candidates)
    assert.matches("podman:web", (refused("podman:web", "ESRCH")))
    refused("a1", "ENOTUNIQ")
    refused("a1b", "ESRCH")
    docker(("b1"):rep(32), "a1b2", 0) -- a name goes before the beginning of an id
    assert.matches("docker:a1b2 ", (refused("a1b2", "ESRCH")))
  end)

  it("says that there is none, and what could not be read", function()
    docker(A, "web", 0)
    local text = refused("wbe", "ENOENT")
    assert.matches("no such container.*; did you mean 'web'%?", text)
    assert.matches("no such podman container", (refused("podman:web", "ENOENT")))
    refused("", "ENOENT")
    refused("docker:", "ENOENT")
    write("/var/lib/docker/containers/" .. B .. "/config.v2.json", '{"Name":"/broken')
    assert.matches("config%.v2%.json: ", (refused("broken", "ENOENT")))
    if not root then
      helper.sh(("chmod 0 %s/var/lib/docker/containers"):format(dir))
      assert.matches("not readable: /var/lib/docker/containers: Permission denied", (refused("web", "ENOENT")))
      helper.sh(("chmod 755 %s/var/lib/docker/containers"):format(dir))
    end
    assert.has_error(function()
      ns.container.find "dcoker:web"
    end)
    assert.has_error(function()
      ns.container.find(12)
    end)
  end)

  it("does not take another process for the container's that had its pid", function()
    local p = helper.held(ns.spawn { "sleep", "600" })
    docker(A, "web", p.pid)
    local text = refused("web", "ESRCH")
    assert.matches(("not running: pid %d, which it had, is another process now"):format(p.pid), text)
    p:kill "KILL"
    p:wait()
    assert.matches("docker:web %(a1b2a1b2a1b2%) is not running", (refused("web", "ESRCH")))
  end)

  it("is what docker: and podman: mean where a namespace is named", function()
    for _, engine in ipairs { "docker", "podman", "containerd" } do
      local ok, e = pcall(ns.netns.open, engine .. ":no-such-box")
      assert.is_false(ok)
      assert.matches("no such " .. engine .. " container", tostring(e))
    end
  end)

  -- How many processors this process may use, how many the copy that reads cgroups, and how much that reads.
  local COPY = [[
    local core = require "nslua.core"
    local function processors(process)
      local n = 0
      local list = io.open("/proc/" .. process .. "/status"):read "a":match "\nCpus_allowed_list:%s*(%S+)"
      for from, to in list:gmatch "(%d+)-?(%d*)" do
        n = n + 1 + (tonumber(to) or tonumber(from)) - tonumber(from)
      end
      return n
    end
    local walk = core.cgroups.walk()
    local copy = io.open "/proc/thread-self/children":read "a":match "%d+"
    print(processors "self", processors(copy), #walk:all() > 0)
  ]]

  it("reads cgroups on another processor, where there is one", function()
    local file = dir .. "/copy.lua"
    write("/copy.lua", COPY)
    local all, copy, any = helper.sh(("%s %s"):format(helper.lua, file)):match "^(%d+)\t(%d+)\t(%a+)"
    assert.equal("true", any)
    assert.equal(math.max(1, tonumber(all) - 1), tonumber(copy))
    local one = helper.sh(([[taskset -c "$(taskset -pc $$ | sed 's/.*: //; s/[-,].*//')" env %s %s]]):format(helper.lua, file))
    assert.equal("1\t1\ttrue", one)
  end)

  it("needs Lua 5.4, and says so", function()
    if not helper.has "lua5.1" then
      pending "lua5.1 is not installed"
      return
    end
    local out = helper.sh [[lua5.1 -e '
      package.path = "./lua/?.lua;./lua/?/init.lua"
      package.loaded["nslua.core"] = { fd = {} }
      print(pcall(function() return require("nslua").container end))']]
    assert.matches("ns.container needs Lua 5.4, this is Lua 5.1", out)
  end)
end)
