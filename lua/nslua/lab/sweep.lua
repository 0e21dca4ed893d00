-- ns.sweep: the same experiment in fresh labs, over a grid of parameters, several times each, in parallel.

local check = require "nslua.check"
local core = require "nslua.core"
local errors = require "nslua.error"
local journal = require "nslua.lab.sweep.journal"
local lab = require "nslua.lab"
local points = require "nslua.lab.sweep.points"
local process = require "nslua.process"
local procfs = require "nslua.procfs"
local progress = require "nslua.lab.sweep.progress"
local results = require "nslua.lab.sweep.results"
local units = require "nslua.units"

local M = {}

---@class nslua.SweepOptions
---@field lab string|nslua.lab.Said|fun(point: table): string|nslua.lab.Said  a text may say $name: the value of that parameter
---@field over table<string, any[]>|{ [1]: string, [2]: any[] }[]  the parameters and their values; a list of { name, values } keeps its order
---@field run fun(lab: nslua.Lab, point: table<string, any>, number: integer): number|table<string, number>  the experiment; it runs in a
---                                              process of its own, on copies of what it uses, and what it returns are the figures
---@field repeats? integer          of each point; default 5
---@field jobs? integer             that run at the same time; default: as many as there are processors. What measures rates is truer with 1
---@field seed? integer             default 1. Each repeat's labs are of the seed after; a lab that says a seed keeps it
---@field timeout? number|string    seconds of one run; a run that takes longer has failed. Default: none
---@field file? string              what is done is written there, and not done again when the sweep is started again
---@field progress? boolean|fun(done: integer, total: integer, failed: integer)  default: a bar on stderr where that is a terminal

local words = { lab = "string|table|function", over = "table", run = "function", repeats = "integer", jobs = "integer", seed = "integer",
  timeout = "number|string", file = "string", progress = "boolean|function" }

-- Those that this process may use.
local function processors()
  local list = (procfs.read "/proc/self/status" or ""):match "Cpus_allowed_list:%s*(%S+)" or "0"
  local n = 0
  for first, last in list:gmatch "(%d+)%-?(%d*)" do
    n = n + 1 + (last ~= "" and last - first or 0)
  end
  return math.max(1, math.tointeger(n))
end

local function positive(options, name, default)
  local n = options[name] or default
  if n < 1 then
    errors.misuse("sweep: %s is at least 1, got %d", name, n)
  end
  return n
end

-- The lab of a point, with a seed where it says none.
local function topology(said, point, seed)
  if type(said) == "function" then
    local copy = {}
    for k, v in pairs(point) do
      copy[k] = v
    end
    said = said(copy)
  end
  local out = lab.topology(type(said) == "string" and points.fill(said, point) or said)
  out.seed = out.seed or seed
  return out
end

-- What an experiment gave, as figures by their names.
local function figures(value, point)
  if type(value) == "number" or type(value) == "boolean" then
    value = { value = value }
  elseif type(value) ~= "table" or next(value) == nil then
    error("run is to return a number, or figures by name ({ goodput = 1e6 }), and returned "
      .. (type(value) == "table" and "an empty table" or type(value)), 0)
  end
  local out = {}
  for name, figure in pairs(value) do
    if type(name) ~= "string" or type(figure) ~= "number" and type(figure) ~= "boolean" then
      error(("run returned %s = %s: figures are numbers, by their names"):format(tostring(name), type(figure)), 0)
    elseif points.reserved[name] or point[name] ~= nil then
      error(("run returned %s: that is the name of %s already"):format(name, point[name] ~= nil and "a parameter" or "a column of the results"), 0)
    end
    out[name] = figure == true and 1 or figure == false and 0 or figure
  end
  return out
end

-- In a process of its own.
local function experiment(options, job)
  local built <close> = lab.new(topology(options.lab, job.point, job.seed))
  return figures(options.run(built, job.point, job.number), job.point)
end

local function start(options, job)
  job.started = core.fd.clock()
  job.process = process.fork({ stdin = "null" }, experiment, options, job)
  return job
end

local function row_of(job, values, message, elapsed)
  return { point = job.point, name = job.name, index = job.index, number = job.number, seed = job.seed, values = values, error = message,
    elapsed = elapsed }
end

local function finish(job, late)
  local ok, values, message
  if late then
    values, message = nil, ("took longer than %g s"):format(late)
  else
    ok, values = pcall(job.process.result, job.process)
    if not ok then
      values, message = nil, tostring(values)
    end
  end
  job.process:close()
  return row_of(job, values, message, core.fd.clock() - job.started)
end

-- Whether it has ended; what it has written of its result is taken: more than a pipe holds would keep it from its end.
local function is_over(job)
  return job.process:wait(0) ~= nil
end

-- Those that ended, or took too long, out of those that run.
local function ended(running, limit)
  local now, left, list = core.fd.clock(), nil, {}
  for _, job in ipairs(running) do
    local result = job.process.returns
    list[#list + 1] = { job.process:pollfd(), "r" }
    list[#list + 1] = result.fd and { result.fd, "r" } or nil
    left = limit and math.min(left or limit, math.max(0, job.started + limit - now))
  end
  core.fd.poll(list, left)
  now = core.fd.clock()
  local out = {}
  for i = #running, 1, -1 do
    local job = running[i]
    local over = is_over(job)
    local late = not over and limit and now - job.started >= limit
    if over or late then
      table.remove(running, i)
      out[#out + 1] = finish(job, late and limit or nil)
    end
  end
  return out
end

local function all_jobs(options, parameters)
  local out = {}
  for _, point in ipairs(points.grid(parameters)) do
    local name = points.name(parameters, point)
    for number = 1, positive(options, "repeats", 5) do
      out[#out + 1] = { point = point, name = name, number = number, seed = (options.seed or 1) + number - 1, index = #out + 1 }
    end
  end
  return out
end

-- Run what is not done yet; rows[i] is of jobs[i].
local function work(options, jobs, file, bar)
  local rows, running, next_one = {}, {}, 1
  local most = positive(options, "jobs", processors())
  local limit = options.timeout and units.duration(options.timeout, "sweep: timeout")
  local _ <close> = setmetatable({}, { __close = function() -- also when a signal ends the script
    for _, job in ipairs(running) do
      pcall(job.process.close, job.process)
    end
  end })
  while true do
    while next_one <= #jobs and #running < most do
      local job = jobs[next_one]
      next_one = next_one + 1
      local before = file and file:get(job.name, job.number)
      if before then
        rows[job.index] = row_of(job, before.values, nil, before.elapsed)
        bar:step(false, true)
      else
        running[#running + 1] = start(options, job)
      end
    end
    if not running[1] then
      return rows
    end
    for _, row in ipairs(ended(running, limit)) do
      rows[row.index] = row
      if file then
        file:add { point = row.name, number = row.number, values = row.values, error = row.error, elapsed = row.elapsed }
      end
      bar:step(row.error ~= nil, false)
    end
  end
end

---Run an experiment over a grid: every combination of the parameters, `repeats` times, each in a lab of its own. A run that raises has failed; the
---others go on. Raises where all of them failed.
---@param options nslua.SweepOptions
---@return nslua.Sweep
function M.sweep(options)
  if type(options) ~= "table" then
    errors.misuse("sweep: a table expected, got %s", type(options))
  end
  check.options("sweep", options, words)
  for _, word in ipairs { "lab", "over", "run" } do
    if options[word] == nil then
      errors.misuse("sweep: %s is missing", word)
    end
  end
  local parameters = points.parameters(options.over)
  local jobs = all_jobs(options, parameters)
  if options.timeout and units.duration(options.timeout, "sweep: timeout") <= 0 then
    errors.misuse "sweep: timeout must be more than nothing"
  end
  topology(options.lab, jobs[1].point, 1) -- what is wrong with the text is told before anything runs
  local names = {}
  for i, parameter in ipairs(parameters) do
    names[i] = parameter.name
  end
  local file <close> = options.file and journal.open(options.file, { parameters = names, seed = options.seed or 1,
    lab = type(options.lab) == "string" and options.lab or nil }) or nil
  local bar <close> = progress.new(options.progress, #jobs)
  bar:draw()
  local rows = work(options, jobs, file, bar)
  local out = results.new(parameters, rows)
  if out.failed == #rows then
    errors.raise { call = "sweep", message = ("all %d runs failed; the first (%s): %s"):format(#rows, rows[1].name, rows[1].error) }
  end
  return out
end

return M
