-- The plan of an interactive shell whose prompt says where it is.

local core = require "nslua.core"
local errors = require "nslua.error"

local M = {}

---"(blue) ", "(docker:web) ": before the prompt that the shell itself shows; a name can do nothing there.
---@param handle nslua.Namespace
---@return string
function M.prompt(handle)
  local where = handle:describe()
  if rawget(handle, "container") then -- "docker web"
    where = where:gsub(" ", ":", 1)
  end
  return ("(%s) "):format((where:gsub("[^%w_.:@%[%]/-]", "?")))
end

---bash reads its start files itself, and then ours, from a pipe; others take PS1 as it is.
---@param plan nslua.Plan
---@param handle nslua.Namespace
---@return nslua.Plan
---@return nslua.fd? rc  to be closed when the shell runs
function M.plan(plan, handle)
  local prompt = M.prompt(handle)
  local copy = { stdin = "inherit", stdout = "inherit", stderr = "inherit" }
  for k, v in pairs(plan) do
    copy[k] = v
  end
  local env = {}
  for k, v in pairs(plan.env or {}) do
    env[k] = v
  end
  copy.env = env
  local reader
  if copy[1] == nil then
    local shell = not (type(plan.join) == "table" and plan.join.mount) and os.getenv "SHELL" or ""
    shell = shell ~= "" and shell or "/bin/sh"
    copy[1] = shell
    if shell:match "[^/]*$" == "bash" then
      local writer, errno
      reader, writer, errno = core.fd.pipe()
      errors.check("shell", nil, reader, writer, errno)
      writer:write(('for f in /etc/bash.bashrc ~/.bashrc; do [ -r "$f" ] && . "$f"; done; unset f; PS1=\'%s\'"$PS1"; exec %d<&-\n')
        :format(prompt, reader:number()))
      writer:close()
      copy[2], copy[3], copy[4] = "--rcfile", ("/dev/fd/%d"):format(reader:number()), "-i"
      copy.fds = { reader }
    else
      env.PS1 = env.PS1 or prompt .. "$ "
    end
  end
  return copy, reader
end

return M
