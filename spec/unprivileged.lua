-- Runs pieces of Lua as somebody else: another uid, other files in place of /etc/subuid and the like, all in a private mount namespace.

local helper = require "spec.helper"

local M = {}

M.UID = 65534

---Whether another uid can be taken, and can read this checkout. nil and why, where not.
---@return boolean? ok
---@return string? why
function M.can()
  if not helper.is_root() then
    return nil, "not root: another uid cannot be taken"
  elseif not helper.has "setpriv" then
    return nil, "no setpriv"
  end
  local out, ok = helper.sh(("setpriv --reuid %d --regid %d --clear-groups cat lua/nslua/init.lua >/dev/null && "
    .. "setpriv --reuid %d --regid %d --clear-groups unshare -Ur true"):format(M.UID, M.UID, M.UID, M.UID))
  return ok or nil, not ok and ("uid %d cannot read the checkout or make a user namespace: %s"):format(M.UID, out) or nil
end

---Skip the running test where another uid cannot be taken.
---@param pending fun(why: string)  the test's own, which ends it
function M.needs_uid(pending)
  local ok, why = M.can()
  if not ok then
    pending(why)
  end
end

local function quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end
M.quote = quote

---Run a shell command as another uid, with the files given bound over those of the machine.
---@param command string
---@param options? { uid: integer?, files: table<string, string>?, before: string? }
---@return string output, boolean ok, integer status
function M.sh(command, options)
  options = options or {}
  local uid = options.uid or M.UID
  local script, names = { "set -e" }, {}
  for path, text in pairs(options.files or {}) do
    local name = os.tmpname()
    names[#names + 1] = name
    local f = assert(io.open(name, "w"))
    f:write(text)
    f:close()
    script[#script + 1] = ("chmod 644 %s; mount --bind %s %s"):format(name, name, path)
  end
  script[#script + 1] = options.before or ""
  script[#script + 1] = (uid == 0 and "exec sh -c %s" or ("exec setpriv --reuid %d --regid %d --clear-groups sh -c %%s"):format(uid, uid))
    :format(quote(command))
  local out, ok, status = helper.sh((#names > 0 and "unshare -m " or "") .. "sh -c " .. quote(table.concat(script, "\n")))
  for _, name in ipairs(names) do
    os.remove(name)
  end
  return out, ok, status
end

---Run Lua as another uid; `ns` is there.
---@param code string
---@param options? table  as for M.sh
function M.lua(code, options)
  return M.sh("exec env " .. helper.lua .. " -e " .. quote("local ns = require 'nslua'\n" .. code), options)
end

return M
