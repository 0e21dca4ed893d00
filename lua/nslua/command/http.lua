-- ask by HTTP from inside a container or namespace, many URLs at the same time
--
-- Host names are those that a program inside would find. Redirections are not followed, and no TLS is spoken.

local errors = require "nslua.error"
local host = require "nslua.host"
local run = require "nslua.command.probe.run"
local where = require "nslua.command.probe.where"
local why = require "nslua.command.probe.why"

local USAGE = "nslua http web http://api:8080/health"

local declaration = run.declare {
  name = "http", usage = "[options] <container | netns | .>[,...] <url>...",
  summary = "Send a request of HTTP from a network namespace for each URL, all at the same time.",
  run.options.four, run.options.six,
  { "X", "request", arg = "method", help = "the method (default GET, with -d POST)" },
  { "H", "header", arg = "name: value", many = true, help = "a header field; Host and others may be given too" },
  { "d", "data", arg = "text", help = "the body" },
  { "W", "timeout", arg = "seconds", help = "for all of it (default 5)" },
  { "i", "include", help = "print the header fields of the answers" },
  { "b", "body", help = "print the bodies; escaped at a terminal" },
  { "a", "address", arg = "address", help = "connect to this address, whatever the URL says" },
  run.options.from, run.options.verbose, run.options.quiet, run.options.json,
  examples = {
    { USAGE, "whether an API answers a container, and with what" },
    { "nslua http -b . http://10.0.0.2/ | head", "the body" },
  },
}

local function host_of(url)
  if url:lower():find "^https://" then
    errors.misuse("'%s': no TLS is spoken here; a program can: nslua enter web curl %s", url, url)
  end
  local authority = (url:match "^%a[%w+.-]*://(.*)$" or url):match "^[^/?#]*"
  return authority:match "^%[(.-)%]" or authority:match "^[^:]*"
end

local function fields(o)
  local out = {}
  for _, text in ipairs(o.header or {}) do
    local name, value = text:match "^([^:]+):%s*(.*)$"
    if not name then
      errors.misuse("--header '%s': name: value is needed", text)
    end
    out[name] = value
  end
  return out
end

local function print_answer(job, o)
  local r = job.result
  if o.include and r.status then
    io.write(("HTTP %d %s\n"):format(r.status, run.safe(r.reason or "")))
    for _, field in ipairs(r.fields or {}) do
      io.write(run.safe(field.name), ": ", run.safe(field.value), "\n")
    end
    io.write "\n"
  end
  if o.body and r.body then
    if host.is_terminal(1) then
      for line, stop in r.body:gmatch "([^\n]*)(\n?)" do
        io.write(run.safe((line:gsub("\r$", ""))), stop)
      end
      io.write(r.body:find "\n$" and "" or "\n")
    else
      io.write(r.body)
    end
  end
end

return function(args)
  return declaration:run(args, function(o)
    local sources <close> = where.sources(o[1], USAGE)
    if not o[2] then
      return declaration:wrong "what? At least one URL is needed"
    end
    local timeout = run.number(o, "timeout", 0, 86400) or 5
    local plan = { method = o.request, headers = fields(o), body = o.data, timeout = timeout, from = o.from }
    local jobs = run.jobs(sources, run.targets(o, function(url)
      return o.address or host_of(url)
    end), where.families(o))
    local function state(r)
      return r.status and ("%d %s"):format(r.status, r.reason or "") or "no answer"
    end
    local function reason(job)
      local r = job.result
      return not r and "interrupted" or r.error and why.of(job.source.handle, r, timeout) or ""
    end
    run.all(jobs, o, function(job)
      return job.source.handle:http(job.target, run.with(plan, { address = job.address }))
    end, function(job)
      return not (o.body or o.include) and ("%s: %s %s%s"):format(run.title(job, #sources > 1), run.safe(state(job.result)),
        run.ms(job.result.elapsed), run.because(reason(job))) or nil
    end)
    if (o.body or o.include) and not o.json then
      for _, job in ipairs(jobs) do
        print_answer(job, o)
        local text = reason(job)
        if text ~= "" then
          io.stdout:flush()
          io.stderr:write(("nslua http: %s: %s\n"):format(run.title(job, #sources > 1), run.safe(text)))
        end
      end
    else
      run.print("http", o, jobs, { { name = "TARGET" }, { name = "ADDRESS" }, { name = "STATUS" }, { name = "BYTES", right = true },
        { name = "CONNECT", right = true }, { name = "TIME", right = true }, { name = "LEADS TO" }, { name = "WHY" } }, function(job)
        local r = job.result or {}
        return { STATUS = state(r), BYTES = r.status and ("%d"):format(#r.body) or "", CONNECT = run.ms(r.connect), TIME = run.ms(r.elapsed),
          ["LEADS TO"] = r.headers and r.headers.location or "", WHY = reason(job) }
      end)
    end
    return run.status(jobs, function(r)
      return r.ok
    end)
  end)
end
