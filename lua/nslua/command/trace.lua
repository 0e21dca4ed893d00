-- the routers on the way from a container or namespace to a target, as traceroute(8) tells them
--
-- All hops are asked at the same time, so that it takes about a second.

local run = require "nslua.command.probe.run"
local where = require "nslua.command.probe.where"
local why = require "nslua.command.probe.why"

local USAGE = "nslua trace web example.org"

local declaration = run.declare {
  name = "trace", usage = "[options] <container | netns | .>[,...] <target>...",
  summary = "Find the routers between a network namespace and each target.",
  run.options.four, run.options.six,
  { "m", "max", arg = "number", help = "of hops (default 30)" },
  { "W", "timeout", arg = "seconds", help = "that answers are waited for (default 1)" },
  { "q", "probes", arg = "number", help = "packets for each hop (default 1)" },
  { "I", "icmp", help = "by echo requests, not by UDP" },
  { "s", "size", arg = "bytes", help = "of each packet, all headers included; it is not fragmented then" },
  { "f", "from", arg = "address", help = "send from this address, or from this link" },
  run.options.json,
  examples = { { USAGE, "the way out of a container" } },
}

local function hop_text(job, hop)
  local parts, last = { ("%2d "):format(hop.ttl) }, nil
  for _, answer in ipairs(hop.answers) do
    if answer.address ~= last then
      last = answer.address
      parts[#parts + 1] = " " .. (last or "?")
    end
    parts[#parts + 1] = "  " .. run.ms(answer.rtt)
  end
  if not hop.answers[1] then
    parts[#parts + 1] = " *"
  end
  local said = hop.icmp and hop.icmp ~= "time_exceeded" and not (hop.icmp == "port_unreachable" and hop.address == job.result.address)
  local reason = said and why.of(job.source.handle, { error = hop.answers[1].error, icmp = hop.icmp, from = hop.address })
  return table.concat(parts) .. (reason and "  " .. reason or "")
end

local function print_job(job)
  local r = job.result
  local to = job.address and job.address ~= job.target and ("%s (%s)"):format(job.target, job.address) or job.target
  io.write(("from %s to %s\n"):format(run.safe(job.source.name), run.safe(to)))
  if not r then
    io.write "  not asked\n"
    return
  end
  for _, hop in ipairs(r) do
    io.write(run.safe(hop_text(job, hop)), "\n")
  end
  if r.error then
    io.write("  ", run.safe(why.of(job.source.handle, r)), "\n")
  elseif not r.reached then
    local last = r[#r] and r[#r].address
    io.write("  not reached", last and "" or ": nobody answers from there on", "\n")
  end
end

return function(args)
  return declaration:run(args, function(o)
    local sources <close> = where.sources(o[1], USAGE)
    if not o[2] then
      return declaration:wrong "whom? At least one target is needed"
    end
    local plan = { timeout = run.number(o, "timeout", 0, 86400), max = run.integer(o, "max", 1, 255),
      probes = run.integer(o, "probes", 1, 32), proto = o.icmp and "icmp" or nil, size = run.integer(o, "size", 28, 65535), from = o.from }
    local jobs = run.jobs(sources, run.targets(o), where.families(o))
    run.all(jobs, o, function(job)
      local own = run.with(plan, {})
      if own.size and job.address:find ":" then
        own.size = math.max(own.size, 48)
      end
      return job.source.handle:trace(job.address, own)
    end)
    if o.json then
      for _, job in ipairs(jobs) do -- a list and words are two things in JSON
        local r = job.result
        if r then
          local hops = {}
          for i, hop in ipairs(r) do
            hops[i], r[i] = hop, nil
          end
          r.hops = hops
        end
      end
      run.json(jobs)
    else
      for i, job in ipairs(jobs) do
        io.write(i > 1 and "\n" or "")
        print_job(job)
      end
    end
    return run.status(jobs, function(r)
      return r.reached
    end)
  end)
end
