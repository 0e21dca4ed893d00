-- Containers of runc and crun that no engine above them speaks of: a folder each in /run, for root and for users.

local state = require "nslua.container.state"

local M = {}

local function runc(files, path, id)
  local said = files:json(path .. "/state.json")
  return said and { engine = "runc", container = id, names = { id }, pid = state.pid(said.init_process_pid),
    start = math.tointeger(said.init_process_start), created = state.text(said.created), labels = {} }
end

local function crun(files, path, id)
  local said = files:json(path .. "/status")
  return said and { engine = "crun", container = id, names = { id }, pid = state.pid(said.pid), start = math.tointeger(said["process-start-time"]),
    created = state.text(said.created), labels = {} }
end

local engines = { { "runc", runc }, { "crun", crun } } -- in this order: of two that have one id it is runc's

---Which process an engine's runtime says it started, where the engine gave it no cgroup of its own: without root it often may not.
---@param files nslua.container.Files
---@param folders string[]  of the runtime's, one for each container
---@param id string
---@return fun(): integer?, integer?  pid, and when that was started
function M.started(files, folders, id)
  return function()
    for _, folder in ipairs(folders) do
      local path = folder .. "/" .. id
      local entry = files:exists(path .. "/state.json") and runc(files, path, id) or files:exists(path .. "/status") and crun(files, path, id)
      if entry then
        return entry.pid, entry.start
      end
    end
  end
end

---@param files nslua.container.Files
---@return nslua.container.Entry[]
function M.list(files)
  local out = {}
  local runs = { { "/run" } }
  for _, user in ipairs(state.users(files)) do
    runs[#runs + 1] = user.run and { user.run, user.uid } or nil
  end
  for _, run in ipairs(runs) do
    for _, engine in ipairs(engines) do
      for _, id in ipairs(files:list(run[1] .. "/" .. engine[1])) do
        local entry = engine[2](files, ("%s/%s/%s"):format(run[1], engine[1], id), id)
        if entry then
          entry.uid, entry.state = run[2], entry.pid and "running" or "stopped"
          out[#out + 1] = entry
        end
      end
    end
  end
  return out
end

return M
