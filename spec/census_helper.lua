-- What the specs of the census share: scripts that hide namespaces.

local helper = require "spec.helper"

local M = {}

M.python = "/usr/bin/python3"
M.can_hide = helper.has(M.python) and select(2, helper.sh(helper.is_root() and "unshare -m true" or "unshare -Urm true"))

-- What each test's script begins with. say("word", path): which namespace is held there. A thread that ends leaves no more than it opened.
local PRELUDE = [[
import ctypes, os, signal, socket, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
FILES, NEWTIME, NEWNS, NEWUTS, NEWUSER, NEWNET = 0x400, 0x80, 0x20000, 0x4000000, 0x10000000, 0x40000000
def must(result):
    if result < 0: raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
def unshare(flags): must(libc.unshare(flags))
def mount(source, target, kind, flags): must(libc.mount(source.encode(), target.encode(), kind.encode(), flags, None))
BIND, PRIVATE = 0x1000, 0x44000
NET = "/proc/thread-self/ns/net"
def say(word, path, pid=0): print(word, os.stat(path).st_ino, pid or os.getpid(), flush=True)
def in_thread(work):
    def run():
        try: work()
        except OSError as e: print("failed", 0, e.errno, e, flush=True)
    t = threading.Thread(target=run, daemon=True); t.start(); return t
def to_its_end(work):
    t = in_thread(work); t.join()
    while os.path.exists("/proc/self/task/%d" % t.native_id): time.sleep(0.001) # join returns a moment before
children = []
def end(*_): # none is left for another to reap
    for pid in children: os.kill(pid, signal.SIGKILL)
    for pid in children: os.waitpid(pid, 0)
    os._exit(0)
signal.signal(signal.SIGTERM, end)
def child(work):
    pid = os.fork()
    if pid: children.append(pid)
    else:
        signal.signal(signal.SIGTERM, signal.SIG_DFL); libc.prctl(1, signal.SIGKILL)
        try: work()
        except OSError as e: print("failed", 0, e.errno, e, flush=True)
        time.sleep(60); os._exit(0)
    return pid
held = []
]]

---Run a script that hides namespaces, as root or in a user namespace where this is root; it ends with the test.
---@param script string
---@param finally fun(fn: function)  the test's own
---@return table<string, { inode: integer, pid: integer }> said  by word, until "ready"
function M.hide(script, finally)
  local name = os.tmpname()
  local f = assert(io.open(name, "w"))
  f:write(PRELUDE, script, "\nprint('ready', 0, os.getpid(), flush=True)\ntime.sleep(60)\n")
  f:close()
  local p = io.popen(("exec %s %s %s 2>&1"):format(helper.is_root() and "" or "unshare -Ur", M.python, name))
  local out, said, pid = {}, {}, nil
  for line in p:lines() do
    local word, inode, of = line:match "^(%S+) (%d+) (%d+)"
    if word == "ready" then
      pid = of
      break
    end
    said[#said + 1] = line
    out[word or line] = { inode = tonumber(inode), pid = tonumber(of) }
  end
  finally(function()
    if pid then
      helper.sh("kill " .. pid)
    end
    p:close()
    os.remove(name)
  end)
  assert(pid, table.concat(said, "\n"))
  assert(not out.failed, table.concat(said, "\n"))
  return out
end

---@return table<integer, nslua.NamespaceRow>
function M.rows_of(list)
  local out = {}
  for _, row in ipairs(list) do
    out[row.inode] = row
  end
  return out
end

return M
