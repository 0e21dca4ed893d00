-- what names mean inside a container or namespace: its hosts file, and the servers of its resolv.conf
--
-- As a program inside would ask: the search list and ndots are those of the container. Many names at the same time.

local check = require "nslua.check"
local core = require "nslua.core"
local dns = require "nslua.inspect.dns"
local errors = require "nslua.error"
local etc = require "nslua.inspect.etc"
local run = require "nslua.command.probe.run"
local where = require "nslua.command.probe.where"
local why = require "nslua.command.probe.why"

local USAGE = "nslua resolve web example.org"

local declaration = run.declare {
  name = "resolve", usage = "[options] <container | netns | .>[,...] <name>...",
  summary = "Look names up as a program in a network namespace would.",
  { "t", "type", arg = "type", many = true, help = "of records: A, AAAA, MX, TXT, ... (default A and AAAA; PTR of an address); may come again",
    words = { "A", "AAAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT", "CAA", "ANY" } },
  { "S", "server", arg = "address", help = "ask this server, not those of resolv.conf; the hosts file is left out too" },
  { "p", "port", arg = "number", help = "of the server (default 53)" },
  { "T", "tcp", help = "by TCP" },
  { "W", "timeout", arg = "seconds", help = "for all of it (default 5)" },
  run.options.from, run.options.verbose, run.options.quiet, run.options.json,
  examples = {
    { USAGE, "the addresses that a container would use, and who says so" },
    { "nslua resolve -t MX -S 10.0.0.53 web example.org", "of one server" },
  },
}

local function types_of(o, name)
  local out = {}
  for _, word in ipairs(o.type or {}) do
    word = word:upper()
    if not dns.types[word] then
      errors.misuse("%s", check.unknown("type", word, dns.types))
    end
    out[#out + 1] = word
  end
  return out[1] and out or core.inet.bytes(name) and { "PTR" } or { "A", "AAAA" }
end

local function value(r)
  if r.type == "SOA" then
    return ("%s %s serial %d"):format(r.mname, r.rname, r.serial)
  elseif r.type == "CAA" then
    return ("%d %s %s"):format(r.flags, r.tag, r.value)
  end
  local words = {}
  for _, key in ipairs { "preference", "priority", "weight", "port" } do
    words[#words + 1] = r[key] and ("%d"):format(r[key])
  end
  words[#words + 1] = r.address or r.target or r.text and '"' .. r.text .. '"' or r.data and ("%d bytes"):format(#r.data) or ""
  return table.concat(words, " ")
end

-- The lines of a job: { type, value, ttl, server }.
local function lines_of(job)
  local r, out = job.result, {}
  for _, address in ipairs(job.hosts or {}) do
    out[#out + 1] = { TYPE = #core.inet.bytes(address) == 4 and "A" or "AAAA", VALUE = address, TTL = "", SERVER = "hosts file" }
  end
  for _, answer in ipairs(r and r.answers or {}) do
    out[#out + 1] = { TYPE = answer.type, VALUE = value(answer), TTL = ("%d"):format(answer.ttl), SERVER = r.server, name = answer.name }
  end
  if not out[1] then
    local text = not r and "interrupted" or r.error and why.of(job.source.handle, r)
      or r.rcode == "NXDOMAIN" and "there is no such name" or r.rcode == "NOERROR" and "the name has no such record"
      or r.rcode == "REFUSED" and "the server refuses to answer that" or r.rcode == "SERVFAIL" and "the server could not find out" or ""
    out[1] = { TYPE = job.type, VALUE = r and r.rcode ~= "NOERROR" and r.rcode or "", TTL = "", SERVER = r and r.server or "", WHY = text }
  end
  return out
end

return function(args)
  return declaration:run(args, function(o)
    local sources <close> = where.sources(o[1], USAGE)
    if not o[2] then
      return declaration:wrong "what? At least one name is needed"
    end
    local plan = { server = o.server, port = run.integer(o, "port", 1, 65535), tcp = o.tcp, timeout = run.number(o, "timeout", 0, 86400),
      from = o.from }
    if o.server and not core.inet.bytes((o.server:gsub("%%.*", ""))) then
      errors.misuse("--server '%s': an address is needed", o.server)
    end
    local targets = {}
    for i = 2, #o do
      for _, type in ipairs(types_of(o, o[i])) do
        targets[#targets + 1] = { target = o[i], type = type }
      end
    end
    local jobs = run.jobs(sources, targets, { false })
    run.all(jobs, o, function(job)
      local wanted = not o.server and (job.type == "A" and 4 or job.type == "AAAA" and 16)
      for _, address in ipairs(wanted and etc.hosts(job.source.handle, job.target) or {}) do
        if #core.inet.bytes(address) == wanted then
          job.hosts = job.hosts or {}
          table.insert(job.hosts, address)
        end
      end
      if job.hosts then -- nobody is asked then
        return { ok = true, answers = {}, addresses = job.hosts, hosts = true, name = job.target, elapsed = 0 }
      end
      return job.source.handle:resolve(job.target, run.with(plan, { type = job.type }))
    end, function(job)
      local line = lines_of(job)[1]
      return ("%s %s: %s"):format(run.title(job, #sources > 1), job.type, run.safe(line.WHY or line.VALUE))
    end)
    if o.json then
      run.json(jobs)
    else
      if run.live(o) then
        io.write "\n"
      end
      local all = {}
      for _, job in ipairs(jobs) do
        for _, line in ipairs(lines_of(job)) do
          all[#all + 1] = { source = job.source, target = job.target, line = line }
        end
      end
      run.table("resolve", all, { { name = "TARGET" }, { name = "TYPE" }, { name = "VALUE" }, { name = "TTL", right = true }, { name = "SERVER" },
        { name = "NAME" }, { name = "WHY" } }, function(each)
        local asked = each.line.name and each.line.name ~= each.target:gsub("%.$", "") and each.line.name or ""
        local line = each.line
        return { TYPE = line.TYPE, VALUE = line.VALUE, TTL = line.TTL, SERVER = line.SERVER, NAME = asked, WHY = line.WHY or "" }
      end)
    end
    -- a name that has addresses of one family is well
    local well = {}
    for _, job in ipairs(jobs) do
      local key = job.source.name .. "\0" .. job.target .. "\0" .. (o.type and job.type or "")
      well[key] = well[key] or job.result and job.result.ok or false
    end
    for _, ok in pairs(well) do
      if not ok then
        return 1
      end
    end
    return 0
  end)
end
