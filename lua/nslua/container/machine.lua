-- Machines of systemd-machined: containers of systemd-nspawn, a file of KEY=VALUE lines each.

local state = require "nslua.container.state"

local M = {}

---@param files nslua.container.Files
---@return nslua.container.Entry[]
function M.list(files)
  local out = {}
  for _, name in ipairs(files:list "/run/systemd/machines") do
    local text = not name:find "^%.?#" and not name:find "^unit:" and files:read("/run/systemd/machines/" .. name)
    local said = {}
    for key, value in (text or ""):gmatch "([%u_]+)=([^\n]*)" do
      said[key] = value
    end
    local pid = state.pid(tonumber(said.LEADER))
    if pid and said.CLASS ~= "vm" then
      out[#out + 1] = { engine = "machine", container = name, names = { name }, pid = pid, state = "running", labels = {},
        cgroups = { said.SCOPE, said.UNIT, "machine-" .. name .. ".scope", "systemd-nspawn@" .. name .. ".service" } }
    end
  end
  return out
end

return M
