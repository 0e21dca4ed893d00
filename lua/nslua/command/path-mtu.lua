-- the largest packet that gets from a container or namespace to a target, and who says so
--
-- Packets of several sizes are sent, which nobody may fragment. Where larger ones vanish without a word (a black hole), the last router that
-- they get to is named.

local run = require "nslua.command.probe.run"
local where = require "nslua.command.probe.where"
local why = require "nslua.command.probe.why"

local USAGE = "nslua path-mtu web example.org"

local declaration = run.declare {
  name = "path-mtu", usage = "[options] <container | netns | .>[,...] <target>...",
  summary = "Find the MTU of the path from a network namespace to each target.",
  run.options.four, run.options.six,
  { "W", "timeout", arg = "seconds", help = "that each answer is waited for (default 0.5)" },
  { "m", "max", arg = "bytes", help = "the largest that is tried (default: what the first link carries)" },
  { "U", "udp", help = "by UDP: the way there alone, one size after the other" },
  run.options.from, run.options.verbose, run.options.quiet, run.options.json,
  examples = { { USAGE, "why large answers do not arrive" } },
}

local function limited(r)
  if r.black_hole then
    return r.last_hop and ("larger ones vanish behind %s, and nobody says so"):format(r.last_hop) or "larger ones vanish, and nobody says so"
  end
  local last = r.limits and r.limits[#r.limits]
  return last and (last.from and "a router says so: " .. last.from or "the link of this namespace") or ""
end

return function(args)
  return declaration:run(args, function(o)
    local sources <close> = where.sources(o[1], USAGE)
    if not o[2] then
      return declaration:wrong "whom? At least one target is needed"
    end
    local plan = { timeout = run.number(o, "timeout", 0, 86400), max = run.integer(o, "max", 68, 65535), proto = o.udp and "udp" or nil,
      from = o.from }
    local jobs = run.jobs(sources, run.targets(o), where.families(o))
    local function reason(job)
      local r = job.result
      return not r and "interrupted" or r.mtu and limited(r) or why.of(job.source.handle, r) or ""
    end
    run.all(jobs, o, function(job)
      return job.source.handle:path_mtu(job.address, plan)
    end, function(job)
      return ("%s: %s%s"):format(run.title(job, #sources > 1), job.result.mtu and ("%d bytes"):format(job.result.mtu) or "nothing gets through",
        run.because(reason(job)))
    end)
    run.print("path-mtu", o, jobs, { { name = "TARGET" }, { name = "ADDRESS" }, { name = "MTU", right = true }, { name = "WHY" } }, function(job)
      return { MTU = job.result and job.result.mtu and ("%d"):format(job.result.mtu) or "", WHY = reason(job) }
    end)
    return run.status(jobs, function(r)
      return r.mtu and not r.black_hole
    end)
  end)
end
