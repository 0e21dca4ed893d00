-- list neighbours (ARP and ND tables), of this namespace, another or all of them, as ip neighbour does

local json = require "nslua.command.list.json"
local link = require "nslua.command.list.link"
local run = require "nslua.command.list.run"
local words = require "nslua.command.list.words"

local null = json.null

local STATES = { none = true, incomplete = true, reachable = true, stale = true, delay = true, probe = true, failed = true, noarp = true,
  permanent = true }

local FLAGS = { "router", "proxy", "managed", "extern_learn", "offload" }

local function flag(row, name)
  return row.flags[name] or row[name]
end

local function object(row, f, o, handle)
  local out = json.object():add("dst", row.dst):add("dev", not f.dev and link.name(handle, row.dev_index) or nil):add("lladdr", row.lladdr)
  for _, name in ipairs(FLAGS) do
    out:add(name, flag(row, name) and null)
  end
  local info = o.statistics and row.cacheinfo
  if info then
    out:add("refcnt", info.refcnt ~= 0 and info.refcnt or nil)
    for _, key in ipairs { "used", "confirmed", "updated" } do
      out:add(key, math.floor(row[key]))
    end
  end
  out:add("probes", o.statistics and row.probes or nil)
  out:add("state", row.state and row.state ~= "none" and { tostring(row.state):upper() } or nil)
  return out:add("protocol", row.proto and tostring(row.proto))
end

return run.command {
  name = "neighbour", summary = "List neighbours: which link-layer address an address has.",
  usage = "[options] [list [<words>]]",
  notes = "Words of list: [to] <prefix>, dev <name>, nud <state>|all (more than once), proxy, router.",
  more = { { "s", "statistics", help = "print when each was used" } },
  words = { words.value "dev", words.value "to", words.flag "proxy", words.flag "router",
    { "nud", set = function(f, value)
      if value ~= "all" and not STATES[value] then
        words.wrong(255, 'Error: argument "%s" is wrong: nud state is bad', value)
      end
      f.states = f.states or {}
      f.states[value] = true
    end } },
  bare = function(f, value)
    f.to = value
  end,
  rows = function(handle, f, o)
    local to = f.to and words.prefix(f.to, o.family)
    local dev = f.dev and (handle.link:get(f.dev) or words.absent('Cannot find device "%s"', f.dev))
    local out = {}
    for _, row in ipairs(handle.neighbour:list { family = o.family or to and to.family, dev = dev and dev.index or nil, proxy = f.proxy,
      router = f.router }) do
      local state = row.state or "none"
      local ok = row.proxy or row.extern_learn
      if f.states then
        ok = ok or f.states.all or f.states[state]
      else
        ok = ok or state ~= "noarp" and state ~= "none" -- as ip has it
      end
      if ok and to then
        ok = words.within(to, row.dst)
      end
      out[#out + 1] = ok and row or nil
    end
    return out
  end,
  object = object,
  brief = function(row, f, _, handle)
    local dev = not f.dev and link.name(handle, row.dev_index) or nil -- as ip has it
    return ("%-39s %s%s"):format(row.dst, dev and ("%-16s "):format(dev) or "", row.lladdr or ""),
      json.object():add("dst", row.dst):add("dev", dev):add("lladdr", row.lladdr)
  end,
  columns = { { name = "DST" }, { name = "DEV" }, { name = "LLADDR" }, { name = "STATE" }, { name = "FLAGS" },
    { name = "USED", right = true, when = function(o) return o.statistics end } },
  line = function(row, _, o, handle)
    local flags = {}
    for _, name in ipairs(FLAGS) do
      flags[#flags + 1] = flag(row, name) and name or nil
    end
    return { { DST = row.dst, DEV = link.name(handle, row.dev_index), LLADDR = row.lladdr, STATE = row.state and tostring(row.state),
      FLAGS = table.concat(flags, " "), USED = o.statistics and row.used and ("%ds"):format(math.floor(row.used)) or nil } }
  end,
}
