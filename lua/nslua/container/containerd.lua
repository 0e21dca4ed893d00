-- Containers of containerd, whoever asked it for them (ctr, nerdctl, Kubernetes): a folder each, by namespace (of containerd's own kind) and id.

local runc = require "nslua.container.runc"
local state = require "nslua.container.state"

local M = {}

-- Its own state, and that of the one docker starts where there is no other.
local places = { "/run/containerd/io.containerd.runtime.v2.task", "/run/docker/containerd/daemon/io.containerd.runtime.v2.task" }

-- What Kubernetes and nerdctl say of a container, in its description.
local function describe(files, entry, path, namespace)
  local config = files:json(path .. "/config.json", namespace == "k8s.io" and "io.kubernetes.cri" or "nerdctl")
  local notes = state.table((config or {}).annotations)
  local function note(name)
    return state.text(notes["io.kubernetes.cri." .. name])
  end
  if note "sandbox-name" then
    local sandbox = note "container-type" == "sandbox"
    entry.pod = { namespace = note "sandbox-namespace", name = note "sandbox-name", uid = note "sandbox-uid", sandbox = sandbox,
      container = not sandbox and note "container-name" or nil }
    entry.image = note "image-name"
  elseif state.text(notes["nerdctl/name"]) then
    table.insert(entry.names, 1, notes["nerdctl/name"])
  end
end

---@param files nslua.container.Files
---@param _ any
---@param known? table<string, boolean>  ids that docker has said all of
---@return nslua.container.Entry[]
function M.list(files, _, known)
  local out = {}
  for _, place in ipairs(places) do
    for _, namespace in ipairs(files:list(place)) do
      for _, id in ipairs(files:list(place .. "/" .. namespace)) do
        local path = ("%s/%s/%s"):format(place, namespace, id)
        local told = known and known[id] and namespace == "moby"
        local pid = not told and files:pid(path .. "/init.pid") or nil
        local entry = not told and { engine = "containerd", container = id, names = { namespace .. "/" .. id }, pid = pid, state = pid and "running"
          or "created", namespace = namespace, labels = {} } or nil
        if entry then
          entry.started = runc.started(files, { "/run/containerd/runc/" .. namespace }, id)
        end
        if entry and namespace ~= "moby" then -- docker says more of its own
          describe(files, entry, path, namespace)
        end
        out[#out + 1] = entry
      end
    end
  end
  return out
end

return M
