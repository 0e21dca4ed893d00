-- Containers of containerd, whoever asked it for them: a folder each, by namespace (of containerd's own kind) and id.

local M = {}

-- Its own state, and that of the one docker starts where there is no other.
local places = { "/run/containerd/io.containerd.runtime.v2.task", "/run/docker/containerd/daemon/io.containerd.runtime.v2.task" }

---@param files nslua.container.Files
---@return nslua.container.Entry[]
function M.list(files)
  local out = {}
  for _, place in ipairs(places) do
    for _, namespace in ipairs(files:list(place)) do
      for _, id in ipairs(files:list(place .. "/" .. namespace)) do
        out[#out + 1] = { engine = "containerd", container = id, names = { namespace .. "/" .. id },
          pid = files:number(("%s/%s/%s/init.pid"):format(place, namespace, id)) }
      end
    end
  end
  return out
end

return M
