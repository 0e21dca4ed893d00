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

-- One for containers that are to stay, one for those that end with the machine or with themselves (--rm).
local lists = { "containers.json", "volatile-containers.json" }

---@param files nslua.container.Files
---@return nslua.container.Entry[]
function M.list(files)
  local out = {}
  for _, place in ipairs(places()) do
    for _, folder in ipairs(files:list(place.graph)) do
      for _, name in ipairs(folder:find "%-containers$" and lists or {}) do -- of each storage driver: "overlay-containers"
        for _, entry in ipairs(files:json(("%s/%s/%s"):format(place.graph, folder, name)) or {}) do
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
