-- connect by TCP from inside a container or namespace, to many ports at the same time
--
-- Says of each whether it is open, refused (and by whom), or silent; what the other side says first, where that is asked for.

local run = require "nslua.command.probe.run"
local text = require "nslua.command.probe.text"
local where = require "nslua.command.probe.where"
local why = require "nslua.command.probe.why"

local USAGE = "nslua tcp web db:5432"

local declaration = run.declare {
  name = "tcp", usage = "[options] <container | netns | .>[,...] <target>:<port>...",
  summary = "Connect by TCP from a network namespace to each port, all at the same time.",
  run.options.four, run.options.six,
  { "W", "timeout", arg = "seconds", help = "for each connection, and what is said on it (default 5)" },
  { "s", "send", arg = "text", help = "say this first; \\n, \\r, \\t, \\\\ and \\x41 are understood" },
  { "r", "receive", arg = "bytes", help = "then wait for so many bytes, or for the end; the beginning of what came is shown" },
  { "o", "open", help = "show only what is open; the status is 0 where anything is" },
  run.options.from, run.options.verbose, run.options.quiet, run.options.json,
  notes = "Ports: db:5432, db:80,443, db:8000-8010, [fd00::2]:80.",
  examples = {
    { "nslua tcp web db:5432 cache:6379 10.0.0.2:80,443", "whether a container reaches what it needs" },
    { "nslua tcp -r 64 web mail:25", "what the other side says first" },
  },
}

return function(args)
  return declaration:run(args, function(o)
    local sources <close> = where.sources(o[1], USAGE)
    if not o[2] then
      return declaration:wrong "whom? At least one target:port is needed"
    end
    local targets = text.ports_of(o)
    local timeout = run.number(o, "timeout", 0, 86400) or 5
    local send, receive = text.unescape(o.send), run.integer(o, "receive", 1, 1 << 24)
    local jobs = run.jobs(sources, targets, where.families(o))
    local function state(job)
      local r = job.result
      return not r and "interrupted" or (r.ok or r.connected) and "open" or text.states[r.error] or "failed"
    end
    local function reason(job)
      local r = job.result
      if not r or r.ok then
        return r and r.received and text.shown(r.received) or ""
      end
      return (r.connected and "connected, but " or "") .. (why.of(job.source.handle, r, timeout) or "")
    end
    run.all(jobs, o, function(job)
      return job.source.handle:tcp(job.address, job.port, { timeout = timeout, send = send, receive = receive, from = o.from })
    end, function(job)
      return not (o.open and not job.result.connected) and ("%s: %s %s%s"):format(run.title(job, #sources > 1), state(job),
        run.ms(job.result.elapsed), run.because(reason(job))) or nil
    end)
    local shown = text.open_only(jobs, o)
    run.print("tcp", o, shown, { { name = "TARGET" }, { name = "ADDRESS" }, { name = "PORT", right = true }, { name = "STATE" },
      { name = "TIME", right = true }, { name = "RTT", right = true }, { name = receive and "SAID" or "WHY" } }, function(job)
      return { TARGET = job.host, PORT = ("%d"):format(job.port), STATE = state(job), TIME = run.ms(job.result and job.result.elapsed),
        RTT = run.ms(job.result and job.result.rtt), [receive and "SAID" or "WHY"] = reason(job) }
    end)
    if o.open then
      return shown[1] and 0 or 1
    end
    return run.status(jobs, function(r)
      return r.ok
    end)
  end)
end
