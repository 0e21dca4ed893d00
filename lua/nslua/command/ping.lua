-- ping from inside a container or namespace, many targets at the same time
--
-- Nothing is needed in the container: the requests are sent from its network by this process. Results are told as they come at a terminal,
-- then in a table; Ctrl-C ends it with the table of what there is.

local ping = require "nslua.inspect.ping"
local run = require "nslua.command.probe.run"
local where = require "nslua.command.probe.where"
local why = require "nslua.command.probe.why"

local USAGE = "nslua ping web 10.0.0.2 db"

local declaration = run.declare {
  name = "ping", usage = "[options] <container | netns | .>[,...] <target>...",
  summary = "Send echo requests from a network namespace to each target, all at the same time.",
  run.options.four, run.options.six,
  { "c", "count", arg = "number", help = "of requests to each target (default 3); 0: until Ctrl-C" },
  { "i", "interval", arg = "seconds", help = "between two requests to a target (default 1)" },
  { "W", "timeout", arg = "seconds", help = "that each is waited for (default 1)" },
  { "s", "size", arg = "bytes", help = "of payload (default 56)" },
  { "t", "ttl", arg = "number", help = "TTL or hop limit" },
  { "M", "dont-fragment", help = "what is larger than the MTU of the path is lost, and who said so is told" },
  run.options.from, run.options.verbose, run.options.quiet, run.options.json,
  examples = {
    { USAGE, "an address and a name, from inside a container" },
    { "nslua ping -c 0 web,api db", "from two containers, until Ctrl-C" },
    { "nslua ping -M -s 1472 web example.org", "whether packets of 1,500 bytes get through" },
  },
}

local function event(job, e, several)
  local head = ("%s: seq %d "):format(run.title(job, several), e.seq)
  if e.rtt then
    return head .. ("ttl %s %s%s"):format(e.ttl and ("%d"):format(e.ttl) or "?", run.ms(e.rtt), e.duplicate and " (again)" or "")
  end
  return head .. (e.lost and "no answer" or why.of(job.source.handle, e))
end

-- What there is of a job that was ended.
local function partial(job)
  local replies, n = job.replies, job.over
  return { address = job.address, family = job.family, sent = n, received = #replies, loss = n > 0 and (n - #replies) / n or 0,
    duplicates = job.duplicates, rtt = ping.statistics(replies), replies = replies, errors = job.errors, interrupted = true }
end

local function reason(job)
  local r = job.result
  if r.failed then
    return r.message
  end
  local last = r.errors[#r.errors]
  if last then
    return why.of(job.source.handle, last)
  end
  return r.sent > 0 and r.received == 0 and why.silent(job.source.handle, r.address) or ""
end

return function(args)
  return declaration:run(args, function(o)
    local sources <close> = where.sources(o[1], USAGE)
    if not o[2] then
      return declaration:wrong "whom? At least one target is needed"
    end
    local count = run.integer(o, "count", 0, 4194304) or 3
    local plan = { count = count == 0 and 4194304 or count, interval = run.number(o, "interval", 0, 86400),
      timeout = run.number(o, "timeout", 0, 86400), size = run.integer(o, "size", 0, 65507), ttl = run.integer(o, "ttl", 1, 255),
      dont_fragment = o["dont-fragment"] and true or nil, from = o.from }
    local jobs = run.jobs(sources, run.targets(o), where.families(o))
    local live = run.live(o)
    local interrupted = run.all(jobs, o, function(job)
      local own = run.with(plan, {})
      job.replies, job.errors, job.over, job.duplicates = {}, {}, 0, 0
      function own.each(e)
        local list = e.rtt and job.replies or e.error and job.errors
        if e.duplicate then
          job.duplicates = job.duplicates + 1
        else -- counted before it is told: Ctrl-C may come behind each line
          job.over = job.over + 1
          if list then
            list[#list + 1] = e
          end
        end
        if live then
          io.write(event(job, e, #sources > 1), "\n")
          io.flush()
        end
      end
      return job.source.handle:ping(job.address, own)
    end, function(job)
      return job.result.failed and ("%s: %s"):format(run.title(job, #sources > 1), run.safe(job.result.message))
    end)
    for _, job in ipairs(jobs) do
      job.result = job.result or job.over and partial(job) or { failed = true, error = "EINTR", message = "not asked: it was ended before" }
    end
    if o.json then
      run.json(jobs)
    else
      if live or interrupted then
        io.write "\n"
      end
      run.table("ping", jobs, { { name = "TARGET" }, { name = "ADDRESS" }, { name = "SENT", right = true }, { name = "RECEIVED", right = true },
        { name = "LOSS", right = true }, { name = "MIN", right = true }, { name = "AVG", right = true }, { name = "MEDIAN", right = true },
        { name = "MAX", right = true }, { name = "MDEV", right = true }, { name = "WHY" } }, function(job)
        local r = job.result
        if r.failed then
          return { WHY = r.message }
        end
        return { SENT = ("%d"):format(r.sent), RECEIVED = ("%d"):format(r.received), LOSS = ("%.3g%%"):format(r.loss * 100), MIN = run.ms(r.rtt.min),
          AVG = run.ms(r.rtt.avg), MEDIAN = run.ms(r.rtt.median), MAX = run.ms(r.rtt.max), MDEV = run.ms(r.rtt.mdev), WHY = reason(job) or "" }
      end)
    end
    return run.status(jobs, function(r)
      return r.loss == 0 and r.sent > 0
    end)
  end)
end
