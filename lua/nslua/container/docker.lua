-- Containers of docker: one config.v2.json each, which the daemon keeps up to date.

local runc = require "nslua.container.runc"
local state = require "nslua.container.state"

local M = {}

---Folders the daemon may keep its data in, root's and users'.
---@param files nslua.container.Files
---@return { [1]: string, [2]: integer? }[]  path, and uid of the user
function M.places(files)
  local out = { { "/var/lib/docker", run = "/run" } }
  local daemon = files:json "/etc/docker/daemon.json"
  if daemon and type(daemon["data-root"]) == "string" then
    out[#out + 1] = { daemon["data-root"], run = "/run" }
  end
  for _, user in ipairs(state.users(files)) do
    out[#out + 1] = user.data and { user.data .. "/docker", user.uid, run = user.run } or nil
  end
  return out
end

local KEYS = { State = true, Config = true, Name = true, Created = true }

local function state_of(run)
  return run.Dead and "dead" or run.Restarting and "restarting" or run.Paused and "paused" or run.Running and "running"
    or state.text(run.StartedAt) and not run.StartedAt:find "^0001" and "exited" or "created"
end

---What a config.v2.json, or an answer of the daemon, says.
---@param id string
---@param config table
---@return nslua.container.Entry
function M.entry(id, config)
  local run, about = state.table(config.State), state.table(config.Config)
  local name = (state.text(config.Name) or ""):match "^/?(.+)"
  return { engine = "docker", container = id, names = { name }, pid = state.pid(run.Pid), state = state_of(run),
    image = state.text(about.Image), created = state.text(config.Created), labels = state.table(about.Labels) }
end

---@param files nslua.container.Files
---@param word? string  what an id begins with, or a name is; nil: all
---@return nslua.container.Entry[]
function M.list(files, word)
  local out = {}
  for _, place in ipairs(M.places(files)) do
    for _, id in ipairs(files:list(place[1] .. "/containers")) do
      local by_id = word and id:sub(1, #word) == word
      local config = files:json(("%s/containers/%s/config.v2.json"):format(place[1], id), not by_id and word or nil, KEYS)
      if config then
        local entry = M.entry(id, config)
        entry.uid = place[2]
        entry.started = place.run and runc.started(files, { place.run .. "/docker/runtime-runc/moby" }, id) or nil
        entry.mode = function()
          return state.text((files:json(("%s/containers/%s/hostconfig.json"):format(place[1], id)) or {}).NetworkMode)
        end
        out[#out + 1] = entry
      end
    end
  end
  return out
end

return M
