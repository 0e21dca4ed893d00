-- How the commands of probes run them: all at the same time, told as they end, in a table or as JSON; Ctrl-C keeps what there is.

local columns = require "nslua.command.cli.columns"
local errors = require "nslua.error"
local host = require "nslua.host"
local ns = require "nslua"
local options = require "nslua.command.cli.options"
local schema = require "nslua.schema"
local why = require "nslua.command.probe.why"
local where = require "nslua.command.probe.where"

local M = {}

M.safe = columns.safe

-- Options that all of them have.
M.options = {
  from = { "I", "from", arg = "address", help = "send from this address, or from this link" },
  four = { "4", "ipv4", help = "over IPv4; with -6: over both" },
  six = { "6", "ipv6", help = "over IPv6" },
  verbose = { "v", "verbose", help = "a line for each result as it comes, where it is no terminal too" },
  quiet = { "q", "quiet", help = "no such lines" },
  json = { "j", "json", help = "print JSON: exact values, seconds, bytes" },
}

M.notes = "Where: a container (web, docker:web, pod:default/web), a name of ip netns, a pid, a path, or . for this namespace; several with commas.\n"
  .. "Targets: addresses, host names as a program inside finds them (its hosts file, its resolv.conf), else names of containers;\n"
  .. "a dot is this namespace.\n"
  .. "The status is 0 where all went well, 1 where something did not, 2 where it could not be asked."

---@param declaration table
---@return nslua.cli.Declaration
function M.declare(declaration)
  declaration.status = 2
  declaration.operands = declaration.operands or "container"
  declaration.notes = (declaration.notes and declaration.notes .. "\n" or "") .. M.notes
  return options.declare(declaration)
end

---A number of an option; durations in seconds, or "100ms".
---@param o table
---@param key string
---@param least number
---@param most number
---@return number?
function M.number(o, key, least, most)
  local text = o[key]
  if not text then
    return nil
  end
  local n = tonumber(text)
  if not n and text:find "^[%d.]+m?s$" then
    n = tonumber((text:gsub("m?s$", "")))
    n = n and text:find "ms$" and n / 1000 or n
  end
  if not n or n ~= n or n < least or n > most then
    errors.misuse("invalid argument of --%s: '%s' (%s to %s)", key, text, ("%g"):format(least), ("%g"):format(most))
  end
  return n
end

---@param o table
---@param key string
---@param least integer
---@param most integer
---@return integer?
function M.integer(o, key, least, most)
  local n = M.number(o, key, least, most)
  if n and not math.tointeger(n) then
    errors.misuse("invalid argument of --%s: '%s' is no whole number", key, o[key])
  end
  return n and math.tointeger(n)
end

---Milliseconds, readable.
---@param seconds? number
---@return string
function M.ms(seconds)
  if not seconds then
    return ""
  end
  local ms = seconds * 1000
  return ms < 10 and ("%.3f ms"):format(ms) or ms < 1000 and ("%.1f ms"):format(ms) or ("%.2f s"):format(seconds)
end

---@class nslua.probe.Job
---@field source { name: string, handle: nslua.Netns }
---@field target string   as it was typed
---@field family? "inet"|"inet6"
---@field address? string
---@field container? string  whose address it is, where no resolver knows the name
---@field result? table
---@field [string] any

---A job for each source, target and family.
---@param sources table[]
---@param targets table[]  fields of the jobs
---@param families table
---@return nslua.probe.Job[]
function M.jobs(sources, targets, families)
  local out = {}
  for _, source in ipairs(sources) do
    for _, target in ipairs(targets) do
      for _, family in ipairs(families) do
        local job = { source = source, family = family or nil }
        for key, value in pairs(target) do
          job[key] = value
        end
        out[#out + 1] = job
      end
    end
  end
  return out
end

---The jobs' fields for each target of the command's words.
---@param o table
---@param host_of? fun(word: string): string  the host in it, where the word is more
---@return table[]
function M.targets(o, host_of)
  local out = {}
  for i = 2, #o do
    out[#out + 1] = { target = o[i], host = host_of and host_of(o[i]) or o[i] }
  end
  return out
end

---The plan of all jobs, with what is one's own.
---@param plan table
---@param own table  taken as it is
---@return table own
function M.with(plan, own)
  for key, value in pairs(plan) do
    own[key] = value
  end
  return own
end

---Why, behind what a line says; nothing where there is no reason.
---@param reason string
---@return string
function M.because(reason)
  return reason ~= "" and ": " .. M.safe(reason) or ""
end

---What a job is called: "10.0.0.2", "db (10.0.0.3)", with where it is from where there are several.
---@param job nslua.probe.Job
---@param several boolean
---@return string
function M.title(job, several)
  local text = job.target
  if job.address and job.host ~= job.address and job.target ~= job.address then
    text = ("%s (%s)"):format(text, job.address)
  end
  return M.safe(several and job.source.name .. " > " .. text or text)
end

-- Find out whom a job is for, then do it; what cannot be is its result.
local function work(job, probe)
  local ok, result = pcall(function()
    if job.host then
      job.address, job.container = where.address(job.source.handle, job.host, job.family)
    end
    return probe(job)
  end)
  if ok then
    return result
  elseif not errors.is(result) then
    error(result, 0)
  end
  return { error = result.code or "EIO", message = why.line(result), failed = true }
end

---Do all jobs.
---@param jobs nslua.probe.Job[]
---@param o table  options
---@param probe fun(job: nslua.probe.Job): table
---@param line? fun(job: nslua.probe.Job): string?  what is told as a job ends
---@return boolean interrupted
function M.all(jobs, o, probe, line)
  local interrupted = false
  local live = M.live(o)
  local functions = {}
  for i, job in ipairs(jobs) do
    functions[i] = function()
      return work(job, probe)
    end
  end
  host.loop(function(was)
    if was then
      interrupted = true
      return false
    end
    ns.probe.together(functions, function(i, result)
      jobs[i].result = result
      local text = live and line and line(jobs[i])
      if text then
        io.write(text, "\n")
        io.flush()
      end
    end)
    return false
  end)
  return interrupted
end

---Whether results are told as they come.
---@param o table
---@return boolean
function M.live(o)
  return not o.json and not o.quiet and (o.verbose or host.is_terminal(1)) and true or false
end

---@param jobs nslua.probe.Job[]
function M.json(jobs)
  local list = {}
  for i, job in ipairs(jobs) do
    local each = { netns = job.source.name, target = job.target, container = job.container, address = job.address }
    for key, value in pairs(job.result or { error = "EINTR" }) do
      if key ~= "failed" then
        each[key] = value
      end
    end
    list[i] = each
  end
  io.write(schema.json(list), "\n")
end

---Print a table, one line a job, and say whose addresses names were that no resolver knows.
---@param name string
---@param jobs nslua.probe.Job[]
---@param heads nslua.cli.Column[]
---@param row fun(job: nslua.probe.Job): table
function M.table(name, jobs, heads, row)
  local lines, several = {}, false
  for i, job in ipairs(jobs) do
    lines[i] = row(job)
    lines[i].FROM, lines[i].TARGET = job.source.name, lines[i].TARGET or job.target
    lines[i].ADDRESS = lines[i].ADDRESS or job.address or ""
    several = several or job.source ~= jobs[1].source
  end
  local list = { several and { name = "FROM" } or nil }
  local filled = {}
  for _, line in ipairs(lines) do
    for key, value in pairs(line) do
      filled[key] = filled[key] or value ~= ""
    end
  end
  for _, head in ipairs(heads) do
    if filled[head.name] then
      list[#list + 1] = head
    end
  end
  columns.print(name, list, lines, {})
  local said = {}
  for _, job in ipairs(jobs) do
    if job.container and not job.host:find ":" and job.host ~= "." and not said[job.host] then
      said[job.host] = true
      io.write(("%s is no name that %s knows; this is the address of %s\n"):format(M.safe(job.host), M.safe(job.source.name), M.safe(job.container)))
    end
  end
end

---Print what came: as JSON, or a table, behind an empty line where results were told as they came.
---@param name string
---@param o table
---@param jobs nslua.probe.Job[]
---@param heads nslua.cli.Column[]
---@param row fun(job: nslua.probe.Job): table
function M.print(name, o, jobs, heads, row)
  if o.json then
    return M.json(jobs)
  end
  io.write(M.live(o) and "\n" or "")
  M.table(name, jobs, heads, row)
end

---@param jobs nslua.probe.Job[]
---@param good fun(result: table): boolean?
---@return integer status
function M.status(jobs, good)
  for _, job in ipairs(jobs) do
    if not job.result or job.result.failed or not good(job.result) then
      return 1
    end
  end
  return 0
end

return M
