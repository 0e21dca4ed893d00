-- What the specs share: running host tools as oracles, what needs root, and what must not be left behind.

local M = {}

---Run a shell command with the host's tools (an oracle, never the code under test).
---@param command string
---@return string output  stdout and stderr, last newline cut
---@return boolean ok
---@return integer status
function M.sh(command)
  -- Lua 5.1 does not tell how a pipe's program ended
  local p = assert(io.popen("(" .. command .. "\n) 2>&1; echo \":$?\""))
  local out, status = p:read "*a":match "^(.*):(%d+)\n$"
  p:close()
  return (out:gsub("\n$", "")), status == "0", tonumber(status)
end

---@return boolean
function M.is_root()
  return M.sh "id -u" == "0"
end

---Whether a tool is on PATH.
---@param name string
---@return boolean
function M.has(name)
  local _, ok = M.sh("command -v " .. name)
  return ok
end

---Skip the running test where this is not root.
---@param pending fun(why: string)  the test's own, which ends it
function M.needs_root(pending)
  if not M.is_root() then
    pending "needs root"
  end
end

---Call what is to fail with that code; its message.
---@param code string
---@param fn function
---@return string
function M.fails(code, fn, ...)
  local ok, e = pcall(fn, ...)
  assert(not ok, "it worked")
  assert(require("nslua").error.is(e, code), tostring(e))
  return tostring(e)
end

---Run a shell script in a mount namespace of its own with an empty /run.
---@param script string
---@param size? string  options of the tmpfs: "nr_inodes=4"
---@return string output, boolean ok, integer status
function M.fresh_run(script, size)
  return M.sh(([[unshare -m --propagation private sh -c 'umount -lR /run/netns 2>/dev/null; mount -t tmpfs -o %s tmpfs /run && exec sh' <<'END'
%s
END
]]):format(size or "size=1m", script))
end

---Text to run the interpreter on the checkout's library: `M.lua .. " -e '...'"`.
M.lua = "LUA_PATH='./lua/?.lua;./lua/?/init.lua;./?.lua' LUA_CPATH='./build/?.so' lua5.4"

---Open fds of this process below 1024: { [number] = "target" }. No child is asked: popen itself has one more open for a moment.
---@return table<integer, string>
function M.fds()
  local core, out = require "nslua.core", {}
  for i = 0, 1023 do
    out[i] = core.file.readlink("/proc/self/fd/" .. i) or nil
  end
  return out
end

---Wait until a process has become that program: its arguments are there last.
---@param pid integer
---@param program string
function M.becomes(pid, program)
  for _ = 1, 1000 do
    local f = io.open(("/proc/%d/cmdline"):format(pid))
    local words = f and f:read "*a" or ""
    if f then
      f:close()
    end
    if words:sub(1, #program) == program then
      return
    end
    require("nslua").wait({}, 0.01)
  end
  error(("%d has not become %s"):format(pid, program))
end

---How many fds below 1024 are open.
---@return integer
function M.fd_count()
  collectgarbage()
  collectgarbage()
  local n = 0
  for _ in pairs(M.fds()) do
    n = n + 1
  end
  return n
end

---A network namespace without a name: as root, or in a user namespace where this is somebody else.
---@param options? table  as of ns.netns.new
---@return nslua.Netns
function M.netns(options)
  local ns = require "nslua"
  options = options or {}
  local userns = not M.is_root() and ns.userns.new { map_users = "root" } or nil
  options.userns = userns
  local netns = ns.netns.new(options)
  if userns then
    userns:close()
  end
  return netns
end

---Whether the specs run once more here: on another build or kernel, or as another user (tools/spec.lua --rounds few).
---@return boolean
function M.runs_again()
  return os.getenv "NSLUA_SPEC_ROUNDS" == "few"
end

---How often something is repeated that is repeated only to be sure: a tenth of `n` where the specs run once more.
---@param n integer
---@param least? integer  that are needed at least
---@return integer
function M.rounds(n, least)
  return M.runs_again() and math.max(least or 1, math.ceil(n / 10)) or n
end

local held = {}

---Keep an object until the test has ended (`after_each(helper.close_held)`): what <close> does, in every Lua.
---@generic T
---@param object T  with close()
---@return T
function M.held(object)
  held[#held + 1] = object
  return object
end

---The same for an interactive shell on a pty, which takes no notice of TERM: it is hung up on, as by a terminal that closes.
---@param shell nslua.Process
---@return nslua.Process
function M.held_shell(shell)
  M.held { close = function()
    if shell:running() then
      shell:kill "HUP"
    end
    shell:close()
  end }
  return shell
end

---Close what was held, the last first.
function M.close_held()
  while held[1] do
    table.remove(held):close()
  end
end

---What a spec must leave as it found it: mounts, named namespaces, links, namespaces in use.
---@return string
function M.state()
  return M.sh [[
    cut -d' ' -f5 /proc/self/mountinfo | sort
    ls /run/netns 2>/dev/null | sed 's/^/netns /'
    ip -o link | awk -F': ' '{print "link " $2}' | sort
  ]]
end

return M
