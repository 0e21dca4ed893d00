-- rtnetlink requests as lines of ip(8), tc(8), bridge(8): decoded from their bytes, so that a line says what the kernel was told.

local core = require "nslua.core"
local out = require "nslua.trace.out"
local schema = require "nslua.schema"
local sh = require "nslua.trace.sh"
local spaces = require "nslua.trace.spaces"

local M = {}

local ROUTE = 0 -- NETLINK_ROUTE
local GETLINK, SKIP_STATS = 18, 8

---@class nslua.trace.Family  how messages of one object read as words
---@field message string    in nslua.schema
---@field tool? string      default "ip"
---@field fits? fun(payload: string): boolean  of several objects that share message types
---@field decode? fun(payload: string, verb: string): table?  where the schema is that of rows alone
---@field again? fun(m: table): boolean  what it needed to read all of the message is loaded now
---@field write fun(context: nslua.trace.Context, m: table, flags: integer, replies: table[]?): string[]?, string?  words after the tool's name,
---and what they leave out (`also`: words of further lines); nil and a reason where no tool has words
---@field delete fun(context: nslua.trace.Context, m: table): string[]?, string?
---@field show fun(context: nslua.trace.Context, m: table, one: boolean?): string[]?, string?

---@class nslua.trace.Context
---@field space nslua.trace.Space
---@field link fun(index: integer?): string?  name of a link of that namespace
---@field payload string?  the message
---@field seen? table<integer, string>  names that links are given before the message is looked at: of a batch

local bridge, labels, tc = require "nslua.trace.bridge", require "nslua.trace.addrlabel", require "nslua.trace.tc"

---@type nslua.trace.Family[]
local families = {
  require "nslua.trace.link", require "nslua.trace.linkprop", require "nslua.trace.address", require "nslua.trace.route",
  require "nslua.trace.rule", require "nslua.trace.neighbour", require "nslua.trace.fdb", require "nslua.trace.nexthop",
  bridge.vlan, bridge.mdb, labels.addrlabel, labels.netconf, tc.qdisc, tc.class, require "nslua.trace.filter", (require "nslua.trace.nsid"),
}

local verbs = { new = "write", set = "write", del = "delete", get = "show" }

local function verb_of(message, kind)
  for word, verb in pairs(verbs) do
    if message[word] == kind then
      return verb
    end
  end
end

-- The family and verb of a message, and the name it has in nslua.schema.
local function meaning(kind, payload)
  for _, family in ipairs(families) do
    local message = schema.messages[family.message]
    local verb = message and verb_of(message, kind)
    if verb and (not family.fits or family.fits(payload)) then
      return family, verb, family.message
    end
  end
  for name, message in pairs(schema.messages) do
    local verb = verb_of(message, kind)
    if verb then
      return nil, verb, name
    end
  end
end

-- The C methods of a socket, as they were.
local raw

local function context_of(nl, space, seen)
  local context = { space = space, seen = seen }
  function context.link(index)
    if not index or index == 0 then
      return nil
    elseif seen and seen[index] then
      return seen[index]
    end
    require "nslua.rtnl.link" -- it has the schema
    local S = schema.compile "link"
    local row = raw.get(nl, GETLINK, S:encode { index = index, ext_mask = SKIP_STATS }, S)
    return row and row.name or ("if%.0f"):format(index) -- ip(8) reads that as an index
  end
  return context
end

-- What is nobody else's business.
local secrets = { private_key = true, preshared_key = true, sak = true, key = true }

-- Decoded values as text for a comment: { mtu 1400, name eth0 }.
local function plain(value, key_of)
  if secrets[key_of] and type(value) == "string" then
    return "(secret)"
  end
  if type(value) ~= "table" then
    return type(value) == "string" and sh.quote(value) or tostring(value)
  end
  local keys, parts = {}, {}
  for key in pairs(value) do
    keys[#keys + 1] = key
  end
  table.sort(keys, function(a, b)
    return tostring(a) < tostring(b)
  end)
  for _, key in ipairs(keys) do
    parts[#parts + 1] = (type(key) == "number" and "" or tostring(key) .. " ") .. plain(value[key], key)
  end
  return "{ " .. table.concat(parts, ", ") .. " }"
end

---@class nslua.trace.Line
---@field text string
---@field note string?      what the words leave out
---@field comment boolean?  no tool has words for it
---@field nameless boolean? a link whose name the kernel chooses

---What a message says, as words.
---@param context nslua.trace.Context
---@param kind integer     RTM_*
---@param flags integer    NLM_F_*
---@param payload string
---@param replies? any     what the kernel echoed; of what reads: true where it asks for one object
---@return string? tool    nil where no tool has words for it
---@return string[]|string words  or why not
---@return string? left    what the words leave out
---@return boolean? nameless  a link whose name the kernel chooses
function M.words(context, kind, flags, payload, replies)
  local family, verb, name = meaning(kind, payload)
  if not name then
    return nil, ("rtnetlink message %d of %d bytes"):format(kind, #payload)
  end
  local m = family and family.decode and family.decode(payload, verb) or schema.compile(name):decode(payload)
  if family and family.again and family.again(m) then
    m = schema.compile(name):decode(payload)
  end
  if not family then
    return nil, ("rtnetlink %s %s %s"):format(verb, name, plain(m))
  end
  local nameless = name == "link" and verb == "write" and not m.name and (not m.index or m.index == 0) and not m.group
  context.payload = payload
  local words, left
  if not family[verb] then
    return nil, ("rtnetlink %s %s %s"):format(verb, name, plain(m))
  elseif verb == "show" then
    words, left = family.show(context, m, replies == true)
  else
    words, left = family[verb](context, m, flags, replies)
  end
  if not words then
    return nil, ("rtnetlink %s %s: %s"):format(verb, name, left or plain(m))
  end
  if context.seen and name == "link" and verb == "write" and m.index and m.index ~= 0 and m.name then
    context.seen[m.index] = m.name
  end
  return family.tool or "ip", words, left, nameless
end

-- One request as a line. It never raises: a trace may not stop a script.
local function render(nl, space, seen, kind, flags, payload, replies)
  local ok, tool, words, left, nameless = pcall(M.words, context_of(nl, space, seen), kind, flags, payload, replies)
  if ok and tool then
    local lines = {}
    for i = 0, words.also and #words.also or 0 do
      local line = spaces.tool(space, tool)
      for _, word in ipairs(i == 0 and words or words.also[i]) do
        line[#line + 1] = word
      end
      lines[#lines + 1] = sh.join(line)
    end
    return { text = table.concat(lines, " && "), note = left, nameless = nameless }
  end
  local what = ok and words or ("rtnetlink message %d of %d bytes (%s)"):format(kind, #payload, tostring(tool))
  return { text = ("%s, in %s"):format(what, spaces.describe(space)), comment = true }
end

local function tell(line, note)
  if line.note then
    note = ("%s; no word for %s"):format(note, line.note)
  end
  (line.comment and out.comment or out.effect)(line.text, note)
end

-- The namespace of a socket; nil where it does not speak rtnetlink.
local sockets, known = setmetatable({}, { __mode = "k" }), setmetatable({}, { __mode = "k" })

---Note the namespace that a socket was made in.
---@param socket userdata
---@param space nslua.trace.Space
---@param protocol? integer  of netlink
function M.socket(socket, space, protocol)
  sockets[socket] = { space = space, protocol = protocol }
end

---The namespace a socket was made in.
---@param socket userdata
---@return nslua.trace.Space?
function M.space(socket)
  return sockets[socket] and sockets[socket].space
end

local function space_of(nl)
  local found = known[nl]
  if found and found.space.gone then
    found.space.gone = nil
  end
  return found and found.protocol == ROUTE and found.space or nil
end

-- What is asked for in other protocols, as nslua.netlink has it: its own words are the best there are.
---@type table?
local asked

local function protocol_line(nl, kind, payload, request)
  local found = known[nl]
  local where = found and ", in " .. spaces.describe(found.space) or ""
  if request and request.call and request.schema then
    local ok, m = pcall(function()
      return plain(request.schema:decode(payload))
    end)
    return { text = ("netlink: %s %s%s"):format(request.call, ok and m or "", where), comment = true, reads = request.reads }
  end
  return { text = ("netlink protocol %s, message %d of %d bytes%s"):format(found and found.protocol and ("%d"):format(found.protocol) or "?", kind,
    #payload, where), comment = true }
end

local function failed(line, began, message, errno, extack)
  out.comment(line.text, ("%s %s"):format(out.time(core.fd.clock() - began), out.failure(errno, message, extack and extack.message)))
end

-- Whether a message of rtnetlink asks for one object.
local function reads(kind, payload)
  return select(2, meaning(kind, payload)) == "show"
end

local function request(nl, kind, flags, payload, ...)
  local space = space_of(nl)
  local line = space and render(nl, space, nil, kind, flags, payload, reads(kind, payload) or nil)
    or protocol_line(nl, kind, payload, asked and asked[3] == payload and asked or nil)
  if space and reads(kind, payload) then
    line.reads, line.comment = true, true -- what the kernel answers with an echo: classes, qdiscs, filters
  end
  local began = core.fd.clock()
  local replies, message, errno, extack = raw.request(nl, kind, flags, payload, ...)
  local took = core.fd.clock() - began
  if line.reads and not out.all then
    return replies, message, errno, extack
  elseif replies then
    if line.nameless then
      line = render(nl, space, nil, kind, flags, payload, replies)
    end
    tell(line, out.time(took) .. " ok")
  else
    failed(line, began, message, errno, extack)
  end
  return replies, message, errno, extack
end

-- What an entry of a batch sends: one payload, several, or those that are alike.
local function payloads(entry)
  if type(entry) ~= "userdata" then
    return type(entry) == "table" and entry or { entry }
  end
  local list = {}
  for i = 1, #entry do
    list[i] = entry:get(i)
  end
  return list
end

local function batch(nl, requests, ...)
  local space, lines, seen = space_of(nl), {}, {}
  for _, r in ipairs(requests) do
    for _, payload in ipairs(payloads(r[3])) do
      lines[#lines + 1] = space and render(nl, space, seen, r[1], r[2], payload) or protocol_line(nl, r[1], payload, r)
    end
  end
  local began = core.fd.clock()
  local failures, message, errno = raw.batch(nl, requests, ...)
  local took = core.fd.clock() - began
  if not failures then
    out.comment(("batch of %d"):format(#lines), out.time(took) .. " " .. out.failure(errno, message))
    return failures, message, errno
  end
  local wrong = {}
  for _, f in ipairs(failures) do
    wrong[f.index] = f
  end
  for i, line in ipairs(lines) do
    local time = i == 1 and ("%s for %d in a batch, "):format(out.time(took), #lines) or ""
    local f = wrong[i]
    if not f then
      tell(line, time .. "ok")
    else
      out.comment(line.text, time .. out.failure(f.errno, f.message, f.extack and f.extack.message))
    end
  end
  return failures, message, errno
end

local function get(nl, kind, payload, ...)
  local began = core.fd.clock()
  local row, message, errno, extack = raw.get(nl, kind, payload, ...)
  if out.all then
    local space, time = space_of(nl), core.fd.clock() - began
    local line = space and render(nl, space, nil, kind, 0, payload, true) or protocol_line(nl, kind, payload)
    out.comment(line.text, ("%s %s"):format(out.time(time), row and "ok" or out.failure(errno, message, extack and extack.message)))
  end
  return row, message, errno, extack
end

local function many(how)
  return function(nl, kind, flags, payload, ...)
    local began = core.fd.clock()
    local rows, message, errno, extack = raw[how](nl, kind, flags, payload, ...)
    if out.all then
      local space, time = space_of(nl), core.fd.clock() - began
      local line = space and render(nl, space, nil, kind, 0, payload) or protocol_line(nl, kind, payload)
      out.comment(line.text, ("%s %s"):format(out.time(time), rows and "ok" or out.failure(errno, message, extack and extack.message)))
    end
    return rows, message, errno, extack
  end
end

-- As a get shows it.
local function index(nl, name)
  local began = core.fd.clock()
  local found, message, errno, extack = raw.index(nl, name)
  local space = out.all and space_of(nl)
  if space then
    local time, link = core.fd.clock() - began, require "nslua.rtnl.link"
    local line = render(nl, space, nil, link.get, 0, (link.schema or require("nslua.rtnl.verbs").schema(link)):encode { name = name }, true)
    if found == false then
      errno, message = core.errno.ENODEV, "netlink: No such device"
    end
    out.comment(line.text, ("%s %s"):format(out.time(time), found and "ok" or out.failure(errno, message, extack and extack.message)))
  end
  return found, message, errno, extack
end

-- Note what is asked for before it is sent.
local function noted(original, is_read)
  return original and function(r, ...)
    asked = r
    if is_read then
      r.reads = true
    end
    return original(r, ...)
  end
end

---Put the printing versions in the place of the core's.
function M.start()
  local lua = require "nslua.netlink"
  lua.write, lua.exchange = noted(lua.write), noted(lua.exchange, true)
  local open = core.netlink.open
  function core.netlink.open(fd, ...)
    local from = fd and sockets[fd]
    local nl, message, errno = open(fd, ...)
    if nl then
      known[nl] = from
      local methods = getmetatable(nl).__index
      if not raw then
        raw = {}
        for name, traced in pairs { request = request, batch = batch, get = get, dump = many "dump", list = many "list", index = index } do
          raw[name], methods[name] = methods[name], traced
        end
      end
    end
    return nl, message, errno
  end
end

return M
