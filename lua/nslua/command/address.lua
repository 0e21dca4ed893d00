-- list addresses, of this namespace, another or all of them, as ip address does

local link = require "nslua.command.list.link"
local json = require "nslua.command.list.json"
local run = require "nslua.command.list.run"
local words = require "nslua.command.list.words"

-- In ip's order, with its names.
local FLAGS = { "secondary", "nodad", "optimistic", "dadfailed", "home", "deprecated", "tentative", "dynamic", "mngtmpaddr", "noprefixroute",
  "autojoin", "stable_privacy" }

local function flags_of(row)
  local out = {}
  for _, flag in ipairs(FLAGS) do
    if row[flag] then
      out[#out + 1] = flag == "secondary" and row.family == "inet6" and "temporary" or flag == "stable_privacy" and "stable-privacy" or flag
    end
  end
  return out
end

local function lifetime(value)
  return value == "forever" and 4294967295 or value
end

local function address_of(row)
  local own, length = row.address:match "^(.*)/(%d+)$"
  local out = json.object():add("family", row.family):add("local", own):add("address", row.peer and row.peer:match "^[^/]*")
  out:add("prefixlen", math.tointeger(tonumber(length))):add("metric", row.metric):add("broadcast", row.broadcast):add("anycast", row.anycast)
  out:add("scope", tostring(row.scope))
  for _, flag in ipairs(flags_of(row)) do
    out:add(flag, true)
  end
  out:add("label", row.label)
  return out:add("valid_life_time", lifetime(row.valid_lft)):add("preferred_life_time", lifetime(row.preferred_lft))
end

local known = { table.unpack(link.words) }
for _, word in ipairs {
  words.value "to", words.value "label", words.named("scope", "scope", 'invalid "scope"\n'),
  words.flag("permanent", "dynamic", false), words.flag("dynamic", "dynamic", true), words.flag "tentative", words.flag "deprecated",
  words.flag "dadfailed", words.flag("primary", "secondary", false), words.flag "secondary", words.flag("temporary", "secondary"),
  words.flag "home", words.flag "mngtmpaddr", words.flag "nodad", words.flag "optimistic", words.flag "noprefixroute", words.flag "autojoin",
} do
  known[#known + 1] = word
end

local CHECKED = { "dynamic", "tentative", "deprecated", "dadfailed", "secondary", "home", "mngtmpaddr", "nodad", "optimistic", "noprefixroute",
  "autojoin" }

-- A shell's pattern, as of label.
local function pattern(text)
  return "^" .. text:gsub("[%^%$%(%)%%%.%[%]%+%-]", "%%%0"):gsub("%*", ".*"):gsub("%?", ".") .. "$"
end

return run.command {
  name = "address", summary = "List addresses of links.",
  usage = "[options] [list [<words>]]",
  notes = [[Words of list: [dev] <name>, to <prefix>, scope <scope>, label <pattern>, type <kind>, master <name>, group <group>, up, and
permanent, dynamic, secondary, primary, tentative, deprecated, dadfailed, temporary, nodad, home, mngtmpaddr, noprefixroute.
Where words choose addresses, links without one are not listed; ip -j prints empty objects for some.
With -6 a link has the keys that it has without; ip -j has others then.]],
  more = { { "s", "statistics", help = "with --json: the counters of links" } },
  words = known, bare = words.bare_dev,
  rows = function(handle, f, o)
    local to = f.to and words.prefix(f.to, o.family)
    local family = o.family or to and to.family
    local links = link.rows(handle, f, function(name)
      words.absent('Device "%s" does not exist.', name)
    end)
    local filter = { family = family, dev = f.dev and links[1] and links[1].index or nil, scope = f.scope }
    for _, flag in ipairs(CHECKED) do
      filter[flag] = f[flag]
    end
    local only = f.label or f.scope or to or family
    for _, flag in ipairs(CHECKED) do
      only = only or f[flag] ~= nil
    end
    local by_link = {}
    for _, row in ipairs(handle.address:list(filter)) do
      if (not to or words.within(to, row.address:match "^[^/]*")) and (not f.label or (row.label or ""):find(pattern(f.label))) then
        local list = by_link[row.dev_index] or {}
        by_link[row.dev_index] = list
        list[#list + 1] = row
      end
    end
    local out = {}
    for _, row in ipairs(links) do
      if by_link[row.index] or not only then
        out[#out + 1] = { link = row, addresses = by_link[row.index] or {}, brief = family == "inet" and not o.details }
      end
    end
    return out
  end,
  object = function(row, _, o, handle)
    local object = link.object(row.link, { details = o.details, address = true, brief = row.brief }, handle)
    local list = {}
    for i, each in ipairs(row.addresses) do
      list[i] = address_of(each)
    end
    object:add("addr_info", list)
    if o.statistics then
      link.statistics(object, row.link)
    end
    return object
  end,
  brief = function(row, _, _, handle)
    local text, object = link.brief(row.link, handle)
    local list, out = {}, { text }
    for i, each in ipairs(row.addresses) do
      local own, length = each.address:match "^(.*)/(%d+)$"
      local peer = each.peer and each.peer:match "^[^/]*"
      list[i] = json.object():add("local", own):add("address", peer):add("prefixlen", math.tointeger(tonumber(length))):add("metric", each.metric)
      out[#out + 1] = peer and ("%s peer %s "):format(own, each.peer) or each.address .. " "
      out[#out + 1] = each.metric and ("metric %d "):format(each.metric) or nil
    end
    return table.concat(out), object:add("addr_info", list)
  end,
  columns = { { name = "DEV" }, { name = "STATE" }, { name = "ADDRESS" }, { name = "PEER" }, { name = "SCOPE" }, { name = "LABEL" },
    { name = "VALID", right = true }, { name = "PREFERRED", right = true }, { name = "FLAGS" } },
  line = function(row)
    local out = {}
    local state = not row.link.up and "down" or row.link.carrier == false and "no-carrier" or "up"
    for i, each in ipairs(row.addresses) do
      out[i] = { DEV = row.link.name, STATE = state, ADDRESS = each.address, PEER = each.peer, SCOPE = tostring(each.scope),
        LABEL = each.label ~= row.link.name and each.label or nil, VALID = each.valid_lft, PREFERRED = each.preferred_lft,
        FLAGS = table.concat(flags_of(each), " ") }
    end
    return out[1] and out or { { DEV = row.link.name, STATE = state } }
  end,
}
