-- Containers of docker: one config.v2.json each, which the daemon keeps up to date.

local state = require "nslua.container.state"

local M = {}

-- Folders the daemon may keep its data in.
local function places(files)
  local out = { "/var/lib/docker" }
  local daemon = files:json "/etc/docker/daemon.json"
  if daemon and type(daemon["data-root"]) == "string" then
    out[#out + 1] = daemon["data-root"]
  end
  local data = state.user().data
  out[#out + 1] = data and data .. "/docker"
  return out
end

---@param files nslua.container.Files
---@param word string  what an id begins with, or a name is
---@return nslua.container.Entry[]
function M.list(files, word)
  local out = {}
  for _, place in ipairs(places(files)) do
    for _, id in ipairs(files:list(place .. "/containers")) do
      local by_id = id:sub(1, #word) == word
      local config = files:json(("%s/containers/%s/config.v2.json"):format(place, id), not by_id and word or nil)
      if config then
        local run = type(config.State) == "table" and config.State or {}
        local pid = math.tointeger(run.Pid)
        out[#out + 1] = { engine = "docker", container = id, names = { (tostring(config.Name):gsub("^/", "")) }, pid = pid ~= 0 and pid or nil }
      end
    end
  end
  return out
end

return M
