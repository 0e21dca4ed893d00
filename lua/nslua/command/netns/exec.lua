-- nslua netns exec, shell: programs in named namespaces.

local core = require "nslua.core"
local errors = require "nslua.error"
local ns = require "nslua"
local words = require "nslua.command.netns.words"

local M = {}

local fail, open = words.fail, words.open

-- What ip netns exec says of a program that cannot be run.
local function explain(e, name, program)
  if not errors.is(e) then
    error(e, 0)
  elseif e.step == "exec" then
    return fail(1, 'exec of "%s" failed: %s', program, core.strerror(e.errno))
  elseif e.step == "join net" then
    return words.explain(255, ('setting the network namespace "%s" failed'):format(name), e)
  end
  return fail(255, "%s", require "nslua.command.cli.options".line(e))
end

-- Say which files of /etc/netns/NAME have nothing to be put over.
local function check_etc(name)
  local from = "/etc/netns/" .. name
  for _, entry in ipairs(core.file.list(from) or {}) do
    local path, over = from .. "/" .. entry, "/etc/" .. entry
    local there, here = core.file.stat(path), core.file.stat(over)
    local why = not here and "ENOENT" or there and (there.type == "directory") ~= (here.type == "directory") and "ENOTDIR"
    if why then
      fail(0, "Bind %s -> %s failed: %s", path, over, core.strerror(core.errno[why]))
    end
  end
end

-- One after the other, as ip does it; how they end does not matter to it.
local function serial(names, argv)
  for _, name in ipairs(names) do
    print("\nnetns: " .. words.shown(name))
    io.stdout:flush()
    local handle <close> = open(name)
    if handle then
      check_etc(name)
      local ok, e = pcall(handle.run, handle, { stdin = "inherit", stdout = "inherit", stderr = "inherit", fds = "inherit", table.unpack(argv) })
      if not ok then
        explain(e, name, argv[1])
      end
    end
  end
  return 0
end

-- At most so much is in a pipe that a program leaves behind, whatever those that it started go on to write.
local PIPE = 1048576

-- Copy whole lines of what a program writes, each behind its name; at its end (`rest`) what is no whole line, too.
local function copy(job, key, rest)
  local stream, parts, got = job.process[key], job[key], 0
  repeat
    local text, reason = stream:read("some", 0)
    if text then
      parts[#parts + 1] = text
      got = got + #text
    elseif reason ~= "timeout" then
      stream.over = true
    end
  until not rest or not text or got >= PIPE
  if not (rest or stream.over or parts[1] and parts[#parts]:find("\n", 1, true)) then
    return
  end
  local text = table.concat(parts)
  local whole, part = text:match "^(.*\n)(.*)$"
  if (rest or stream.over) and text ~= "" and part ~= "" then
    whole, part = text .. "\n", ""
  end
  job[key] = { part ~= "" and part or nil }
  if whole then
    local to = key == "stdout" and io.stdout or io.stderr
    to:write((whole:gsub("[^\n]*\n", job.prefix[key])))
    to:flush()
  end
end

local function prefix(name, fd)
  return words.shown(name, fd):gsub("%%", "%%%%") .. ": %0"
end

-- Start the program in a namespace: a job; or nil, and whether that can be tried again when others have ended.
local function start(name, argv)
  local handle = open(name)
  if not handle then
    return nil
  end
  local ok, process = pcall(handle.spawn, handle, { stdout = "pipe", stderr = "pipe", table.unpack(argv) })
  if ok then
    check_etc(name)
    return { handle = handle, process = process, stdout = {}, stderr = {}, prefix = { stdout = prefix(name, 1), stderr = prefix(name, 2) } }
  end
  handle:close()
  if errors.is(process, "EMFILE") or errors.is(process, "ENFILE") or errors.is(process, "EAGAIN") then
    return nil, process
  end
  io.stderr:write(words.shown(name, 2), ": ")
  explain(process, name, argv[1])
end

-- What a wait is for.
local function sources(running)
  local list = {}
  for _, job in ipairs(running) do
    for _, key in ipairs { "stdout", "stderr" } do
      if not job.process[key].over then
        list[#list + 1] = job.process[key]
      end
    end
    list[#list + 1] = job.process
  end
  return list
end

---Run the program in every namespace, `jobs` at a time. Where this process is ended, so are they, all at once.
---@param names string[]
---@param argv string[]
---@param jobs integer
---@return integer status  1 if one of them failed
local function parallel(names, argv, jobs)
  local running, at, status = {}, 0, 0
  while true do
    while #running < jobs and names[at + 1] do
      local job, short = start(names[at + 1], argv)
      if short and running[1] then
        jobs = #running -- so many at a time fit
        break
      elseif short then
        explain(short, names[at + 1], argv[1])
      end
      at = at + 1
      status = job and status or 1
      running[#running + 1] = job
    end
    if #running == 0 then
      return status
    end
    ns.wait(sources(running))
    for i = #running, 1, -1 do
      local job = running[i]
      local result = job.process:wait(0)
      copy(job, "stdout", result)
      copy(job, "stderr", result)
      if result then
        status = result.ok and status or 1
        job.process:close()
        job.handle:close()
        table.remove(running, i)
      end
    end
  end
end

function M.exec(o)
  if o.all then
    if not o[1] then
      return fail(1, "No command specified")
    end
    local names = {}
    for i, row in ipairs(ns.netns.list()) do
      names[i] = row.name
    end
    if not o.jobs then
      return serial(names, o)
    end
    local jobs = words.integer(o.jobs)
    if not jobs or jobs < 1 then
      return fail(255, "--jobs: '%s' is no number of programs", o.jobs)
    end
    return parallel(names, o, jobs)
  end
  local name = table.remove(o, 1)
  if not name then
    return fail(1, "No netns name specified")
  elseif not o[1] then
    return fail(1, "No command specified")
  end
  local handle <close>, status = open(name)
  if not handle then
    return status
  end
  check_etc(name)
  local plan = { join = { net = handle }, fds = "inherit", table.unpack(o) }
  local ok, e = pcall(ns.exec, plan)
  return not ok and explain(e, name, o[1])
end

function M.shell(o)
  if not o[1] then
    return fail(1, "No netns name specified")
  end
  local handle <close>, status = open(o[1])
  if not handle then
    return status
  end
  check_etc(o[1])
  local ok, result = pcall(handle.shell, handle)
  return ok and result or explain(result, o[1], os.getenv "SHELL" or "/bin/sh")
end

return M
