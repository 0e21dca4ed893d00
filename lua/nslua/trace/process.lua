-- Programs: ns.run, ns.spawn, ns.exec, ns.fork as lines of ip netns exec, nsenter(1), unshare(1) and what else sets a program up.

local core = require "nslua.core"
local out = require "nslua.trace.out"
local planning = require "nslua.plan"
local sh = require "nslua.trace.sh"
local spaces = require "nslua.trace.spaces"

local M = {}

local flags, proc = core.namespace.flags, core.namespace.proc
local types = { "user", "mount", "uts", "ipc", "net", "pid", "cgroup", "time" }
local LONGEST_INPUT = 4096

-- plan and call of a prepared job
local prepared = setmetatable({}, { __mode = "k" })

local signal_names = {}
for name, number in pairs(core.process.signals) do
  signal_names[number] = name
end

local function append(words, more)
  for _, word in ipairs(more) do
    words[#words + 1] = word
  end
end

-- Where another namespace than a network's can be opened while the script runs.
local function path_of(joined)
  if joined.name == "net" then
    return spaces.path(spaces.of(joined.fd))
  end
  local pid = spaces.pid_of(joined.fd)
  local word = proc[joined.name]
  if pid then
    return ("/proc/%.0f/ns/%s"):format(pid, word)
  end
  local ok, number = pcall(function()
    return joined.fd:number()
  end)
  return ("/proc/%s/fd/%s"):format(out.pid(), ok and ("%.0f"):format(number) or "?")
end

---nsenter(1) into several namespaces.
---@param list table[]  { name =, fd = }
---@return string[]
local function nsenter(list)
  local words, target = { "nsenter" }, nil
  for i, joined in ipairs(list) do
    local pid = spaces.pid_of(joined.fd)
    if i == 1 then
      target = pid
    elseif pid ~= target then
      target = nil
    end
  end
  if target then
    words[2] = ("--target=%.0f"):format(target)
  end
  for _, joined in ipairs(list) do
    words[#words + 1] = "--" .. joined.name .. (target and "" or "=" .. path_of(joined))
  end
  return words
end
M.nsenter = nsenter

-- The words that enter what a job joins; whether it has a /sys of its own.
local function entering(job, notes)
  local list, net, view = {}, nil, job.sys or false
  local user
  for _, joined in ipairs(job.join) do
    if not joined.handle then
      view = true
    elseif job.contained and joined.name ~= "net" and joined.name ~= "uts" and joined.name ~= "ipc" then
      notes.contained = "in the keeper's pid namespace"
    else
      net = joined.name == "net" and joined or net
      user = joined.name == "user" and joined or user
      list[#list + 1] = joined
    end
  end
  if net and user and #list == 2 and rawget(net.handle, "userns") == user.handle then
    notes.user = "in its user namespace"
    list = { net }
  end
  if #list == 1 and net then
    return spaces.enter(spaces.of(net.fd), view), view
  elseif #list > 0 then
    return nsenter(list), view
  end
  return {}, view
end

-- --map-root-user and the like.
local function mapping(plan, words, notes)
  local users, groups = plan.map_users, plan.map_groups
  local simple = { root = "--map-root-user", current = "--map-current-user", auto = "--map-auto" }
  local function only(list)
    return type(list) == "table" and #list == 1 and type(list[1]) == "table" and list[1] or nil
  end
  local user, group = only(users), only(groups)
  local uid, gid = core.idmap.who()
  if simple[users] and (groups == nil or groups == users) then
    words[#words + 1] = simple[users]
  elseif user and group and user[1] == 0 and user[2] == uid and user[3] == 1 and group[1] == 0 and group[2] == gid and group[3] == 1 then
    words[#words + 1] = simple.root
  else
    for _, pair in ipairs { { "--map-users=", users, user }, { "--map-groups=", groups, group } } do
      local range = pair[3]
      if range then
        words[#words + 1] = ("%s%.0f,%.0f,%.0f"):format(pair[1], range[2], range[1], range[3])
      elseif pair[2] then
        notes.maps = "its id maps"
      end
    end
  end
  if plan.setgroups then
    words[#words + 1] = "--setgroups=" .. plan.setgroups
  end
end

local function unsharing(job, plan, view, call, notes)
  local asked = {}
  for _, t in ipairs(types) do
    asked[t] = planning.has(job.unshare, flags[t])
  end
  if view and not (plan.mounts or plan.mount_proc or plan.binfmt) then
    local own = type(plan.unshare) == "table" and table.concat(plan.unshare, ",") or plan.unshare or ""
    asked.mount = own:find "mount" ~= nil or own:find "mnt" ~= nil or own == "all"
  end
  local words, files = {}, {}
  for _, entry in ipairs(job.persist or {}) do
    files[entry.type] = entry.path
  end
  for _, t in ipairs(types) do
    if asked[t] then
      words[#words + 1] = "--" .. t .. (files[flags[t]] and "=" .. files[flags[t]] or "")
    end
  end
  if not words[1] then
    return {}
  end
  table.insert(words, 1, "unshare")
  if asked.user then
    mapping(plan, words, notes)
  end
  if asked.pid and call ~= "exec" then
    words[#words + 1] = "--fork"
  end
  if plan.init then
    notes.init = "a pid 1 that reaps"
  end
  if plan.mount_proc then
    words[#words + 1] = "--mount-proc" .. (type(plan.mount_proc) == "string" and "=" .. plan.mount_proc or "")
  end
  if plan.propagation then
    append(words, { "--propagation", plan.propagation })
  end
  for _, offset in ipairs(job.time or {}) do
    append(words, { "--" .. offset.clock, ("%.0f"):format(offset.sec) })
  end
  return words
end

-- What is set up inside before the program is: a line of sh.
local function inside(job, plan)
  local lines = {}
  local function add(...)
    lines[#lines + 1] = sh.join { ... }
  end
  if plan.lo then
    add("ip", "link", "set", "lo", "up")
  end
  if job.hostname then
    add("hostname", job.hostname)
  end
  for _, m in ipairs(job.mounts or {}) do
    if m.bind then
      add("mount", "--bind", m.bind, m.to)
      if m.ro == 1 then
        add("mount", "-o", "remount,bind,ro", m.to)
      end
    else
      local options = (m.data or "") .. (m.ro == 1 and (m.data and ",ro" or "ro") or "")
      add("mount", "-t", "tmpfs", "-o", options ~= "" and options or "defaults", "tmpfs", m.to)
    end
  end
  if not lines[1] then
    return {}
  end
  lines[#lines + 1] = 'exec "$@"'
  return { "sh", "-c", table.concat(lines, " && "), "sh" }
end

local function credentials(job, notes)
  local words = {}
  if job.uid or job.gid or type(job.groups) == "table" then
    words[1] = "setpriv"
    if job.uid then
      words[#words + 1] = ("--reuid=%.0f"):format(job.uid)
    end
    if job.gid then
      words[#words + 1] = ("--regid=%.0f"):format(job.gid)
    end
    if type(job.groups) == "table" and job.groups[1] then
      local list = {}
      for i, group in ipairs(job.groups) do
        list[i] = ("%.0f"):format(group)
      end
      words[#words + 1] = "--groups=" .. table.concat(list, ",")
    else
      words[#words + 1] = job.groups == "keep" and "--keep-groups" or "--clear-groups"
    end
  end
  if job.keep_caps then
    notes.caps = "its capabilities"
  end
  if job.root then
    append(words, { "chroot", job.root })
  elseif job.root_fd then
    notes.root = "its root directory"
  end
  return words
end

local function environment(job, notes)
  local words = {}
  if job.clear_env then
    words[#words + 1] = "-i"
  end
  if job.cwd then
    words[#words + 1] = "--chdir=" .. job.cwd
  elseif job.cwd_fd then
    notes.cwd = "its working directory"
  end
  for _, entry in ipairs(job.env or {}) do
    if not entry:find "=" then
      append(words, { "-u", entry })
    end
  end
  for _, entry in ipairs(job.env or {}) do
    if entry:find "=" then
      words[#words + 1] = entry
    end
  end
  if words[1] then
    table.insert(words, 1, "env")
  end
  return words
end

local defaults = { run = "null", output = "null", spawn = "null" }

local function redirections(plan, call, notes)
  local before, after = "", ""
  local stdin = plan.stdin or defaults[call]
  if plan.input then
    local text = tostring(plan.input)
    if #text <= LONGEST_INPUT then
      before = "printf %s " .. sh.quote(text) .. " | "
    else
      after, notes.input = " </dev/null", ("its input, %d bytes"):format(#text)
    end
  elseif stdin == "null" then
    after = " </dev/null"
  elseif type(stdin) == "table" and stdin.file then
    after = " <" .. sh.quote(stdin.file)
  elseif stdin == "pipe" or type(stdin) == "number" or type(stdin) == "userdata" then
    notes.stdin = "stdin"
  end
  for key, fd in pairs { stdout = "", stderr = "2" } do
    local value = plan[key]
    if value == "null" then
      after = after .. (" %s>/dev/null"):format(fd)
    elseif value == "stdout" then
      after = after .. " 2>&1"
    elseif type(value) == "table" and value.file then
      after = after .. (" %s%s%s"):format(fd, value.append and ">>" or ">", sh.quote(value.file))
    elseif type(value) == "number" or type(value) == "userdata" then
      notes[key] = key
    end
  end
  if plan.pty then
    notes.pty = "its terminal"
  end
  return before, after
end

-- A job as a command line; what it leaves out.
local function line_of(job, call, plan)
  local notes, words = {}, {}
  if job.timeout then
    append(words, { "timeout", ("%g"):format(job.timeout) })
  end
  local enter, view = entering(job, notes)
  append(words, enter)
  append(words, unsharing(job, plan, view, call, notes))
  append(words, inside(job, plan))
  append(words, credentials(job, notes))
  append(words, environment(job, notes))
  local argv = job.argv or {}
  if argv[2] == "--rcfile" and tostring(argv[3]):find "^/dev/fd/" then
    argv = { argv[1], argv[4] } -- the prompt of nslua.shell comes through an fd
  elseif type(plan.fds) == "table" and plan.fds[1] ~= nil then
    notes.fds = "fds it keeps"
  end
  append(words, argv)
  local before, after = redirections(plan, call, notes)
  local left = {}
  for _, note in pairs(notes) do
    left[#left + 1] = note
  end
  table.sort(left)
  return before .. sh.join(words) .. after, left[1] and "; not in the line: " .. table.concat(left, ", ") or ""
end

-- Children by their handle.
local children = setmetatable({}, { __mode = "k" })
local raw

local function ended(info, how, number)
  local result = how == "exited" and ("exit %d"):format(number) or how == "killed" and "SIG" .. (signal_names[number] or ("%d"):format(number))
    or "ended"
  local took = out.time(core.fd.clock() - info.began)
  info.told = true
  if info.call == "run" or info.call == "output" then
    out.effect(info.text, ("%s %s%s"):format(took, result, info.note))
  else
    out.comment(("pid %d (%s): %s after %s"):format(info.pid, info.program, result, took))
  end
end

local function reap(child)
  local how, number, errno = raw.reap(child)
  local info = children[child]
  if how and info and not info.told then
    ended(info, how, number)
  end
  return how, number, errno
end

local function kill(child, signal, ...)
  local sent, message, errno = raw.kill(child, signal, ...)
  local info = children[child]
  if sent and info and not info.told and info.call == "spawn" and signal > 0 then
    local name = signal_names[signal] or ("%d"):format(signal)
    if not (info.term and (name == "CONT" or name == "KILL")) then -- how the library ends a program
      out.closing(("kill -s %s \"$p%d\""):format(name, info.pid), "ok")
    end
    info.term = info.term or name == "TERM"
  end
  return sent, message, errno
end

-- The line of a job; it never raises: a trace may not stop a script.
local function describe(job)
  local how = prepared[job] or { call = "run", plan = {} }
  local ok, text, note = pcall(line_of, job, how.call, how.plan)
  if not ok then
    return how.call, sh.join(job.argv or {}), ("; not in the line: %s"):format(sh.flat(tostring(text)))
  end
  return how.call, text, note
end

-- Told of a child: a program that is waited for when it ends, others at once.
local function started(call, text, note, child, began, program)
  local pid = child:pid()
  local info = { call = call, text = text, note = note, began = began, pid = pid, program = program }
  children[child] = info
  local took = out.time(core.fd.clock() - began)
  if call == "fork" then
    out.comment(text, ("%s pid %d%s"):format(took, pid, note))
  elseif call == "spawn" then
    out.effect(("%s & p%d=$!"):format(text, pid), ("%s pid %d%s"):format(took, pid, note))
  end
end

local function wrap_child(child)
  local methods = getmetatable(child).__index
  raw = { reap = methods.reap, kill = methods.kill }
  methods.reap, methods.kill = reap, kill
end

local function start_spawn(original)
  return function(job)
    local call, text, note = describe(job)
    if call == "fork" then
      text = ("fork: %s(a Lua function)"):format(text ~= "" and text .. " " or "")
    end
    local program = job.argv and job.argv[1] or "function"
    local began = core.fd.clock()
    local child, b, errno, step, detail = original(job)
    if child then
      if not raw then
        wrap_child(child)
      end
      started(call, text, note, child, began, program)
    elseif child == false then
      out.forked()
    else
      out.comment(text, ("%s %s%s"):format(out.time(core.fd.clock() - began), out.failure(errno, tostring(b)),
        type(step) == "string" and " (" .. step .. ")" or ""))
    end
    return child, b, errno, step, detail
  end
end

local function start_exec(original)
  return function(job)
    local _, text, note = describe(job)
    out.finish()
    out.effect("exec " .. text, "this process becomes the program" .. note)
    local a, b, errno, step, detail = original(job)
    out.comment("exec failed", out.failure(errno, tostring(b)) .. (type(step) == "string" and " (" .. step .. ")" or ""))
    return a, b, errno, step, detail
  end
end

---Put the printing versions in the place of the core's.
function M.start()
  local prepare = planning.prepare
  function planning.prepare(call, plan, ...)
    local job = prepare(call, plan, ...)
    prepared[job] = { call = call, plan = plan }
    return job
  end
  core.process.spawn = start_spawn(core.process.spawn)
  core.process.exec = start_exec(core.process.exec)
end

return M
