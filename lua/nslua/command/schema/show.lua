-- What `nslua schema` prints.

local check = require "nslua.check"
local columns = require "nslua.command.cli.columns"
local declare = require "nslua.genl.declare"
local describe = require "nslua.schema.describe"
local errors = require "nslua.error"
local kinds = require "nslua.rtnl.kind"
local netlink = require "nslua.netlink"
local queues = require "nslua.rtnl.qdisc_kind"
local rtnl = require "nslua.rtnl"
local schema = require "nslua.schema"

local function sorted(t)
  local names = {}
  for name in pairs(t) do
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

local function kind_names()
  return sorted(kinds.names and kinds.names() or kinds.kinds)
end

-- A family that a file declares: what the file returns.
local function from(file)
  local chunk, message = loadfile(file, "t", setmetatable({ ns = require "nslua" }, { __index = _G }))
  if not chunk then
    errors.misuse("%s", message)
  end
  local family = chunk(file)
  if not declare.is(family) then
    errors.misuse("%s returns no family of ns.netlink.family, but a %s", file, type(family))
  end
  return family
end

-- What is in a book of its own, as it is no part of rtnetlink.
local books = { conntrack = "nslua.netfilter.conntrackschema", nftables = "nslua.netfilter.nftschema", sockets = "nslua.diag.schema" }

-- Everything that has a name, by it.
local function roots(files)
  for name in pairs(rtnl.names) do
    if not rtnl.others[name] then
      require("nslua.rtnl." .. name)
    end
  end
  require "nslua.rtnl.nsid"
  for _, kind in ipairs(kind_names()) do
    local _ = kinds.kinds[kind] -- each is declared when it is first named
  end
  local out = describe.objects(schema.book)
  for _, name in ipairs(netlink.families) do
    out[name] = describe.family(netlink[name], name)
  end
  for name, module in pairs(books) do
    local book = require(module)
    out[name] = book.messages[name] and describe.objects(book)[name] or describe.book(name, book)
  end
  for _, file in ipairs(files or {}) do
    local family = from(file)
    out[family.name] = describe.family(family)
  end
  return out
end

-- The node of a path; a kind may have the schema of another, as tap has tun's.
local function find(all, path)
  return describe.find(all, (path:gsub("^link%.([^.]+)", function(word)
    local kind = kinds.kinds[word]
    return kind and kind.wire and "link." .. kind.wire
  end)))
end

local function about(node)
  local header, c = describe.source(node)
  local out = {}
  out[1] = c and (c:find " " and c or c .. "*")
  out[#out + 1] = header and "<" .. header .. ">" or nil
  return table.concat(out, " ")
end

-- What there is.
local function list(o, all)
  local lines = {}
  for _, name in ipairs(sorted(all)) do
    local node = all[name]
    lines[#lines + 1] = { NAME = name, IS = node.what == "book" and "objects" or node.what, SOURCE = about(node) }
    if node.what == "object" and name == "link" then
      for _, kind in ipairs(kind_names()) do
        local found = find(all, "link." .. kind)
        if found and found.what ~= "value" then
          lines[#lines + 1] = { NAME = "link." .. kind, IS = "kind", SOURCE = about(found) }
        end
      end
    end
  end
  columns.print("schemas", { { name = "NAME" }, { name = "IS" }, { name = "SOURCE", trunc = true } }, lines, o)
  return 0
end

local function words(entry)
  local out = {}
  for _, value in ipairs(entry.values or {}) do
    out[#out + 1] = ("%s=%d"):format(value[2], value[1])
  end
  return table.concat(out, " ")
end

local function title(node)
  local out = { node.path .. ":" }
  local function add(format, ...)
    out[#out + 1] = format:format(...)
  end
  local m, c, family = node.message, node.command, node.what == "family" and node.family
  if family then
    add("generic netlink family%s", family.version and ", version " .. family.version or "")
    if family.groups[1] then
      add("(groups: %s)", table.concat(family.groups, " "))
    end
  elseif c then
    local is_event = node.family.events[c.name] == c
    add("%s %d%s%s", is_event and "event" or "command", c.number, c.listed and ", lists" or "", c.reply and ", answers with " .. c.reply or "")
  elseif node.what == "value" then
    add("%s", node.type.text)
  elseif node.what == "book" then
    add("messages")
  else
    add("%s", node.what == "object" and "message" or node.what)
  end
  if m and m.c then
    local numbers = {}
    for _, verb in ipairs { "new", "del", "get", "set" } do
      numbers[#numbers + 1] = m[verb] and ("RTM_%s%s %d"):format(verb:upper(), m.c, m[verb]) or nil
    end
    add("%s", table.concat(numbers, ", "))
  end
  local source = about(node)
  if source ~= "" then
    add("%s", source)
  end
  return table.concat(out, " ")
end

-- The words that a script uses where they are others than the keys of the message: of link:add{ vxlan = {...} } and the like.
local function vocabulary(node)
  local kind = node.path:match "^link%.linkinfo%.data%.([^.]+)$"
  local known = kind and kinds.kinds[kind] and kinds.kinds[kind].vocabulary
  local object, queue = node.path:match "^(%l+)%.options%.([^.]+)$"
  if queue then
    local form = object == "filter" and require("nslua.rtnl.filter_kind." .. queue) or queues[object == "class" and "classes" or "kinds"][queue]
    known = {}
    for word in pairs(form and form.words or {}) do
      known[word] = not (form.only_read and form.only_read[word]) or nil
    end
  end
  if not known and rtnl.names[node.path] and not rtnl.others[node.path] then
    known = require("nslua.rtnl." .. node.path).writers
  end
  local out = {}
  for word in pairs(known or {}) do
    out[#out + 1] = type(word) == "string" and word or nil
  end
  table.sort(out)
  return out
end

local function flow(prefix, texts)
  local line = prefix
  for _, word in ipairs(texts) do
    if #line + #word > 118 then
      io.write(line, "\n")
      line = (" "):rep(#prefix)
    end
    line = line .. " " .. word
  end
  io.write(line, "\n")
end

local show

local function text(o, node, seen)
  local nested = {}
  io.write(title(node), "\n")
  local known = vocabulary(node)
  if known[1] then
    flow("words:", known)
  end
  local lines = {}
  for i, e in ipairs(describe.entries(node)) do
    local number = e.number and ("%s%d"):format(e.member and "+" or "", e.number) or ""
    local kind = e.event and "event" or e.type
    lines[i] = { NUMBER = number, KEY = e.key, TYPE = #e.flags > 0 and kind .. " " .. table.concat(e.flags, " ") or kind,
      VALUES = e.values and words(e) or e.path and "-> " .. e.path or "" }
    nested[#nested + 1] = e.path
  end
  if node.what == "value" then
    lines = {}
    for i, value in ipairs(describe.entries(node)[1].values or {}) do
      lines[i] = { NUMBER = tostring(value[1]), NAME = value[2] }
    end
    if lines[1] then
      columns.print("values", { { name = "NUMBER", right = true }, { name = "NAME" } }, lines, o)
    end
  elseif lines[1] then
    columns.print("attributes", { { name = "NUMBER", right = true }, { name = "KEY" }, { name = "TYPE" }, { name = "VALUES", trunc = true } },
      lines, o)
  end
  if o.recursive then
    for _, path in ipairs(nested) do
      show(o, path, seen)
    end
  end
end

local function object(o, node, seen)
  local header, c = describe.source(node)
  local out = { name = node.path, is = node.what, header = header, c = c, entries = {}, number = node.command and node.command.number or nil }
  local known = vocabulary(node)
  out.words = known[1] and known or nil
  for i, e in ipairs(describe.entries(node)) do
    local names
    for _, value in ipairs(e.values or {}) do
      names = names or {}
      names[value[2]] = value[1]
    end
    out.entries[i] = { number = not e.member and e.number or nil, offset = e.member and node.what ~= "value" and e.number or nil,
      key = e.key, type = e.type, flags = e.flags[1] and e.flags or nil, c = e.c, values = names, path = e.path }
    if o.recursive and e.path then
      out.entries[i].inside = show(o, e.path, seen)
    end
  end
  return out
end

---Print a node, or give it as a plain table where JSON is asked for; nothing where it was shown before.
function show(o, path, seen)
  local node = assert(find(o.roots, path))
  local id = ("%s %s %s"):format(node.set or node.union or node.path, node.head or "", node.book.title)
  if seen[id] then
    return nil
  end
  seen[id] = true
  if o.json then
    return object(o, node, seen)
  end
  if seen.any then
    io.write "\n"
  end
  seen.any = true
  text(o, node, seen)
end

-- Families as the kernel tells of them; without a name, which there are.
local function drafts(o)
  local here <close> = require "nslua".netns.current()
  local control = here:netlink "nlctrl"
  if not o[1] then
    local lines = {}
    for i, row in ipairs(control:list "getfamily") do
      local groups = {}
      for k, group in ipairs(row.mcast_groups or {}) do
        groups[k] = group.name
      end
      lines[i] = { NAME = row.family_name, ID = tostring(row.family_id), VERSION = tostring(row.version), COMMANDS = tostring(#(row.ops or {})),
        GROUPS = table.concat(groups, " ") }
    end
    columns.print("families", { { name = "NAME" }, { name = "ID", right = true, number = true }, { name = "VERSION", right = true, number = true },
      { name = "COMMANDS", right = true, number = true }, { name = "GROUPS" } }, lines, o)
  end
  local names = {}
  for _, row in ipairs(o[1] and control:list "getfamily" or {}) do
    names[row.family_name] = true
  end
  for _, name in ipairs(o) do
    if not names[name] then
      errors.misuse("%s", (check.unknown("family", name, names):gsub("^unknown", "this kernel has no")))
    end
    io.write(require "nslua.genl.policy".draft(control, name))
  end
  return 0
end

---@param o table           the options
---@param declaration nslua.cli.Declaration
---@return integer status
return function(o, declaration)
  if o.kernel then
    return drafts(o)
  end
  o.roots = roots(o.file)
  if not o[1] then
    return list(o, o.roots)
  end
  local seen, out = {}, {}
  for _, name in ipairs(o) do
    local node, message = find(o.roots, name)
    if not node then
      io.stderr:write(declaration:prefix(), ": ", message, "\n")
      return 1
    end
    out[#out + 1] = show(o, name, seen)
  end
  if o.json then
    io.write(schema.json(#o == 1 and out[1] or out), "\n")
  end
  return 0
end
