-- The interfaces that a capture is of.

local check = require "nslua.check"
local core = require "nslua.core"
local errors = require "nslua.error"

local M = {}

local function wanted_of(dev)
  if not dev then
    return nil
  end
  local out, list = {}, type(dev) == "table" and dev or { dev }
  for _, name in ipairs(list) do
    check.argument("capture", "dev", name, "string")
    out[name] = false -- not found yet
  end
  return out
end

---The interfaces that are there.
---@param targets nslua.capture.Target[]
---@param shared boolean  each target wants the same devices, and one that has them is enough
---@return table[]
function M.of(targets, shared)
  local out, anywhere, missing = {}, {}, {}
  for _, target in ipairs(targets) do
    local wanted, known = wanted_of(target.dev), {}
    for row in target.handle.link:each() do
      local name = row.name
      known[name] = true
      if not wanted and not (target.without_lo and name == "lo") or wanted and wanted[name] ~= nil then
        if wanted then
          wanted[name], anywhere[name] = true, true
        end
        out[#out + 1] = { handle = target.handle, label = target.label, name = name, full = target.label .. ":" .. name, index = row.index,
          kind = row.link_type, address = row.address, description = row.kind and row.kind .. (row.alias and ": " .. row.alias or "") or nil }
      end
    end
    for name, found in pairs(wanted or {}) do
      missing[#missing + 1] = not found and { target = target, name = name, known = known } or nil
    end
  end
  for _, each in ipairs(missing) do
    if not (shared and anywhere[each.name]) then
      errors.raise { call = "capture", errno = core.errno.ENODEV, netns = each.target.handle:describe(),
        detail = check.unknown("dev", each.name, each.known) }
    end
  end
  return out
end

return M
