-- Containers of podman: their names in the containers.json of its storage, the pid of each in a file that conmon writes.

local state = require "nslua.container.state"

local M = {}

-- Where storage and run time state are, for root and for the user.
local function places()
  local out = { { graph = "/var/lib/containers/storage", run = "/run/containers/storage" } }
  local user = state.user()
  if user.data and user.run then
    out[2] = { graph = user.data .. "/containers/storage", run = user.run .. "/containers" }
  end
  return out
end

-- The lists of containers: of those that are to stay, and of those that end with the machine or with themselves (--rm), which may stand
-- with the run time state. containers-storage.conf(5)
local function lists(place, folder)
  return { place.graph .. "/" .. folder .. "/containers.json", place.graph .. "/" .. folder .. "/volatile-containers.json",
    place.run .. "/" .. folder .. "/volatile-containers.json" }
end

---@param files nslua.container.Files
---@return nslua.container.Entry[]
function M.list(files)
  local out = {}
  for _, place in ipairs(places()) do
    for _, folder in ipairs(files:list(place.graph)) do
      for _, path in ipairs(folder:find "%-containers$" and lists(place, folder) or {}) do -- of each storage driver: "overlay-containers"
        for _, entry in ipairs(files:json(path) or {}) do
          local id = type(entry) == "table" and type(entry.id) == "string" and entry.id:match "^%x+$"
          if id then
            out[#out + 1] = { engine = "podman", container = id, names = type(entry.names) == "table" and entry.names or {},
              pid = files:number(("%s/%s/%s/userdata/pidfile"):format(place.run, folder, id)) }
          end
        end
      end
    end
  end
  return out
end

return M
