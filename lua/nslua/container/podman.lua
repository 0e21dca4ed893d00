-- Containers of podman and of CRI-O, which share a storage: their names in its containers.json, the pid of each in a file that conmon writes.

local runc = require "nslua.container.runc"
local state = require "nslua.container.state"

local M = {}

-- Where storage and run time state are, for root and for users.
local function places(files)
  local out = { { graph = "/var/lib/containers/storage", run = "/run/containers/storage", runtime = "/run" } }
  for _, user in ipairs(state.users(files)) do
    if user.data and user.run then
      out[#out + 1] = { graph = user.data .. "/containers/storage", run = user.run .. "/containers", runtime = user.run,
        uid = user.uid }
    end
  end
  return out
end

-- The lists of containers: of those that are to stay, and of those that end with the machine or with themselves (--rm), which may stand
-- with the run time state. containers-storage.conf(5)
local function lists(place, folder)
  return { place.graph .. "/" .. folder .. "/containers.json", place.graph .. "/" .. folder .. "/volatile-containers.json",
    place.run .. "/" .. folder .. "/volatile-containers.json" }
end

-- The pod of a container that CRI-O made, from what it wrote into the container's own description.
local function crio(files, entry, data)
  local config = files:json(data .. "/config.json", "io.kubernetes.cri-o") or files:json(data:gsub("^/run/", "/var/lib/") .. "/config.json",
    "io.kubernetes.cri-o")
  local notes = config and state.table(config.annotations)
  if not notes or not notes["io.kubernetes.cri-o.ContainerType"] then
    return
  end
  local function note(name)
    return state.text(notes["io.kubernetes.cri-o." .. name])
  end
  local sandbox = note "ContainerType" == "sandbox"
  local labels = files:decode(note "Labels" or "{}", data .. "/config.json: Labels") or {}
  entry.engine = "crio"
  entry.pod = { namespace = note "Namespace" or state.text(labels["io.kubernetes.pod.namespace"]),
    name = state.text(labels["io.kubernetes.pod.name"]) or note "KubeName", uid = state.text(labels["io.kubernetes.pod.uid"]), sandbox = sandbox,
    container = not sandbox and (state.text(labels["io.kubernetes.container.name"]) or note "ContainerName") or nil }
  entry.image = note "ImageName" or entry.image
end

local function entry_of(files, place, folder, said)
  local data = ("%s/%s/%s/userdata"):format(place.run, folder, said.id)
  local about = state.text(said.metadata) and said.metadata:find "^%s*{" and files:decode(said.metadata, "metadata of " .. said.id) or {}
  local pid = files:pid(data .. "/pidfile")
  local names = {}
  for _, name in ipairs(state.table(said.names)) do
    names[#names + 1] = state.text(name)
  end
  local entry = { engine = "podman", container = said.id, names = names, pid = pid, state = pid and "running" or "exited", uid = place.uid,
    image = state.text(about["image-name"]), created = state.text(said.created), labels = {} }
  entry.started = runc.started(files, { place.runtime .. "/crun", place.runtime .. "/runc" }, said.id)
  if about["pod-name"] or about["pod-id"] then -- of CRI-O; podman's own say no such thing
    crio(files, entry, data)
  end
  return entry
end

---@param files nslua.container.Files
---@return nslua.container.Entry[]
function M.list(files)
  local out = {}
  for _, place in ipairs(places(files)) do
    for _, folder in ipairs(files:list(place.graph)) do
      for _, path in ipairs(folder:find "%-containers$" and lists(place, folder) or {}) do -- of each storage driver: "overlay-containers"
        for _, said in ipairs(files:json(path) or {}) do
          if type(said) == "table" and type(said.id) == "string" and said.id:find "^%x+$" then
            out[#out + 1] = entry_of(files, place, folder, said)
          end
        end
      end
    end
  end
  return out
end

return M
