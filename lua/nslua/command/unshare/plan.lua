-- From the options of unshare(1) to a plan.

local core = require "nslua.core"

local TYPES = { "mount", "uts", "ipc", "net", "pid", "user", "cgroup", "time" }

-- Options that make what others are about.
local IMPLIES = {
  user = { "map-user", "map-group", "map-root-user", "map-current-user", "map-auto", "map-subids", "map-users", "map-groups", "owner",
    "mount-binfmt", "load-interp" },
  mount = { "mount-proc", "mount-binfmt", "load-interp" },
  uts = { "hostname" },
  net = { "lo" },
  pid = { "init" },
  fork = { "kill-child", "forward-signals", "init", "json-status" },
}

local LAST = 4294967294 -- (uid_t)-1 is no id

-- A number as strtoul(3) reads it.
local function natural(text)
  local n = tonumber(text:match "^%s*%+?(%d+)$")
  return n and n <= LAST and math.tointeger(n) or nil
end

-- A user or group: a number, or a name of this system.
local function id(kind, text)
  return natural(text) or core.idmap.lookup(kind, text)
end

-- "inner:outer:count", and "outer,inner,count" as older versions had it; nil and why it is none.
local function range(text)
  local inner, outer, count = text:match "^(%d+):(%d+):(%d+)$"
  if not inner then
    outer, inner, count = text:match "^(%d+),(%d+),(%d+)$"
  end
  if not inner then
    return nil, ""
  end
  inner, outer, count = natural(inner), natural(outer), tonumber(count)
  if not (inner and outer and count > 0 and math.max(inner, outer) + count - 1 <= LAST) then
    return nil, (", with ids up to %d"):format(LAST)
  end
  return { inner, outer, math.tointeger(count) }
end

-- A signal's name or number, in any of the ways that kill(1) takes it.
local function signal(text)
  local n = tonumber(text:match "^%d+$")
  if n then
    return n > 0 and n <= 64 and math.tointeger(n) or nil
  end
  local name = text:upper():gsub("^SIG", "")
  local from, by = name:match "^(RTM%u+)([+-]?%d*)$"
  if from == "RTMIN" and by:find "^%+?%d*$" then
    n = 34 + (tonumber(by) or 0)
  elseif from == "RTMAX" and by:find "^%-?%d*$" then
    n = 64 + (tonumber(by) or 0)
  else
    return core.process.signals[name]
  end
  return n >= 34 and n <= 64 and n or nil
end

-- Where a mount option's directory is: a relative one is looked for from the program's own working directory.
local function place(o, dir)
  if type(dir) ~= "string" or dir == "" or dir:sub(1, 1) == "/" then
    return dir
  end
  local base = o.root and "" or core.file.readlink "/proc/self/cwd" or ""
  if o.wd then
    base = o.wd:sub(1, 1) == "/" and o.wd or base .. "/" .. o.wd
  end
  return base .. "/" .. dir
end

-- Whether setgroups(2) is allowed where we are: then that is nothing to ask for.
local function allowed()
  local file <close> = io.open "/proc/self/setgroups"
  return file ~= nil and file:read "l" == "allow"
end

---The plan that the options ask for.
---@param declaration nslua.cli.Declaration
---@param o table  what it read
---@return nslua.Plan?
---@return table|integer how  { fork =, forward =, status = fd, watched = }; or the exit status
return function(declaration, o)
  local wrong -- the first thing that is
  local function refuse(...)
    wrong = wrong or { ... }
  end
  for what, list in pairs(IMPLIES) do
    for _, option in ipairs(list) do
      o[what] = o[what] or o[option] and true
    end
  end

  local plan = { unshare = {}, fds = "inherit", preserve_credentials = true, sys = false, lo = o.lo }
  for _, t in ipairs(TYPES) do
    if o[t] then
      table.insert(plan.unshare, t)
      if type(o[t]) == "string" then
        plan.persist = plan.persist or {}
        plan.persist[t] = o[t]
      end
    end
  end
  if #plan.unshare == 0 then
    plan.unshare = nil
  end
  if type(o.pid) == "string" and not o.fork then
    refuse "--pid=<file> needs --fork: a pid namespace is kept once a process is in it"
  end

  -- Single ids, the last of their options wins; they are of whoever makes the namespace.
  local own = { uid = (core.idmap.who()), gid = select(2, core.idmap.who()) }
  if o.owner then
    local u, g = o.owner:match "^([^:]+):([^:]+)$"
    own.uid, own.gid = u and id("uid", u), g and id("gid", g)
    plan.owner = { own.uid, own.gid }
    if not (own.uid and own.gid) then
      return nil, declaration:wrong("--owner: '%s' is not uid:gid", o.owner)
    end
  end
  local single = {}
  for _, given in ipairs(o.given) do
    local key, value = given[1], given[2]
    if key == "map-root-user" then
      single.uid, single.gid = 0, 0
    elseif key == "map-current-user" then
      single.uid, single.gid = own.uid, own.gid
    elseif key == "map-user" or key == "map-group" then
      local kind = key == "map-user" and "uid" or "gid"
      single[kind] = id(kind, value) or refuse("--%s: no such %s: '%s'", key, kind == "uid" and "user" or "group", value)
    end
  end
  -- Groups that are mapped by hand, the own one alone: the kernel wants setgroups(2) denied.
  local by_hand = single.gid and not (o["map-groups"] or o["map-auto"] or o["map-subids"] or o.owner)
  if by_hand and o.setgroups == "allow" then
    refuse "--setgroups=allow and --map-group exclude each other: without rights over groups the kernel wants setgroups denied"
  end
  local function map(option, kind)
    local out = { single[kind] and { single[kind], own[kind], 1 } }
    for _, value in ipairs(o[option] or {}) do
      local word = (value == "auto" or value == "subids" or value == "all") and value
      local ids, why = range(value)
      out[#out + 1] = word or ids or refuse("--%s: '%s' is not inner:outer:count%s", option, value, why)
    end
    for _, word in ipairs { "auto", "subids" } do
      if o["map-" .. word] then
        out[#out + 1] = word
      end
    end
    return #out > 0 and out
  end
  local users, groups = map("map-users", "uid"), map("map-groups", "gid")
  if users or groups then
    plan.map_users, plan.map_groups = users, groups
  end
  if o.setgroups and o.setgroups ~= "allow" and o.setgroups ~= "deny" then
    refuse("unsupported --setgroups argument '%s'", o.setgroups)
  elseif o.setgroups and not o.user and not (o.setgroups == "allow" and allowed()) then
    refuse "--setgroups needs --user"
  end
  plan.setgroups = o.user and o.setgroups or by_hand and "deny" or nil
  for option, key in pairs { setuid = "uid", setgid = "gid" } do
    if o[option] then
      plan[key] = natural(o[option]) or refuse("failed to parse %s '%s'", key, o[option])
    end
  end
  plan.keep_caps = o["keep-caps"] and o.user -- those that a user namespace gives
  if plan.gid then
    plan.groups = {}
  elseif plan.uid then
    plan.groups = "keep"
  end

  -- The view.
  plan.mount_proc = place(o, o["mount-proc"])
  if o["mount-binfmt"] or o["load-interp"] then
    local dir = place(o, o["mount-binfmt"])
    plan.binfmt = { mount = type(dir) == "string" and dir or nil, register = o["load-interp"] }
    if not plan.binfmt.mount and o.pid and o.fork then -- it is in /proc, which shows the program's processes then
      plan.mount_proc = plan.mount_proc or true
    end
  end
  if o.propagation and not ({ slave = 1, shared = 1, private = 1, unchanged = 1 })[o.propagation] then
    refuse("unsupported propagation mode: %s", o.propagation)
  end
  plan.propagation = o.mount and o.propagation or nil
  plan.root, plan.cwd, plan.hostname = o.root, o.wd, o.hostname
  for _, clock in ipairs { "monotonic", "boottime" } do
    local text = o[clock]
    if text and not o.time then
      refuse("--%s needs --time: it is a clock of a time namespace", clock)
    elseif text then
      plan.time = plan.time or {}
      plan.time[clock] = math.tointeger(tonumber(text:match "^%s*([+-]?%d+)$")) or refuse("failed to parse %s offset: '%s'", clock, text)
    end
  end
  if o["clear-env"] or o["whitelist-env"] then
    plan.clear_env, plan.env = true, {}
    for _, names in ipairs(o["whitelist-env"] or {}) do
      for name in names:gmatch "[^,]+" do
        plan.env[name] = os.getenv(name)
      end
    end
  end

  local how = { fork = o.fork, forward = o["forward-signals"] }
  if o["kill-child"] then
    local name = o["kill-child"] == true and "KILL" or o["kill-child"]
    plan.death_signal = signal(name) or refuse("--kill-child: unknown signal '%s'", name)
  end
  plan.init = o.init
  if o["json-status"] then
    how.status = natural(o["json-status"]) or refuse("--json-status: '%s' is no file descriptor", o["json-status"])
    if how.status and (how.status > 0x7fffffff or not core.process.write(how.status, "")) then
      refuse("--json-status: file descriptor %d is not open for writing", how.status)
    end
  end
  if o.hostname and #o.hostname > 64 then
    refuse("--hostname: %d bytes, and a host name has at most 64", #o.hostname)
  end
  how.watched = how.forward or how.status or plan.death_signal
  if wrong then
    return nil, declaration:wrong(table.unpack(wrong))
  end
  return plan, how
end
