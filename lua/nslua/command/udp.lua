-- send datagrams of UDP from inside a container or namespace, to many ports at the same time
--
-- UDP says nothing where all is well: an answer tells that somebody is there, an error of ICMP that nobody is, silence either.

local run = require "nslua.command.probe.run"
local text = require "nslua.command.probe.text"
local where = require "nslua.command.probe.where"
local why = require "nslua.command.probe.why"

local USAGE = "nslua udp web dns:53"

local declaration = run.declare {
  name = "udp", usage = "[options] <container | netns | .>[,...] <target>:<port>...",
  summary = "Send a datagram of UDP from a network namespace to each port, all at the same time, and wait for answers.",
  run.options.four, run.options.six,
  { "W", "timeout", arg = "seconds", help = "that an answer is waited for (default 1)" },
  { "s", "send", arg = "text", help = "what is sent (default nothing); \\n, \\r, \\t, \\\\ and \\x41 are understood" },
  { "n", "no-reply", help = "no answer is expected: silence is well" },
  { "t", "ttl", arg = "number", help = "TTL or hop limit" },
  run.options.from, run.options.verbose, run.options.quiet, run.options.json,
  notes = "Ports: dns:53, log:514,1514, [fd00::2]:80.",
  examples = {
    { "nslua udp -s 'hello\\n' web echo:7", "whether an answer comes" },
    { "nslua udp -n web log:514", "whether anybody says that nothing listens there" },
  },
}

return function(args)
  return declaration:run(args, function(o)
    local sources <close> = where.sources(o[1], USAGE)
    if not o[2] then
      return declaration:wrong "whom? At least one target:port is needed"
    end
    local targets = text.ports_of(o)
    local timeout = run.number(o, "timeout", 0, 86400) or 1
    local plan = { timeout = timeout, send = text.unescape(o.send), reply = not o["no-reply"], ttl = run.integer(o, "ttl", 1, 255), from = o.from }
    local jobs = run.jobs(sources, targets, where.families(o))
    local function state(job)
      local r = job.result
      return not r and "interrupted" or r.reply and "answered" or r.ok and "silent" or text.states[r.error] or "failed"
    end
    local function reason(job)
      local r = job.result
      if r and r.error == "ETIMEDOUT" and not r.icmp then
        return ("no answer in %g s: nobody need answer, or it is dropped"):format(timeout)
      end
      return r and (r.reply and text.shown(r.reply) or not r.ok and why.of(job.source.handle, r, timeout)) or ""
    end
    run.all(jobs, o, function(job)
      return job.source.handle:udp(job.address, job.port, plan)
    end, function(job)
      return ("%s: %s %s%s"):format(run.title(job, #sources > 1), state(job), job.result.reply and run.ms(job.result.elapsed) or "",
        run.because(reason(job)))
    end)
    run.print("udp", o, jobs, { { name = "TARGET" }, { name = "ADDRESS" }, { name = "PORT", right = true }, { name = "STATE" },
      { name = "TIME", right = true }, { name = "ANSWER" } }, function(job)
      return { TARGET = job.host, PORT = ("%d"):format(job.port), STATE = state(job),
        TIME = job.result and job.result.reply and run.ms(job.result.elapsed) or "",
        ANSWER = reason(job) }
    end)
    return run.status(jobs, function(r)
      return r.ok
    end)
  end)
end
