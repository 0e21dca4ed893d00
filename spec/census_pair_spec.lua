-- The walk of /proc by two processes: what they find is what one finds, also where the second is not made, or does not come to its end.

local helper = require "spec.helper"

local root = helper.is_root()
local PYTHON = "/usr/bin/python3"
local why = not helper.has(PYTHON) and "no python3" or not helper.has "cc" and "no cc" or tonumber((helper.sh "nproc")) < 2 and "one CPU only"
  or not select(2, helper.sh(("unshare %s -m -p -f --mount-proc true"):format(root and "" or "-Ur"))) and "no new namespaces for this user"

-- Some 300 processes. Namespaces that many of them hold, each in one way; mounts that many see; some of their own.
local CROWD = [[
import ctypes, os, socket, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
NEWTIME, NEWNS, NEWUTS, NEWIPC, NEWNET = 0x80, 0x20000, 0x4000000, 0x8000000, 0x40000000
def must(rc):
    if rc < 0: raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
def unshare(flags): must(libc.unshare(flags))
def mount(source, target, kind, flags): must(libc.mount(source.encode(), target.encode(), kind.encode(), flags, None))
NET = "/proc/thread-self/ns/net"
held = []
def in_thread(work):
    t = threading.Thread(target=work); t.start(); t.join()
    while os.path.exists("/proc/self/task/%d" % t.native_id): time.sleep(0.001)
ready_r, ready_w = os.pipe()
def crowd(n, work=lambda i: None):
    for i in range(n):
        if os.fork() == 0:
            work(i); os.write(ready_w, b"x"); time.sleep(600); os._exit(0)
def group(n, work):
    if os.fork() == 0:
        work(); crowd(n); os.write(ready_w, b"x"); time.sleep(600); os._exit(0)
def fd(): unshare(NEWNET); held.append(os.open(NET, os.O_RDONLY))
def sock(): unshare(NEWNET); held.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
def mounts():
    unshare(NEWNS); mount("none", "/", "none", 0x44000); mount("tmpfs", "/mnt", "tmpfs", 0)
    for name in "net a", "net b":
        open("/mnt/" + name, "w").close()
        def bind(): unshare(NEWNET); mount(NET, "/mnt/" + name, "none", 0x1000)
        in_thread(bind)
def own(i):
    if i % 3 == 0: unshare(NEWUTS)
    elif i % 3 == 1: unshare(NEWTIME)
    else: unshare(NEWNS); mount("none", "/", "none", 0x44000); mount("/proc/self/ns/uts", "/proc/version", "none", 0x1000)
group(50, lambda: in_thread(fd))
group(50, lambda: in_thread(sock))
group(50, mounts)
group(50, lambda: unshare(NEWIPC | NEWUTS))
crowd(60, own)
got = 0
while got < 264: got += len(os.read(ready_r, 4096))
print("ready", flush=True)
time.sleep(600)
]]

-- All that a census says, but for the commands; and how many processes did it.
local DUMP = [[
local core = require "nslua.core"
local flags = 0
for _, flag in pairs(core.namespace.flags) do flags = flags + flag end
local function text(v)
  if type(v) ~= "table" then return tostring(v) end
  local keys, out = {}, {}
  for k in pairs(v) do keys[#keys + 1] = k end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  for i, k in ipairs(keys) do out[i] = tostring(k) .. "=" .. text(v[k]) end
  return "{" .. table.concat(out, " ") .. "}"
end
local rows, unreadable, walkers = core.census.scan(flags, true, true)
for _, row in ipairs(rows) do
  -- Names in /run/netns come and go, in copies of the mount namespace too.
  local named = text { row.paths, row.mounts }:find "/run/netns/"
  if not (named and row.how_found == "mount") then
    row.paths, row.mounts = not named and row.paths or nil, not named and row.mounts or nil
    row.found = not named and row.found or nil
    print(text(row))
  end
end
print("unreadable", unreadable)
print("walkers", walkers)
print("children", #(io.open("/proc/thread-self/children"):read "*a"))
]]

-- Lines that are in one only.
local function differences(one, other)
  local count, out = {}, {}
  for line in one:gmatch "[^\n]+" do
    count[line] = (count[line] or 0) + 1
  end
  for line in other:gmatch "[^\n]+" do
    count[line] = (count[line] or 0) - 1
  end
  for line, n in pairs(count) do
    if n ~= 0 then
      out[#out + 1] = (n > 0 and "- " or "+ ") .. line
    end
  end
  table.sort(out)
  return out
end

describe("a census by two processes", function()
  local dir, outputs

  local function file(name, content)
    local f = assert(io.open(dir .. "/" .. name, "w"))
    f:write(content)
    f:close()
  end

  setup(function()
    if why then
      return
    end
    dir = helper.sh "mktemp -d"
    file("crowd.py", CROWD)
    file("dump.lua", DUMP)
    local message, ok = helper.sh(("cc -shared -fPIC -o %s/faults.so spec/census_faults.c -ldl"):format(dir))
    assert(ok, message)
    -- One after the other, with the same processes around them.
    local out
    out, ok = helper.sh(([[unshare %s -m -p -f --mount-proc sh <<'END'
%s %s/crowd.py >%s/out 2>&1 &
until grep -qs ready %s/out; do kill -0 $! || { cat %s/out; exit 1; }; sleep 0.05; done
one() { "$@" env %s %s/dump.lua; echo ==; }
one taskset -c "$(taskset -pc $$ | sed 's/.*: //; s/[-,].*//')"
one env
for fault in second first die half nocopy; do one env NSLUA_FAULT=$fault LD_PRELOAD=%s/faults.so; done
END]]):format(root and "" or "-Ur", PYTHON, dir, dir, dir, dir, helper.lua, dir, dir))
    assert(ok, out)
    outputs = {}
    for text in out:gmatch "(.-)==\n?" do
      local rows, walkers, children = text:match "^(.*)walkers\t(%d)\nchildren\t(%d+)\n$"
      assert(rows, text)
      outputs[#outputs + 1] = { rows = rows, walkers = tonumber(walkers), children = tonumber(children) }
    end
  end)

  teardown(function()
    if dir then
      helper.sh("rm -r " .. dir)
    end
  end)

  local function is_as_by_one(n, walkers)
    if why then
      pending(why)
      return
    end
    assert.equal(7, #outputs)
    assert.equal(walkers, outputs[n].walkers)
    assert.equal(0, outputs[n].children) -- nobody is left to be waited for
    assert.same({}, differences(outputs[1].rows, outputs[n].rows))
  end

  it("is one by one process where there is one CPU", function()
    is_as_by_one(1, 1)
    if why then
      return
    end
    local rows = outputs[1].rows
    local count = select(2, rows:gsub("\n", ""))
    assert.is_true(count > 50, rows)
    for _, how in ipairs { "process", "children", "fd", "socket", "mount" } do
      assert.is_truthy(rows:find("how_found=" .. how, 1, true), how)
    end
    assert.matches("how_found=mount .-path=/mnt/net a pid=", rows)
    assert.matches("unreadable\t0\n", rows)
  end)

  it("finds the same", function()
    is_as_by_one(2, 2)
  end)

  it("finds the same, whoever of the two comes first", function()
    is_as_by_one(3, 2)
    is_as_by_one(4, 2)
  end)

  it("finds the same where the second dies", function()
    is_as_by_one(5, 1)
  end)

  it("finds the same where half of what the second says has come", function()
    is_as_by_one(6, 1)
  end)

  it("finds the same where the second cannot be made", function()
    is_as_by_one(7, 1)
  end)
end)
