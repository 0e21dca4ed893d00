-- Ports of the machine that lead into a container, as its engine wrote them down.

local state = require "nslua.container.state"

local M = {}

local function port_of(text)
  local n = math.tointeger(tonumber(text))
  return n and n > 0 and n <= 65535 and n or nil
end

local function address_of(value)
  local text = state.text(value)
  return text and text ~= "0.0.0.0" and text or nil -- "::" says that it is IPv6
end

-- docker: { "80/tcp": [ { HostIp, HostPort } ] }
local function docker(out, files, id)
  for _, place in ipairs(require("nslua.container.docker").places(files)) do
    local config = files:json(("%s/containers/%s/config.v2.json"):format(place[1], id)) or {}
    for key, bindings in pairs(state.table(state.table(config.NetworkSettings).Ports)) do
      local port, proto = tostring(key):match "^(%d+)/(%a+)$"
      for _, binding in ipairs(state.table(bindings)) do
        binding = state.table(binding)
        if port and port_of(binding.HostPort) then
          out[#out + 1] = { proto = proto, port = port_of(port), host_port = port_of(binding.HostPort), host_address = address_of(binding.HostIp) }
        end
      end
    end
  end
end

-- CNI, which podman, nerdctl and Kubernetes use: what its plugins were asked is kept until the container is gone.
local function cni(out, files, id)
  for _, folder in ipairs { "/var/lib/cni/results", "/var/lib/cni/cache/results" } do
    for _, name in ipairs(files:list(folder)) do
      local said = name:find(id, 1, true) and files:json(folder .. "/" .. name)
      for _, mapping in ipairs(said and state.table(state.table(said.capabilityArgs).portMappings) or {}) do
        mapping = state.table(mapping)
        local host = port_of(mapping.hostPort)
        if host then
          out[#out + 1] = { proto = state.text(mapping.protocol) or "tcp", port = port_of(mapping.containerPort) or host, host_port = host,
            host_address = address_of(mapping.hostIP) }
        end
      end
    end
  end
end

---@param files nslua.container.Files
---@param engine string
---@param id string
---@return { proto: string, port: integer, host_port: integer, host_address: string? }[]  by port of the host
function M.of(files, engine, id)
  local out = {}
  if engine == "docker" then
    docker(out, files, id)
  else
    cni(out, files, id)
  end
  table.sort(out, function(a, b)
    if a.host_port ~= b.host_port then
      return a.host_port < b.host_port
    end
    return (a.proto .. (a.host_address or "")) < (b.proto .. (b.host_address or ""))
  end)
  return out
end

return M
