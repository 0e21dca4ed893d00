-- The plan of a program that enters namespaces, from the options of nsenter(1).

local core = require "nslua.core"
local errors = require "nslua.error"
local ns = require "nslua"
local program = require "nslua.command.cli.program"
local target_of = require "nslua.command.nsenter.target"

-- In the order in which --user-parent asks them for an owner.
local types = { "user", "cgroup", "ipc", "uts", "net", "pid", "mount", "time" }

local function wrong(format, ...)
  errors.raise { call = "nsenter", message = format:format(...) }
end

-- The value of a short option may be written -m=FILE.
local function value(v)
  return type(v) == "string" and v:gsub("^=", "") or nil
end

-- As strtoul(3) reads it.
local function number(v, what)
  local n = math.tointeger(tonumber(v:match "^%s*%+?(%d+)$"))
  return n and n < 0xffffffff and n or wrong("failed to parse %s: '%s'", what, v)
end

---Whether this process is in a namespace.
---@param handle nslua.Namespace
local function is_ours(handle)
  local own <close> = ns.namespace.current(handle.type)
  return handle == own
end

-- A file, or ":ID"; true: the target's own.
local function open_namespace(t, v, target)
  local file = value(v)
  if not file then
    return target:namespace(t)
  elseif file:sub(1, 1) == ":" then
    if not file:find "^:%d+$" then
      wrong("failed to parse nsid: '%s'", file:sub(2))
    end
    return ns.namespace.open("id:" .. file:sub(2), t, "nsid")
  end
  if file == "" then
    wrong "cannot open the file '': No such file or directory"
  end
  local path = file:sub(1, 1) == "/" and file or (core.file.readlink "/proc/self/cwd" or "") .. "/" .. file
  return ns.namespace.open_path("file", path, t, core.namespace.flags[t])
end

-- The owner of a namespace that was asked for: of the user namespace if that is one, else of one that is not ours.
local function parent_userns(join, target)
  local from, own
  for _, t in ipairs(types) do
    local handle = join[t]
    if handle and not from then
      if t == "user" or not is_ours(handle) then
        from = handle
      end
      own = own or handle
    end
  end
  from = from or own or target:namespace "user"
  return from.owner or wrong("failed to open parent namespace: it is above this process's own")
end

local function namespaces(o, target)
  local join = {}
  for _, t in ipairs(types) do
    local asked = o[t] or o.all
    if asked and not (o.all and not o[t] and not core.file.readlink("/proc/self/ns/" .. core.namespace.proc[t])) then
      join[t] = open_namespace(t, asked, target)
    end
  end
  if o["user-parent"] then
    join.user = parent_userns(join, target)
  end
  if o["net-socket"] then
    join.net = target:socket_net(number(o["net-socket"], "file descriptor"))
  end
  return join
end

-- Whether something is asked for, and of the target.
local function asked(o)
  local something = o.root or o.wd or o.setuid or o.setgid
  local of_target = o.all or o["user-parent"] or o["net-socket"] or o.root == true or o.wd == true or o.env or o["join-cgroup"]
    or o["follow-context"] or o.setuid == "follow" or o.setgid == "follow"
  for _, t in ipairs(types) do
    something, of_target = something or o[t], of_target or o[t] == true
  end
  return something or of_target, of_target
end

local function credentials(o, plan, target)
  local userns = plan.join.user
  userns = userns and not is_ours(userns) and userns or nil
  plan.preserve_credentials = o["preserve-credentials"]
  plan.keep_caps = o["keep-caps"] and userns ~= nil
  local ids = (o.setuid == "follow" or o.setgid == "follow") and target:ids(userns)
  if o.setuid then
    plan.uid = o.setuid == "follow" and ids.uid or number(o.setuid, "uid")
  end
  if o.setgid then
    plan.gid = o.setgid == "follow" and ids.gid or number(o.setgid, "gid")
  elseif not userns or o["preserve-credentials"] then
    plan.groups = "keep"
  end
end

-- A directory that is opened before: the target's, or one of ours.
local function directory(v, name, target)
  if v == true then
    return target:open(name, "path")
  end
  return v and target_of.file(value(v), "path")
end

-- The same by path, in the copy that --proc makes of the target's mount namespace: what is open now is not of the copy.
local function place(name, target, root)
  local path = core.file.readlink(("/proc/%d/%s"):format(target.pid, name)) or "/"
  return root and path:sub(1, #root + 1) == root .. "/" and path:sub(#root + 1) or path
end

-- Where the program is: a directory that is opened before, one that is looked for inside, or where nsenter(1) leaves it.
local function directories(o, plan, target)
  if o.wd and o.wdns then
    wrong "options --wd and --wdns are mutually exclusive"
  elseif o.proc and o.root and not (o.root == true and plan.join.mount) then
    wrong "--proc is mounted in a mount namespace: with --root it takes --mount or --all, and the target's root"
  end
  local copied = o.proc and plan.join.mount
  if copied and o.root then
    local root = place("root", target)
    plan.root = root ~= "/" and root or nil
  else
    plan.root = directory(o.root, "root", target)
  end
  plan.cwd = copied and o.wd == true and place("cwd", target, plan.root) or directory(o.wd, "cwd", target) or value(o.wdns)
  if plan.cwd then
    return
  elseif plan.join.mount then
    plan.cwd = "/" -- of the namespace; setns(2)
  elseif type(plan.root) == "userdata" then
    -- Where we are, unless that is outside of the new root: a way out of it.
    local root = core.file.readlink(("/proc/self/fd/%d"):format(plan.root:number()))
    local here = core.file.readlink "/proc/self/cwd"
    local inside = root and here and (root == "/" or (here .. "/"):sub(1, #root + 1) == root .. "/")
    plan.cwd = inside and core.fd.open(".", "path") or "/"
  end
end

-- What the security module calls the target, for the exec to come; nothing where there is no such module.
local function context(target)
  local ok, text = pcall(target.read, target, "attr/current")
  local label = ok and text:match "^[^%z\n]+"
  if label and core.file.stat "/sys/module/apparmor" and not core.file.stat "/sys/fs/selinux/enforce" then
    local profile = label:gsub(" %(%l+%)$", "")
    label = profile ~= "unconfined" and "exec " .. profile or nil
  end
  return label
end

---@param o table  the options as read
---@return nslua.Plan plan
---@return boolean forks   whether the program is another process
return function(o)
  if o.target and #o.target > 1 then
    wrong "option --target may be given only once"
  end
  local something, of_target = asked(o)
  if not something then
    wrong "no namespace specified"
  elseif of_target and not o.target then
    wrong "no target PID specified"
  end
  local target = o.target and target_of.open(o.target[1])
  local plan = { sys = false, join = namespaces(o, target), fds = "inherit" }
  credentials(o, plan, target)
  directories(o, plan, target)
  if o.env then
    plan.env, plan.clear_env = target:environment(), true
  end
  plan.cgroup = o["join-cgroup"] and target.pid or nil
  plan.context = o["follow-context"] and context(target) or nil
  local pid = plan.join.pid
  if o.proc then
    if not pid then
      wrong "--proc is for a pid namespace: --pid or --all"
    end
    plan.mount_proc, plan.propagation = true, "slave"
  end
  program.words(plan, o)
  if target then
    target:check() -- what was opened by its pid was its own
  end
  return plan, pid ~= nil and not is_ours(pid) and not o["no-fork"]
end
