-- State files of container engines, laid out in a folder as their engines do it, and processes in cgroups as they make them.

local helper = require "spec.helper"
local ns = require "nslua"

local root = helper.is_root()

local M = {}

M.A = ("a1b2"):rep(16)
M.B = ("a1c3"):rep(16)

---@param dir string  what stands before every path
function M.below(dir)
  local self = {}

  function self.write(path, text)
    helper.sh(("mkdir -p %s%s"):format(dir, path:match "^(.*)/"))
    local f = assert(io.open(dir .. path, "w"))
    f:write(text)
    f:close()
  end
  local write = self.write

  function self.docker(id, name, pid, place, more)
    write(("%s/containers/%s/config.v2.json"):format(place or "/var/lib/docker", id),
      ('{"StreamConfig":{},"State":{"Running":%s,"Paused":%s,"Pid":%d,"ExitCode":0,"StartedAt":"2026-01-02T03:04:06Z"},"ID":"%s",'
      .. '"Created":"2026-01-02T03:04:05Z","Args":[],"Config":{"Hostname":"web","Image":"busybox","Labels":{"a":"b"}},'
      .. '"Name":"/%s","Driver":"overlay2"}')
        :format(tostring(pid ~= 0), tostring(more == "paused"), pid, id, name))
  end

  function self.podman(list, volatile, driver)
    local storage = ("/var/lib/containers/storage/%s-containers/"):format(driver or "overlay")
    local entries = {}
    for _, c in ipairs(list) do
      entries[#entries + 1] = ('{"id":"%s","names":["%s"],"image":"","layer":"%s","metadata":"%s","created":"2026-01-02T03:04:05Z"}')
        :format(c.id, c.name, M.A, ((c.metadata or "{}"):gsub('"', '\\"')))
      if c.pid then
        write(("/run/containers/storage/%s-containers/%s/userdata/pidfile"):format(driver or "overlay", c.id), tostring(c.pid))
      end
    end
    write(storage .. (volatile and "volatile-containers.json" or "containers.json"), "[" .. table.concat(entries, ",") .. "]")
  end

  function self.containerd(namespace, id, pid, base, config)
    local path = ("%s/io.containerd.runtime.v2.task/%s/%s"):format(base or "/run/containerd", namespace, id)
    write(path .. "/init.pid", tostring(pid))
    if config then
      write(path .. "/config.json", config)
    end
  end

  return self
end

---A process in a cgroup that is named by the id, as the engines make them. Without root: the cgroup that this one is in, if it has a name.
---@param id string
---@param parent? string  above it: "kubepods/pod1"
---@param plan? table     more of its plan
---@return integer pid
---@return string? id  nil: this cannot be had here
---@return nslua.Process
function M.process(id, parent, plan)
  local all = { "sleep", "600" }
  for k, v in pairs(plan or {}) do
    all[k] = v
  end
  local p = helper.held(ns.spawn(all))
  if not root then
    local text = helper.sh "cat /proc/self/cgroup"
    return p.pid, text:match "/([%w_.-]+)\n" or text:match "/([%w_.-]+)$", p
  end
  local place = helper.sh "find /sys/fs/cgroup -maxdepth 2 -name cgroup.procs -printf '%h\n'":match "[^\n]*pids" or "/sys/fs/cgroup"
  local made = ("%s/nslua-%d/%s%s"):format(place, p.pid, parent and parent .. "/" or "", id)
  local out = helper.sh(("mkdir -p %s && echo %d > %s/cgroup.procs"):format(made, p.pid, made))
  helper.held { close = function()
    p:close()
    helper.sh(("rmdir -p %s 2>/dev/null"):format(made))
  end }
  assert(out == "", out)
  return p.pid, id, p
end

return M
