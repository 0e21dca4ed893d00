-- What the specs of `nslua nsenter` share: targets, and the same command by nsenter(1) and by ours.

local assert = require "luassert"
local helper = require "spec.helper"
local ns = require "nslua"

local M = {}

M.root = helper.is_root()
M.HOST = helper.sh "pwd" .. "/build/bin/nslua"
M.OURS = M.HOST .. " nsenter"

-- util-linux makes no namespace of a user without root but in a user namespace.
local MAPPED = M.root and "" or "-Ur "

local function read(path)
  local f = io.open(path)
  local text = f and f:read "a"
  if f then
    f:close()
  end
  return text or ""
end
M.read = read

---Wait for something, at most five seconds.
---@generic T
---@param fn fun(): T?
---@return T
function M.wait(fn)
  local deadline = ns.clock() + 5
  repeat
    local value = fn()
    if value then
      return value
    end
    helper.sh "sleep 0.01"
  until ns.clock() > deadline
  error("waited in vain", 2)
end

---A process that sleeps in namespaces that unshare(1) made, ended after the test.
---@param options string   of unshare; as somebody else than root the user namespace is added
---@param program? string  (default: sleep)
---@return integer pid     of the program
function M.target(options, program)
  local words = {}
  for word in ("unshare " .. MAPPED .. options):gmatch "%S+" do
    words[#words + 1] = word
  end
  local p = helper.held(ns.spawn { "sh", "-c", table.concat(words, " ") .. " " .. (program or "sleep 600") .. " & echo $!; wait", stdout = "pipe" })
  local pid = tonumber(p.stdout:read "l")
  local function sleeps(at)
    if read(("/proc/%d/comm"):format(at)) == "sleep\n" then
      return at
    end
    for child in read(("/proc/%d/task/%d/children"):format(at, at)):gmatch "%d+" do
      local found = sleeps(tonumber(child))
      if found then
        return found
      end
    end
  end
  return M.wait(function()
    return sleeps(pid)
  end)
end

---Words as one for a shell.
---@param text string
---@return string
function M.quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

---Where the program is and who it is: all that nsenter changes.
M.STATE = [[
  for t in cgroup ipc mnt net pid time user uts pid_for_children; do readlink /proc/self/ns/$t; done
  id -u; id -g; id -G; pwd -P; readlink /proc/self/root; ls /proc/self/fd | tr '\n' ' '; readlink /proc/self/fd/0; cut -d' ' -f5- /proc/self/mountinfo
  cat /proc/self/cgroup /proc/self/attr/current 2>&1; grep -E 'Sig(Blk|Ign|Cgt)|Cap' /proc/self/status; env | sort; hostname]]

---The output and the exit status of a command line, once with nsenter(1) and once with ours; they must be the same. "nsenter" in it stands
---for either.
---@param command string
---@return string output
---@return integer status
function M.same(command)
  local want, _, want_status = helper.sh((command:gsub("%f[%w]nsenter%f[%W]", "/usr/bin/nsenter")))
  local got, _, got_status = helper.sh((command:gsub("%f[%w]nsenter%f[%W]", (M.OURS:gsub("%%", "%%%%")))))
  assert.equal(want, got, command)
  assert.equal(want_status, got_status, command)
  return got, got_status
end

---The whole state inside must be the same.
---@param options string
---@param before? string  what stands before nsenter
---@return string state
function M.same_state(options, before)
  return (M.same(("%s nsenter %s sh -c %s </dev/null"):format(before or "", options, M.quote(M.STATE))))
end

---Ours alone.
---@param options string
---@param program? string
---@return string output
---@return boolean ok
---@return integer status
function M.ours(options, program)
  return helper.sh(("%s %s %s </dev/null"):format(M.OURS, options, program or "true"))
end

---The namespaces of a process: { net = "net:[4026531840]" }.
---@param pid integer|string
---@return table<string, string>
function M.namespaces(pid)
  local out = {}
  for line in helper.sh(("cd /proc/%s/ns && for t in *; do echo $t $(readlink $t); done"):format(pid)):gmatch "[^\n]+" do
    local t, text = line:match "^(%S+) (%S+)$"
    out[t or ""] = text
  end
  return out
end

return M
