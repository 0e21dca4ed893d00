-- list routing rules, of this namespace, another or all of them, as ip rule does
--
-- As ip does, it shows IPv4's unless -6 is given.

local json = require "nslua.command.list.json"
local run = require "nslua.command.list.run"
local words = require "nslua.command.list.words"

local null = json.null

-- An address, and its length where that is not the whole.
local function add_side(out, key, text)
  if not text then
    return
  end
  local address, length = text:match "^(.*)/(%d+)$"
  length = math.tointeger(tonumber(length))
  out:add(key, address)
  if length ~= (address:find(":", 1, true) and 128 or 32) then
    out:add(key .. "len", length)
  end
end

local function add_range(out, key, value)
  local first, last = tostring(value or ""):match "^(%d+)%-?(%d*)$"
  if first and last ~= "" then
    out:add(key .. "_start", tonumber(first)):add(key .. "_end", tonumber(last))
  elseif first then
    out:add(key, tonumber(first))
  end
end

local function object(row, _, o)
  local flags = row.flags
  local out = json.object():add("priority", row.priority):add("not", row.not_ and null)
  if row.from then
    add_side(out, "src", row.from)
  else
    out:add("src", "all")
  end
  add_side(out, "dst", row.to)
  out:add("tos", row.tos ~= 0 and ("0x%02x"):format(row.tos) or nil)
  if row.fwmark or row.fwmask then
    out:add("fwmark", (row.fwmark or 0) == 0 and "0" or ("0x%x"):format(row.fwmark)):add("fwmask", row.fwmask and ("0x%x"):format(row.fwmask))
  end
  out:add("iif", row.iif):add("iif_detached", flags.iif_detached and null)
  out:add("oif", row.oif):add("oif_detached", flags.oif_detached and null)
  if row.uidrange then
    local first, last = row.uidrange:match "^(%d+)%-(%d+)$"
    out:add("uid_start", tonumber(first)):add("uid_end", tonumber(last))
  end
  out:add("ipproto", row.ipproto and tostring(row.ipproto))
  add_range(out, "sport", row.sport)
  add_range(out, "dport", row.dport)
  out:add("tun_id", row.tun_id)
  if row.l3mdev then
    out:add("l3mdev", null)
  elseif row.action == "lookup" then
    out:add("table", tostring(row.table))
    out:add("suppress_prefixlen", row.suppress_prefixlength ~= -1 and row.suppress_prefixlength or nil)
    out:add("suppress_ifgroup", row.suppress_ifgroup and row.suppress_ifgroup ~= -1
      and tostring(require "nslua.rtnl.names".name("group", row.suppress_ifgroup)) or nil)
  end
  if row.realms then
    local from, to = row.realms >> 16, row.realms & 0xffff
    out:add("flow_from", from ~= 0 and ("%d"):format(from) or nil):add("flow_to", ("%d"):format(to))
  end
  if row.action == "goto" then
    out:add("goto", row.goto_):add("unresolved", flags.unresolved and null)
  elseif row.action == "nop" then
    out:add("nop", null)
  elseif row.action ~= "lookup" then
    out:add("action", tostring(row.action))
  end
  local proto = row.proto
  if proto and (o.details or proto ~= "kernel" and proto ~= "unspec") then
    out:add("protocol", tostring(proto))
  end
  return out
end

local function match(row)
  local out = { row.not_ and "not" or nil }
  local function add(word, value)
    if value then
      out[#out + 1] = value == true and word or ("%s %s"):format(word, tostring(value))
    end
  end
  add("from", row.from or "all")
  add("to", row.to)
  add("tos", row.tos ~= 0 and ("0x%02x"):format(row.tos))
  add("fwmark", row.fwmark and ("0x%x%s"):format(row.fwmark, row.fwmask and ("/0x%x"):format(row.fwmask) or ""))
  add("iif", row.iif and row.iif .. (row.flags.iif_detached and " (not there)" or ""))
  add("oif", row.oif and row.oif .. (row.flags.oif_detached and " (not there)" or ""))
  for _, key in ipairs { "uidrange", "ipproto", "sport", "dport", "tun_id" } do
    add(key, row[key])
  end
  return table.concat(out, " ")
end

local function action(row)
  if row.l3mdev then
    return "lookup l3mdev-table"
  elseif row.action == "lookup" then
    return "lookup " .. tostring(row.table)
  elseif row.action == "goto" then
    return ("goto %d"):format(row.goto_)
  end
  return tostring(row.action)
end

local function text(word, key, complaint)
  return { word, set = function(f, value)
    f[key] = tonumber(value) or words.wrong(255, 'Error: argument "%s" is wrong: %s\n', value, complaint)
  end }
end

return run.command {
  name = "rule", summary = "List routing rules.",
  usage = "[options] [list [<words>]]",
  notes = "Words of list: table <table>, from <prefix>, to <prefix>, fwmark <mark>, iif <name>, oif <name>, priority <n>, protocol <proto>.",
  words = { words.named("table", "table", "table id value is invalid\n"), words.named("lookup", "table", "table id value is invalid\n"),
    words.value "from", words.value "to", words.value "iif", words.value("dev", "iif"), words.value "oif",
    text("priority", "priority", "preference value is invalid"), text("preference", "priority", "preference value is invalid"),
    text("order", "priority", "preference value is invalid"),
    words.named("protocol", "proto", 'invalid "protocol"\n'),
    { "fwmark", set = function(f, value)
      f.fwmark = value:find "^[%dx]+/?[%xx]*$" and value or words.wrong(255, 'Error: argument "%s" is wrong: fwmark value is invalid\n', value)
    end } },
  bare = function(_, value)
    words.wrong(1, 'Error: %s prefix is expected rather than "%s".', "inet", value)
  end,
  rows = function(handle, f, o)
    local filter = { family = o.family or "inet" }
    for key, value in pairs(f) do
      filter[key] = value
    end
    for _, key in ipairs { "from", "to" } do
      if f[key] then
        words.prefix(f[key], filter.family)
      end
    end
    return handle.rule:list(filter)
  end,
  object = object,
  columns = { { name = "PRIORITY", right = true }, { name = "MATCH" }, { name = "ACTION" }, { name = "PROTO" } },
  line = function(row)
    return { { PRIORITY = row.priority, MATCH = match(row), ACTION = action(row), PROTO = row.proto and tostring(row.proto) } }
  end,
}
