-- kill -9 of a script at any moment of a lab's life leaves no namespace, link, mount, program or file.

local helper = require "spec.helper"
local ns = require "nslua"

local TIMES = helper.rounds(100, 20) -- as each user
local AT_ONCE = 2

local script = [[
local lab <close> = ns.lab [=[ h1 --1ms-- r1 -- (s1) -- h2
                               (s1) -- h3 ]=]
lab.h1:spawn { "sleep", "1000" }
print "built"
io.stdout:flush()
lab.h2:run { "true" }
lab.h3:ping "h1"
ns.spawn({ "sleep", "1000" }, lab.r1):wait()
]]

-- A number as random as it has to be, the same on each run.
local state = 20261126
local function random(n)
  state = (state * 1103515245 + 12345) % 2147483648
  return state // 65536 % n
end

local function names(command)
  local out = {}
  for line in helper.sh(command):gmatch "[^\n]+" do
    out[line] = (out[line] or 0) + 1
  end
  return out
end

local function world(folder)
  return { mounts = names "awk '{print $5}' /proc/self/mountinfo", links = names "ls /sys/class/net", names = names "ls /run/netns 2>/dev/null",
    files = names("find " .. folder) }
end

-- Namespaces of network that somebody holds, and programs of ours that run: what is freed late is waited for.
local function left(mark)
  local out = {}
  for pid in helper.sh("grep -lz '^NSLUA_KILL=" .. mark .. "$' /proc/[0-9]*/environ 2>/dev/null"):gmatch "/proc/(%d+)/" do
    local stat = io.open("/proc/" .. pid .. "/stat")
    local text = stat and stat:read "a" or ""
    if stat then
      stat:close()
    end
    if text:match "%) (%a)" and text:match "%) (%a)" ~= "Z" then
      out[#out + 1] = pid .. " " .. (text:match "%b()" or "")
    end
  end
  return out
end

local function id_of(user, which)
  local text = helper.sh(("id -%s %s"):format(which, user))
  return math.tointeger(tonumber(text))
end

describe("kill -9 of a script with a lab", function()
  local function kill_many(user)
    -- whatever it might write lands there
    local folder = helper.sh "mktemp -d"
    helper.sh("chmod 777 " .. folder)
    local path = folder .. "/script.lua"
    local f = assert(io.open(path, "w"))
    f:write(script)
    f:close()
    local mark = folder
    local before = world(folder)
    local known = {}
    for _, row in ipairs(ns.namespace.list { type = "net" }) do
      known[row.inode] = true
    end
    local reached = 0
    local function one()
      local plan = { "build/bin/nslua", path, stdout = "pipe", stderr = "null", env = { NSLUA_KILL = mark, HOME = folder, TMPDIR = folder } }
      if user then
        plan.uid, plan.gid, plan.groups = id_of(user, "u"), id_of(user, "g"), {}
      end
      return { p = ns.spawn(plan), stop = ns.clock() + random(200) / 1000 }
    end
    for _ = 1, TIMES, AT_ONCE do
      local running = {}
      for i = 1, AT_ONCE do
        running[i] = one()
      end
      table.sort(running, function(x, y)
        return x.stop < y.stop
      end)
      for _, each in ipairs(running) do
        local p <close> = each.p
        ns.wait({}, math.max(0, each.stop - ns.clock()))
        p:kill "KILL"
        p:wait(10)
        reached = reached + ((p.stdout:read "a" or ""):find "built" and 1 or 0)
      end
    end
    local deadline = ns.clock() + 30
    -- namespaces that have come since and that no process is seen to hold; those of others, who run beside this, have one
    local function spaces()
      local out = {}
      for _, row in ipairs(ns.namespace.list { type = "net" }) do
        out[#out + 1] = not known[row.inode] and not row.pid and row.inode or nil
      end
      return out
    end
    repeat
      ns.wait({}, 0.05)
    until #left(mark) == 0 and #spaces() == 0 or ns.clock() > deadline
    local after = world(folder)
    helper.sh("rm -r " .. folder)
    assert.is_true(reached > TIMES / 20 and reached < TIMES, reached .. " labs were built") -- else nothing was killed in the middle
    assert.same({}, left(mark))
    assert.same({}, spaces())
    assert.same(before, after)
  end

  it("leaves nothing, as root", function()
    if not helper.is_root() then
      return pending "needs root"
    end
    kill_many()
  end)

  it("leaves nothing, without rights", function()
    if not helper.is_root() then
      return kill_many() -- this user's own
    elseif not helper.sh("setpriv --reuid nobody --clear-groups test -x build/bin/nslua && echo yes"):find "yes" then
      return pending "nobody may not read this checkout"
    end
    kill_many "nobody"
  end)

  it("leaves no program that programs of its nodes started, nor functions", function()
    local can = select(2, helper.sh((helper.is_root() and "" or "unshare -Ur ") .. "unshare -n true"))
    if not can then
      return pending "no right to make a network namespace"
    end
    local number = 100000 + (ns.clock() * 1e6 // 1 | 0) % 900000
    local function alive()
      return helper.sh(("pgrep -f '^sleep %d' | wc -l"):format(number))
    end
    local p = ns.spawn { "build/bin/nslua", "-e", ([[
      local lab = ns.lab "h1 -- h2"
      local a = lab.h1:spawn { "sh", "-c", "sleep N.1; true" }
      local b = lab.h1:fork(function() os.execute "sleep N.2; true" end)
      local c = lab.h2:spawn { "sh", "-c", "setsid sleep N.3 & sleep N.4" }
      lab.h1:run { "sh", "-c", "sleep N.5; true" }]]):gsub("N", ("%d"):format(number)) }
    ns.eventually(function()
      return alive() == "5"
    end, 30)
    p:kill "KILL"
    p:wait()
    pcall(ns.eventually, function()
      return alive() == "0"
    end, 20)
    assert.equal("0", alive())
  end)
end)
