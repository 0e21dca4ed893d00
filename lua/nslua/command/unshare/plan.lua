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

local function natural(text)
  local n = text:match "^%d+$" and tonumber(text)
  return n and n <= 4294967294 and math.tointeger(n) or nil
end

-- A user or group: a number, or a name of this system.
local function id(kind, text)
  return natural(text) or core.idmap.lookup(kind, text)
end

-- "inner:outer:count", and "outer,inner,count" as older versions had it.
local function range(text)
  local inner, outer, count = text:match "^(%d+):(%d+):(%d+)$"
  if not inner then
    outer, inner, count = text:match "^(%d+),(%d+),(%d+)$"
  end
  return inner and { math.tointeger(tonumber(inner)), math.tointeger(tonumber(outer)), math.tointeger(tonumber(count)) }
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
  if single.gid and o.setgroups == "allow" then
    refuse "--setgroups=allow and --map-group exclude each other: without rights over groups the kernel wants setgroups denied"
  end
  local function map(option, kind)
    local out = { single[kind] and { single[kind], own[kind], 1 } }
    for _, value in ipairs(o[option] or {}) do
      local word = (value == "auto" or value == "subids" or value == "all") and value
      out[#out + 1] = word or range(value) or refuse("--%s: '%s' is not inner:outer:count", option, value)
    end
    for _, word in ipairs { "auto", "subids" } do
      if o["map-" .. word] then
        out[#out + 1] = word
      end
    end
    return #out > 0 and out or nil
  end
  plan.map_users, plan.map_groups = map("map-users", "uid"), map("map-groups", "gid")
  if o.setgroups and o.setgroups ~= "allow" and o.setgroups ~= "deny" then
    refuse("unsupported --setgroups argument '%s'", o.setgroups)
  elseif o.setgroups and not o.user then
    refuse "--setgroups needs --user"
  end
  plan.setgroups = o.setgroups or single.gid and "deny" or nil
  for option, key in pairs { setuid = "uid", setgid = "gid" } do
    if o[option] then
      plan[key] = natural(o[option]) or refuse("failed to parse %s '%s'", key, o[option])
    end
  end
  plan.keep_caps = o["keep-caps"]
  if plan.uid and not plan.gid then
    plan.groups = "keep"
  end

  -- The view.
  if o["mount-proc"] then
    plan.mount_proc = o["mount-proc"]
  end
  if o["mount-binfmt"] or o["load-interp"] then
    plan.binfmt = { mount = type(o["mount-binfmt"]) == "string" and o["mount-binfmt"] or nil, register = o["load-interp"] }
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
      plan.time[clock] = math.tointeger(tonumber(text)) or refuse("failed to parse %s offset: '%s'", clock, text)
    end
  end
  if o["clear-env"] or o["whitelist-env"] then
    plan.clear_env, plan.env = true, {}
    for name in (o["whitelist-env"] or ""):gmatch "[^,]+" do
      plan.env[name] = os.getenv(name)
    end
  end

  local how = { fork = o.fork, forward = o["forward-signals"] }
  if o["kill-child"] then
    local name = o["kill-child"]
    local owned = require "nslua.owned"
    local ok, number = pcall(owned.signal_number, "--kill-child", name == true and "KILL" or name)
    plan.death_signal = ok and number or refuse("--kill-child: unknown signal '%s'", tostring(name))
  end
  plan.init = o.init
  if o["json-status"] then
    how.status = natural(o["json-status"]) or refuse("--json-status: '%s' is no file descriptor", o["json-status"])
  end
  how.watched = how.forward or how.status
  if wrong then
    return nil, declaration:wrong(table.unpack(wrong))
  end
  return plan, how
end
