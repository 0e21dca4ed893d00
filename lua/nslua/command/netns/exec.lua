-- nslua netns exec, shell: programs in named namespaces.

local core = require "nslua.core"
local errors = require "nslua.error"
local ns = require "nslua"
local words = require "nslua.command.netns.words"

local M = {}

local fail, open = words.fail, words.open

-- What ip netns exec says of a program that cannot be run.
local function explain(e, argv)
  if not errors.is(e) then
    error(e, 0)
  elseif e.step == "exec" then
    return fail(1, 'exec of "%s" failed: %s', argv[1], core.strerror(e.errno))
  end
  return fail(1, "%s", require "nslua.command.cli.options".line(e))
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
  local fds = require "nslua.command.cli.program".fds()
  collectgarbage "restart" -- that stops it, for what is replaced by its program
  for _, name in ipairs(names) do
    print("\nnetns: " .. words.shown(name))
    io.stdout:flush()
    local handle <close> = open(name)
    if handle then
      check_etc(name)
      local ok, e = pcall(handle.run, handle, { stdin = "inherit", stdout = "inherit", stderr = "inherit", fds = fds, table.unpack(argv) })
      if not ok then
        explain(e, argv)
      end
    end
  end
  return 0
end

-- Copy the lines that are there, each behind its name.
local function copy(stream, to, name)
  while stream and not stream.over do
    local line, reason = stream:read("l", 0)
    if not line then
      stream.over = reason ~= "timeout"
      return
    end
    to:write(name, ": ", line, "\n")
    to:flush()
  end
end

---Run the program in every namespace, `jobs` at a time.
---@param names string[]
---@param argv string[]
---@param jobs integer
---@return integer status  1 if one of them failed
local function parallel(names, argv, jobs)
  local running, at, status = {}, 0, 0
  local all <close> = setmetatable(running, { __close = function() -- luacheck: ignore 211
    for _, job in ipairs(running) do
      job.process:close()
      job.handle:close()
    end
  end })
  while true do
    while #running < jobs and names[at + 1] do
      at = at + 1
      local handle = open(names[at])
      local ok, process = pcall(function()
        return handle and handle:spawn { stdout = "pipe", stderr = "pipe", table.unpack(argv) }
      end)
      if ok and process then
        running[#running + 1] = { handle = handle, process = process, name = names[at] }
      else
        status = 1
        if not ok then
          explain(process, argv)
        end
        if handle then
          handle:close()
        end
      end
    end
    if #running == 0 then
      return status
    end
    local list = {}
    for _, job in ipairs(running) do
      for _, key in ipairs { "stdout", "stderr" } do
        if not job.process[key].over then
          list[#list + 1] = job.process[key]
        end
      end
      list[#list + 1] = job.process
    end
    ns.wait(list)
    for i = #running, 1, -1 do
      local job = running[i]
      copy(job.process.stdout, io.stdout, job.name)
      copy(job.process.stderr, io.stderr, job.name)
      local result = job.process:wait(0)
      if result then
        copy(job.process.stdout, io.stdout, job.name)
        copy(job.process.stderr, io.stderr, job.name)
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
  local program = require "nslua.command.cli.program" -- first: it lets nothing be collected until the program runs
  local plan = { join = { net = handle }, fds = program.fds(), table.unpack(o) }
  local ok, e = pcall(ns.exec, plan)
  return not ok and explain(e, o)
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
  return handle:shell()
end

return M
