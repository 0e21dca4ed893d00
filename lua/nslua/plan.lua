-- A plan: what one child is to be. Checked and normalised here, carried out by nslua.core (c/spawn.c).

local core = require "nslua.core"
local errors = require "nslua.error"
local check = require "nslua.check"
local units = require "nslua.units"
local namespace = require "nslua.namespace"
local owned = require "nslua.owned"
local privilege = require "nslua.privilege"
local stdio = require "nslua.stdio"

local M = {}

---@class nslua.Plan
---@field [integer] string|number    the program and its arguments
---@field join? nslua.Namespace|nslua.Process|integer|string|table  a handle; a pid or process (all its namespaces); { net = , mount = ... }
---@field unshare? string|string[]   namespaces to make: "user,pid,mount"
---@field map_users? string|integer[][]|false   "root" "current" "auto" "subids" "all" or { { inside, outside, count }, ... }
---@field map_groups? string|integer[][]|false  (default: as map_users, where that is of words; false: unwritten)
---@field setgroups? "allow"|"deny"
---@field propagation? "private"|"slave"|"shared"|"unchanged"  of the mounts in a new mount namespace (default: private)
---@field mount_proc? boolean|string  a proc of the new pid namespace over /proc, or over that directory
---@field mounts? table[]            { bind = from, to = , ro = } or { tmpfs = to, size = }
---@field sys? boolean               a /sys of the joined network namespace (default: true where only `net` is joined)
---@field root? string|nslua.fd      new root directory; an fd (of mode "path") is entered after the joins, wherever it was opened
---@field cwd? string|nslua.fd
---@field persist? table<string, string>  { net = "/file" }: the new namespaces are bound onto files that exist, before the program runs
---@field owner? integer[]           { uid, gid } that make, and so own, the new user namespace
---@field lo? boolean                lo is up in the new network namespace
---@field cgroup? integer            a pid whose cgroups the program joins (v1, v2, both)
---@field binfmt? { mount: string, register: string? }  binfmt_misc of the new user namespace, and what to register. binfmt_misc(5)
---@field keep_caps? boolean         the program has the capabilities of the new or joined user namespace whatever its uid
---@field preserve_credentials? boolean  uid, gid and groups stay as they are when a user namespace is joined or made
---@field context? string            label of the security module for the program
---@field forward_signals? boolean   while it is waited for, HUP INT QUIT TERM USR1 USR2 WINCH CONT are passed on to the program; where it is
---pid 1 and deaf to one, it is killed. Nothing may be captured then
---@field stands_in? boolean        to the shell above, program and script are one job: what the keyboard sends is the program's, and they stop
---together (spawn; run does so where stdin is inherited and there is no timeout). It is waited for at once then
---@field tell_namespaces? boolean   the process has `namespaces` (spawn)
---@field death_signal? string|integer  what the program gets when this process ends (default: KILL)
---@field uid? integer
---@field gid? integer
---@field groups? integer[]|"keep"   supplementary groups (default with uid or gid: none)
---@field argv0? string              what the program sees as its name: that of a login shell begins with "-"
---@field env? table<string, string|number|false>  false unsets
---@field clear_env? boolean
---@field hostname? string           in a new UTS namespace, or in the one that is joined
---@field time? { monotonic: number|string?, boottime: number|string? }  offsets in a new time namespace
---@field init? boolean              a reaper as pid 1 of a new pid namespace
---@field contain? boolean|nslua.Keeper  in the keeper's pid namespace (that one's): the whole tree ends with the script, however that ends
---@field stdin? any                 "null" "inherit" "pipe", { file = }, a Lua file or fd
---@field stdout? any                "capture" "inherit" "null" "pipe", { file =, append = }, a Lua file or fd
---@field stderr? any                as stdout, or "stdout": where stdout goes
---@field input? string              text for stdin
---@field fds? any[]|"inherit"       fds the program keeps under their numbers; { fd, as = 3 } gives another number; "inherit": all that do not
---close on exec
---@field pty? boolean|{ rows: integer, columns: integer }  a terminal of its own; stdout is what it shows
---@field timeout? number|string     seconds until the whole tree is ended
---@field check? boolean             raise where it fails (run)
---@field ready? { tcp: integer, seconds: number|string? }  spawn returns when somebody listens there in the program's network (at most 10 s)

local known = {
  join = true, unshare = "string|table", map_users = "string|table|false", map_groups = "string|table|false", setgroups = "string",
  propagation = "string", mount_proc = "boolean|string", mounts = "table", sys = "boolean", root = "string|userdata", cwd = "string|userdata",
  persist = "table", owner = "table", lo = "boolean", cgroup = "integer", binfmt = "table", keep_caps = "boolean",
  preserve_credentials = "boolean", context = "string", death_signal = "string|integer", forward_signals = "boolean", tell_namespaces = "boolean",
  uid = "integer", gid = "integer", groups = "table|string", env = "table", clear_env = "boolean", hostname = "string", time = "table",
  init = "boolean", contain = "boolean|table", stdin = true, stdout = true, stderr = true, input = "string|number", fds = "table|string",
  pty = "boolean|table", timeout = "number|string", check = "boolean", stands_in = "boolean", ready = "table", argv0 = "string",
}

M.known = known

-- Keys that mean something to some calls only.
local only = {
  check = { run = true, output = true, text = "run" },
  ready = { spawn = true, text = "spawn" },
  init = { run = true, spawn = true, output = true, fork = true, text = "run, spawn and fork" },
  contain = { run = true, spawn = true, output = true, fork = true, text = "run, spawn and fork" },
  timeout = { run = true, spawn = true, output = true, fork = true, shell = true, text = "run, spawn and fork" },
  pty = { run = true, spawn = true, output = true, fork = true, text = "run, spawn and fork" },
  input = { run = true, spawn = true, output = true, text = "run and spawn" },
  tell_namespaces = { spawn = true, text = "spawn" },
  stands_in = { spawn = true, text = "spawn" },
  forward_signals = { run = true, spawn = true, text = "run and spawn" },
  death_signal = { run = true, spawn = true, output = true, fork = true, text = "run, spawn and fork" },
}

-- MS_* of <linux/mount.h>
local propagations = { private = 0x40000, slave = 0x80000, shared = 0x100000, unchanged = 0 }

-- In the order of messages; user stands apart (c/child.c decides the order of joins).
local types = { "net", "uts", "ipc", "pid", "cgroup", "time", "user", "mount" }
local flags = core.namespace.flags

local function plain(call, key, value)
  if value:find("\0", 1, true) then
    errors.misuse("%s: %s has a NUL byte", call, key)
  end
  return value
end

local function argv(call, plan)
  local out, n = {}, 0
  for k in pairs(plan) do
    if type(k) == "number" then
      n = n + 1
    end
  end
  for i = 1, n do
    local v = plan[i]
    if type(v) == "number" then
      v = v == math.floor(v) and math.abs(v) < 2 ^ 53 and ("%.0f"):format(v) or tostring(v)
    end
    if type(v) ~= "string" then
      errors.misuse("%s: argument %d must be a string, got %s", call, i, type(v))
    end
    out[i] = plain(call, "argument " .. i, v)
  end
  return out
end

local function environment(call, env)
  local out = {}
  for name, value in pairs(env or {}) do
    if type(name) ~= "string" or name == "" or name:find "[=%z]" then
      errors.misuse("%s: env: %q is no name of a variable", call, tostring(name))
    elseif value == false then
      out[#out + 1] = name
    elseif type(value) == "string" or type(value) == "number" then
      out[#out + 1] = name .. "=" .. plain(call, "env." .. name, tostring(value))
    else
      errors.misuse("%s: env.%s must be text, a number or false, got %s", call, name, type(value))
    end
  end
  table.sort(out)
  return out
end

local function has(bits, flag)
  return bits % (2 * flag) >= flag
end
M.has = has

-- A process of ns.spawn or ns.fork.
local function is_process(value)
  return type(value) == "table" and getmetatable(value) ~= nil and type(value.pidfd) == "function" and type(value.pid) == "number"
end

---The namespaces a plan joins, by type; handles opened here are put into `job.held`.
local function joins(call, job, join)
  local out = {}
  local function hold(target, t)
    local handle = namespace.open(target, t, call)
    if handle ~= target then
      job.held[#job.held + 1] = handle
    end
    return handle
  end
  if namespace.is(join) then
    out[join.type] = hold(join, join.type)
  elseif type(join) == "number" or (type(join) == "string" and join:find "^pid:%d+$") or is_process(join) then
    local pid = type(join) == "number" and join or type(join) == "string" and tonumber(join:match "%d+") or join.pid
    namespace.pid(call .. ": join", pid)
    local what = { detail = ("pid %.0f"):format(pid) }
    -- One pidfd for all of them: never half of one process and half of another.
    local pidfd, message, errno
    if type(join) == "table" then
      pidfd = join:pidfd()
    else
      pidfd, message, errno = core.namespace.pidfd(pid)
      job.held[#job.held + 1] = errors.check(call .. ": join", what, pidfd, message, errno)
    end
    for _, t in ipairs(types) do
      local fd, why, en = core.namespace.of_pidfd(pidfd, flags[t])
      if fd then
        out[t] = namespace.wrap(t, fd)
        job.held[#job.held + 1] = out[t]
      elseif en ~= core.errno.ENOENT and en ~= core.errno.EINVAL then -- a type this kernel lacks
        what.hint = privilege.hint(en, { pid = pid, capability = "CAP_SYS_PTRACE" })
        errors.check(call .. ": join " .. t, what, fd, why, en)
      end
    end
  elseif type(join) == "string" then
    out.net = hold(join, "net")
  elseif type(join) == "table" and getmetatable(join) == nil then
    for t, target in pairs(join) do
      if type(t) ~= "string" then
        errors.misuse("%s: join must name the type of each namespace, as in { net = ... }", call)
      end
      t = namespace.type(call .. ": join", t)
      out[t] = hold(target, t)
    end
  else
    errors.misuse("%s: join must be a namespace handle, a process, a pid or a table like { net = ... }, got %s", call, type(join))
  end
  -- What was made without root is entered through the user namespace it was made in.
  if not out.user then
    for _, t in ipairs(types) do
      local userns = out[t] and rawget(out[t], "userns")
      if userns then
        out.user = userns
        break
      end
    end
  end
  return out
end

-- Joining what we are in is EINVAL (user) or asks for rights (the others): leave it out.
local function is_ours(handle)
  local fd = core.namespace.current(flags[handle.type])
  if not fd then
    return false
  end
  local device, inode = fd:stat()
  fd:close()
  return device == handle.device and inode == handle.inode
end

local function mounts(call, list)
  local out = {}
  for i, m in ipairs(list) do
    local name = ("%s: mounts[%d]"):format(call, i)
    check.options(name, m, { bind = "string", to = "string", ro = "boolean", tmpfs = "string", size = "string|number" })
    if (m.bind == nil) == (m.tmpfs == nil) then
      errors.misuse("%s must have either bind or tmpfs", name)
    elseif m.bind and not m.to then
      errors.misuse("%s has no `to`", name)
    elseif m.tmpfs and m.to then
      errors.misuse("%s: tmpfs is the place itself; leave out `to`", name)
    elseif m.bind and m.size then
      errors.misuse("%s: a bind has no size", name)
    end
    out[i] = {
      bind = m.bind and plain(name, "bind", m.bind), to = plain(name, "to", m.to or m.tmpfs), ro = m.ro and 1 or 0,
      data = m.size and ("size=%.0f"):format(units.size(m.size, name .. ": size")) or nil,
    }
  end
  return out
end

local function offsets(call, time)
  check.options(call .. ": time", time, { monotonic = "number|string", boottime = "number|string" })
  local out = {}
  for _, clock in ipairs { "monotonic", "boottime" } do
    if time[clock] then
      local s = units.duration(time[clock], call .. ": time." .. clock)
      local whole = math.floor(s)
      out[#out + 1] = { clock = clock, sec = whole, nsec = math.min(999999999, math.floor((s - whole) * 1e9 + 0.5)) }
    end
  end
  return out
end

local function ready(call, spec)
  check.options(call .. ": ready", spec, { tcp = "integer", seconds = "number|string" })
  if not spec.tcp or spec.tcp < 1 or spec.tcp > 65535 then
    errors.misuse("%s: ready.tcp must be a port, got %s", call, tostring(spec.tcp))
  end
  return { tcp = spec.tcp, seconds = units.duration(spec.seconds or 10, call .. ": ready.seconds") }
end

---An id of a user or group: 0 to 2^32 - 2.
local function id(call, key, value)
  if value ~= nil and not (value >= 0 and value <= 4294967294 and value == math.floor(value)) then
    errors.misuse("%s: %s %s is no user or group id", call, key, tostring(value))
  end
  return value
end

local function groups(call, list)
  if type(list) == "string" and list ~= "keep" then
    errors.misuse("%s: groups: %s", call, check.unknown("word", list, { "keep" }))
  elseif type(list) ~= "table" then
    return list
  end
  local out = {}
  for i, g in ipairs(list) do
    if type(g) ~= "number" then
      errors.misuse("%s: groups[%d] must be a group id, got %s", call, i, type(g))
    end
    out[i] = id(call, "group", g)
  end
  return out
end

local function add(bits, flag)
  return has(bits, flag) and bits or bits + flag
end

-- Which namespaces are joined and made, and what follows from it.
local function namespaces(call, job, plan)
  local unshare = 0
  if plan.unshare then
    local _
    _, unshare = namespace.typelist(call .. ": unshare", plan.unshare)
  end
  if plan.mounts or plan.mount_proc or plan.binfmt then
    unshare = add(unshare, flags.mount)
  end
  if plan.map_users or plan.map_groups or plan.setgroups or plan.owner or plan.binfmt then
    unshare = add(unshare, flags.user)
  end
  if plan.lo then
    unshare = add(unshare, flags.net)
  end
  if plan.time then
    unshare = add(unshare, flags.time)
    job.time = offsets(call, plan.time)
  end
  if plan.init then
    unshare = add(unshare, flags.pid)
  end
  local joined = plan.join ~= nil and joins(call, job, plan.join) or {}
  if plan.hostname then
    if #plan.hostname > 64 then
      errors.misuse("%s: hostname is %d bytes, at most 64", call, #plan.hostname)
    end
    job.hostname = plain(call, "hostname", plan.hostname)
    unshare = joined.uts and unshare or add(unshare, flags.uts)
  end
  if plan.contain then
    if joined.pid or joined.mount then
      errors.misuse("%s: contain is a pid and mount namespace of its own; it joins no other of these", call)
    end
    local keeper = type(plan.contain) == "table" and plan.contain or require("nslua.keeper").get(joined.user)
    for t, handle in pairs(keeper.join) do
      joined[t] = joined[t] or handle
    end
    job.contained = true
  end
  job.unshare = unshare
  job.first = has(unshare, flags.pid) and not plan.init -- pid 1 of its namespace: deaf to what it does not handle
  for _, t in ipairs(types) do
    local handle = joined[t]
    if handle and not is_ours(handle) then
      job.join[#job.join + 1] = { fd = namespace.fd_of(handle, call), type = flags[t], name = t, handle = handle }
      job.joined[t] = handle
    end
  end
  if has(unshare, flags.mount) then
    local p = propagations[plan.propagation or "private"]
    if not p then
      errors.misuse("%s: propagation: %s", call, check.unknown("word", plan.propagation, propagations))
    end
    job.propagation = p
  elseif plan.propagation then
    errors.misuse("%s: propagation is of a new mount namespace: unshare = \"mount\"", call)
  end
end

-- The id to take on inside, where our own is not mapped: root's. Nil: as it is.
local function become(map, own)
  local root
  for _, r in ipairs(map and map.ranges or {}) do
    if own >= r[2] and own < r[2] + r[3] then
      return nil
    end
    root = root or (r[1] == 0 and 0 or nil)
  end
  return root
end

-- A map in a user namespace that is joined first: ids outside are those of that namespace.
local function inner(call, key, spec)
  if spec == "root" or spec == "current" then
    return { { 0, 0, 1 } }
  elseif type(spec) == "table" then
    for _, range in ipairs(spec) do
      if type(range) == "string" then
        errors.misuse("%s: %s: in a user namespace that is joined, map ids by ranges", call, key)
      end
    end
  elseif spec then
    errors.misuse("%s: %s = %q is of this process's own user namespace; in one that is joined, map ids by ranges", call, key, spec)
  end
  return spec
end

local function maps(call, job, plan)
  if not has(job.unshare, flags.user) then
    return
  end
  if plan.map_users or plan.map_groups or plan.setgroups then
    local uid, gid = core.idmap.who()
    uid, gid = job.owner_uid or uid, job.owner_gid or gid
    local users, gids = plan.map_users, plan.map_groups
    if job.joined.user then -- there we are its root, whoever we are here
      uid, gid = 0, 0
      users, gids = inner(call, "map_users", users), inner(call, "map_groups", gids)
      if gids == nil and type(plan.map_users) == "string" then
        gids = users
      end
    end
    local resolved = require("nslua.idmap").resolve(users, gids, plan.setgroups, call, job.joined.user ~= nil,
      job.owner_uid and { job.owner_uid, job.owner_gid })
    job.maps = resolved
    if not plan.preserve_credentials then
      job.become_uid, job.become_gid = become(resolved.uid, uid), become(resolved.gid, gid)
    end
  end
end

-- A /sys of the joined network namespace, and /etc/netns/NAME, where the plan joins no other view of files.
local function view(call, job, plan)
  local net = job.joined.net
  if plan.sys == false or (job.joined.mount and not job.contained) or not (net or plan.sys) then
    return
  end
  local sysview = require "nslua.sysview"
  job.files = net and rawget(net, "etc_files")
  if job.contained and net and not has(job.unshare, flags.mount) then
    job.sys, job.etc = true, sysview.etc_of(net)
    job.unshare, job.propagation = job.unshare + flags.mount, propagations.slave
  elseif has(job.unshare, flags.mount) then -- a mount namespace of its own is made anyway
    job.sys = true
    job.etc = net and sysview.etc_of(net)
  elseif net then
    local kept = call ~= "exec" and not sysview.in_chroot()
    local fd, note = nil, nil
    if kept then
      fd, note = sysview.kept(net)
    end
    if fd then
      job.files = nil -- they are in it
      job.join[#job.join + 1] = { fd = fd, type = flags.mount, name = "mount" }
      job.note = note
    else -- made by this program's child, and kept for the next unless it belongs to a user namespace that is made with it
      job.sys, job.etc, job.view_key = true, sysview.etc_of(net)
      job.unshare, job.propagation = job.unshare + flags.mount, propagations.slave
      job.give_view = kept and not has(job.unshare, flags.user)
    end
  else
    errors.misuse("%s: sys = true needs a network namespace to join, or unshare = \"net,mount\"", call)
  end
end

-- Bind mounts of new namespaces onto files.
local function persist(call, job, plan)
  job.persist = {}
  for word, path in pairs(plan.persist or {}) do
    local t = namespace.type(call .. ": persist", word)
    if type(path) ~= "string" then
      errors.misuse("%s: persist.%s must be a path, got %s", call, t, type(path))
    elseif not has(job.unshare, flags[t]) then
      errors.misuse("%s: persist.%s is of a new namespace: unshare = %q", call, t, t)
    elseif t == "pid" and call == "exec" then
      errors.misuse("%s: persist.pid: a pid namespace lives once a process is in it; exec starts none", call)
    end
    -- a program that is started is in its time namespace; one that is replaced is not until it has forked
    local proc = core.namespace.proc[t]
    job.persist[#job.persist + 1] = { type = flags[t], word = (t == "pid" or t == "time") and proc .. "_for_children" or proc,
      path = plain(call, "persist." .. t, path) }
  end
end

-- Cgroups, the owner, binfmt_misc, capabilities, the label.
local function surroundings(call, job, plan)
  if plan.cgroup then
    job.cgroup = require("nslua.cgroup").entries(call, plan.cgroup)
    for _, fd in ipairs(job.cgroup) do
      job.held[#job.held + 1] = fd
    end
  end
  if plan.owner then
    check.options(call .. ": owner", plan.owner, { "integer", "integer" })
    job.owner_uid, job.owner_gid = id(call, "owner[1]", plan.owner[1]), id(call, "owner[2]", plan.owner[2])
    if not (job.owner_uid and job.owner_gid) then
      errors.misuse("%s: owner must be { uid, gid }", call)
    end
  end
  if plan.binfmt then
    check.options(call .. ": binfmt", plan.binfmt, { mount = "string", register = "string" })
    job.binfmt = plain(call, "binfmt.mount", plan.binfmt.mount or "/proc/sys/fs/binfmt_misc")
    job.binfmt_register = plan.binfmt.register and plain(call, "binfmt.register", plan.binfmt.register)
  end
  job.lo, job.keep_caps, job.keep_ids = plan.lo, plan.keep_caps, plan.preserve_credentials
  job.context = plan.context and plain(call, "context", plan.context)
  job.death_signal = plan.death_signal and owned.signal_number(call .. ": death_signal", plan.death_signal)
end

---Check a plan and open what it names.
---@param call string         "run", for messages
---@param plan nslua.Plan
---@param defaults table      stdin, stdout, stderr of the call
---@return table job          what core.process.spawn takes, and held, ours, captured, timeout, joined
function M.prepare(call, plan, defaults)
  if type(plan) ~= "table" then
    errors.misuse("%s: a plan (a table) expected, got %s", call, type(plan))
  end
  local options = {}
  for k, v in pairs(plan) do
    if type(k) ~= "number" then
      options[k] = v
    end
  end
  check.options(call, options, known)
  for key, calls in pairs(only) do
    if options[key] ~= nil and not calls[call] then
      errors.misuse("%s: %s is for %s", call, key, calls.text)
    end
  end
  local job = { held = {}, ours = {}, captured = {}, join = {}, joined = {} }
  local ok, err = pcall(function()
    job.argv = argv(call, plan)
    if not defaults.fork and #job.argv == 0 then
      errors.misuse("%s: no program", call)
    end
    job.env, job.clear_env = environment(call, plan.env), plan.clear_env
    for _, key in ipairs { "root", "cwd" } do
      if type(plan[key]) == "userdata" then
        job[key .. "_fd"] = stdio.number(call, key, plan[key])
      else
        job[key] = plan[key] and plain(call, key, plan[key])
      end
    end
    surroundings(call, job, plan)
    if plan.mount_proc then
      job.mount_proc = plan.mount_proc == true and "/proc" or plain(call, "mount_proc", plan.mount_proc)
    end
    job.mounts = plan.mounts and mounts(call, plan.mounts)
    job.argv0 = plan.argv0 and plain(call, "argv0", plan.argv0)
    job.uid, job.gid, job.groups = id(call, "uid", plan.uid), id(call, "gid", plan.gid), groups(call, plan.groups)
    job.timeout = plan.timeout and units.duration(plan.timeout, call .. ": timeout")
    job.init, job.tell = plan.init, plan.tell_namespaces
    job.ready = plan.ready and ready(call, plan.ready)
    namespaces(call, job, plan)
    persist(call, job, plan)
    maps(call, job, plan)
    view(call, job, plan)
    stdio.prepare(call, job, plan, defaults)
    job.forward = plan.forward_signals
    if job.forward and (next(job.captured) or job.input) then
      errors.misuse("%s: forward_signals is for programs whose outputs are inherited", call)
    end
    if type(plan.fds) == "string" then
      if plan.fds ~= "inherit" then
        errors.misuse("%s: fds: %s", call, check.unknown("word", plan.fds, { inherit = true }))
      end
      job.inherit_fds = true
    else
      job.fds = plan.fds and stdio.keep(call, plan.fds)
    end
  end)
  if not ok then
    M.release(job, true)
    error(err, 0)
  end
  return job
end

---Close what only the child needed; all of it where the child did not come to be.
---@param job table
---@param all? boolean
function M.release(job, all)
  for _, held in ipairs(job.held) do
    held:close()
  end
  job.held = {}
  if all then
    for _, fd in pairs(job.ours) do
      fd:close()
    end
  end
end

return M
