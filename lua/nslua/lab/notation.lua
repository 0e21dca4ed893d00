-- Topologies as text: `h1 --10ms-- r1 -- (sw) -- h2`, read into the table that says the same.

local check = require "nslua.check"
local errors = require "nslua.error"
local impairment = require "nslua.impairment"
local quoted = require "nslua.lab.quoted"
local subnets = require "nslua.lab.subnet"
local topology = require "nslua.lab.topology"
local units = require "nslua.units"

local M = {}

local TAB = 8 -- columns

-- As a terminal shows it: a character of UTF-8 is a column, a tab goes on to the next of its own.
local function expand(text)
  local at = 0
  return (text:gsub("[^\x80-\xbf]", function(c)
    local step = c == "\t" and TAB - at % TAB or 1
    at = at + step
    return c == "\t" and (" "):rep(step) or nil
  end))
end

-- A place in the text: what is wrong is shown under it.
local function fail(self, at, format, ...)
  local before = self.text:sub(1, at - 1)
  local _, number = before:gsub("\n", "\n")
  local start = before:match ".*\n()" or 1
  local line = self.text:match("[^\n]*", start)
  local left = line:sub(1, at - start)
  local blank = expand(left):gsub("[\x80-\xbf]", ""):gsub(".", " ")
  errors.misuse("lab: line %d, column %d: %s\n  %s\n  %s^", number + 1, #left:gsub("[\x80-\xbf]", "") + 1, format:format(...),
    expand(line:gsub("\r$", "")), blank)
end

-- Blanks and comments; over line ends too where `lines`.
local function skip(self, lines)
  while true do
    local at = self.text:match(lines and "^%s*()" or "^[ \t\r]*()", self.at)
    if self.text:sub(at, at) == "#" then
      at = self.text:match("^[^\n]*()", at)
    end
    if at == self.at then
      return
    end
    self.at = at
  end
end

local function name_at(self)
  local at = self.text:match("^[%a_][%w_.]*()", self.at)
  while at do
    local more = self.text:match("^%-[%w_.]+()", at)
    if not more then
      break
    end
    at = more
  end
  if not at then
    return nil
  end
  -- a sentence's full stop is nobody's name
  local name = self.text:sub(self.at, at - 1)
  self.at = at
  return name
end

-- Items of one direction, or both: "10ms", "100mbit", "1%", "jitter 2ms", "10.0.0.0/24", "mtu 1400".
local words = { cost = "integer", mtu = "integer", name = "name", subnet = "subnet", vxlan = "vxlan" }
for word in pairs(impairment.words) do
  words[word] = word == "each_packet" and "flag" or (word == "gap" or word == "limit" or word == "seed") and "integer"
    or word == "distribution" and "name" or "scaled"
end

-- What floors below say of a misuse, without the place in the script: the place in the text is told instead.
local function told(e)
  return (errors.without_place(e):gsub("^lab: links?[^:]*: ", ""))
end

local function number(self, at, word, text)
  local ok, value = pcall(topology.number, word, text, word)
  if not ok then
    fail(self, at, "%s", told(value))
  end
  return value
end

-- A value that may stand between quotes.
local function value_of(self, at, text)
  local value = quoted.read(text)
  if not value then
    fail(self, at, "the quotes are not closed, or something stands behind them")
  end
  return value
end

local function subnet(self, at, text)
  local bytes, length = subnets.parse(text)
  if not length then
    fail(self, at, "%q is no subnet, such as 10.0.0.0/24 or fd00::/64", text)
  end
  local whole = subnets.of(bytes, length)
  if whole.bytes ~= bytes then
    fail(self, at, "%s is an address in %s: the subnet is expected", text, whole.text)
  end
  return text
end

-- "42", "42 via r1 r2", behind "vxlan".
local function vxlan(self, at, link, text, put)
  local id, rest = text:match "^(%d+)%s*(.*)$"
  local a, b = (rest or ""):match "^via%s+(%S+)%s+(%S+)$"
  if not id or rest ~= "" and not a then
    fail(self, at, "a VXLAN is said as: vxlan 42, or vxlan 42 via r1 r2")
  end
  put("vxlan", math.tointeger(tonumber(id)) or fail(self, at, "the number of a VXLAN is at most 16777215, got %s", id))
  link.via = a and { a, b } or nil
end

-- "p 1% r 10% h 0% k 100%", behind "gemodel".
local function bursts(self, at, text)
  local out = {}
  for word, value in text:gmatch "(%S+)%s*(%S*)" do
    if not word:find "^[prhk]$" or value == "" or out[word] then
      fail(self, at, "loss in bursts is said as: loss gemodel p 1%% r 10%% h 0%% k 100%%")
    end
    out[word] = number(self, at, "loss", value)
  end
  return { gemodel = out }
end

local function unit_word(text)
  if text:find "%%$" then
    return "loss"
  elseif pcall(units.duration, text) and not tonumber(text) then
    return "delay"
  elseif pcall(units.rate, text) and not tonumber(text) then
    return "rate"
  end
end

-- Put what an item says into the link that is being read. What is of one direction counts there, wherever it stands.
local function item(self, link, text, at)
  local way, rest = text:match "^([<>]?)%s*(.-)%s*$"
  at = at + #text:match "^[<>]?%s*"
  local into = way == ">" and link.to or way == "<" and link.from or link
  local function put(word, value)
    if into ~= link and not impairment.words[word] then
      fail(self, at, "%s is of both directions", word)
    elseif into[word] ~= nil then
      fail(self, at, "%s is said twice", word)
    end
    into[word] = value
  end
  if rest == "" then
    fail(self, at, "an item expected, such as 10ms, 100mbit, 1%% or mtu 1400")
  end
  local word, value = rest:match "^(%a[%w_]*)%s+(.+)$"
  if not word and words[rest] == "flag" then
    return put(rest, true)
  elseif word and words[word] then
    local form = words[word]
    if form == "integer" then
      local n = math.tointeger(tonumber(value)) or word == "seed" and value:match "^%d+$"
      return put(word, n or fail(self, at, "%s is a whole number, got %s", word, value))
    elseif form == "name" then
      return put(word, value_of(self, at, value))
    elseif form == "vxlan" then
      return vxlan(self, at, link, value, put)
    elseif word == "loss" and value:find "^gemodel%s" then
      return put(word, bursts(self, at, value:match "^gemodel%s+(.*)$"))
    elseif form == "scaled" then
      return put(word, number(self, at, word, value))
    elseif value == "none" then
      return put("subnet", false)
    end
    rest = value
  elseif word then
    fail(self, at, "%s", check.unknown("word of a link", word, words))
  end
  if rest:find("/", 1, true) then
    if into ~= link then
      fail(self, at, "a subnet is of both directions")
    elseif link.subnet == false then
      fail(self, at, "subnet is said twice")
    end
    link.subnet = link.subnet or {}
    table.insert(link.subnet, subnet(self, at, rest))
    return
  end
  local middle, spread = rest:match "^(.-)%s*±%s*(.+)$"
  if not middle then
    middle, spread = rest:match "^(.-)%s*%+%-%s*(.+)$"
  end
  if middle then
    put("delay", number(self, at, "delay", middle))
    return put("jitter", number(self, at, "jitter", spread))
  end
  local known = unit_word(rest)
  if not known then
    fail(self, at, "%q is neither a time (10ms), a rate (100mbit), a loss (1%%), a subnet (10.0.0.0/24) nor a word with its value", rest)
  end
  put(known, number(self, at, known, rest))
end

-- Whether what stands behind the dashes impairs the link, and is no node.
local function is_items(text)
  local first = text:match "^%s*(.-)%s*$"
  return first:find "^[<>%d]" ~= nil or first:find("[/%%±,]") ~= nil or first:find '^%a[%w_]*%s+[%w.<>"-]' ~= nil or words[first] == "flag"
end

-- "--", "--10ms--": returns the link's words, or nil where none begins here.
local function link_at(self)
  local begin = self.at
  local inner = self.text:match("^%-%-+()", begin)
  if not inner then
    return nil
  end
  self.at = inner
  local link = { to = {}, from = {} }
  local text, after = self.plain:match("^([^\n#%-]-)%-%-+()", inner)
  if not text then -- a dash may stand in it
    text, after = self.plain:match("^([^\n#]-)%-%-+()", inner)
  end
  if text and text:find "%S" and not text:find "[()%[%]{}]" and is_items(text) then
    for at, piece in text:gmatch "()([^,]+)" do
      local from, blanks = inner + at - 1, #piece:match "^%s*"
      item(self, link, self.text:sub(from + blanks, from + #piece - 1):match "^(.-)%s*$", from + blanks)
    end
    self.at = after
  elseif not text then
    local rest = self.plain:match("^[^\n#]*", inner)
    if rest:find "%S" and not rest:find "^%s*[%a_(]" and is_items(rest) then
      fail(self, inner + #rest:match "^%s*", "the dashes behind what impairs the link are missing: --10ms--")
    end
  end
  return link, begin
end

local end_words = { "vlan", "trunk", "dev", "foreign" }

-- "[eth5 10.1.0.1/24 vlan 10 trunk 20 30]"
local function end_at(self)
  skip(self)
  if self.text:sub(self.at, self.at) ~= "[" then
    return nil
  end
  local begin = self.at
  local text, after = self.plain:match("^%[([^%]\n]*)%]()", begin)
  if not text then
    fail(self, begin, "the bracket is not closed: h1[eth5 10.0.0.1/24]")
  end
  local out, mode = {}, nil
  for at, piece in text:gmatch "()([^%s,]+)" do
    at = begin + at
    piece = self.text:sub(at, at + #piece - 1)
    local whole = math.tointeger(tonumber(piece))
    if mode == "dev" then
      out.dev, mode = value_of(self, at, piece), nil
    elseif (piece == "vlan" or piece == "trunk" or piece == "dev") and out[piece] then
      fail(self, at, "%s is said twice", piece)
    elseif piece == "vlan" or piece == "trunk" or piece == "dev" then
      mode = piece
      out[mode] = mode ~= "dev" and {} or nil
    elseif piece == "foreign" then
      out.foreign, mode = true, nil
    elseif whole and mode then
      if whole < 1 or whole > 4094 then
        fail(self, at, "a VLAN is a number from 1 to 4094, got %s", piece)
      end
      table.insert(out[mode], whole)
    elseif whole then
      fail(self, at, "a number is of vlan or trunk: [vlan %d]", whole)
    elseif piece:find "^[%x:.]+/%d+$" or piece:find "^%d+%.%d+%.%d+%.%d+$" or piece:find "^%x*:[%x:.]*:" then
      if not subnets.parse(piece) then
        fail(self, at, "%q is no address, such as 10.0.0.1/24 or fd00::1/64", piece)
      end
      out.address, mode = out.address or {}, nil
      table.insert(out.address, piece)
    elseif not piece:find "^[%a_][%w_.-]*$" then
      fail(self, at, "%q is neither a device, an address, nor vlan or trunk with numbers", piece)
    elseif out.dev then
      fail(self, at, "%s", check.unknown("word of an end", piece, end_words))
    else
      out.dev, mode = piece, nil
    end
  end
  for _, word in ipairs { "vlan", "trunk" } do
    if out[word] and not out[word][1] then
      fail(self, begin, "%s has no number", word)
    end
  end
  if out.vlan and not out.vlan[2] then
    out.vlan = out.vlan[1]
  end
  self.at = after
  return out
end

local function switched(self, at, key, value)
  if value ~= "on" and value ~= "off" then
    fail(self, at, "%s is on or off", key)
  end
  return value == "on"
end

local node_options = {
  kind = function(self, at, out, value)
    if not topology.kinds[value] then
      fail(self, at, "%s", check.unknown("kind of node", value, topology.kinds))
    elseif (out.kind or value) ~= value then
      fail(self, at, "%s is a %s already", out[1], out.kind)
    end
    out.kind = value
  end,
  address = function(self, at, out, value)
    if value == "none" then
      out.addresses = false
    elseif out.addresses == false or not subnets.parse(value) then
      fail(self, at, "%q is no address, such as 10.9.0.1/32", value)
    else
      out.addresses = out.addresses or {}
      table.insert(out.addresses, value)
    end
  end,
  container = function(self, at, out, value)
    if (out.kind or "host") ~= "host" then
      fail(self, at, "a container is a host, and %s is a %s", out[1], out.kind)
    end
    out.container = value
  end,
  bridge = function(self, at, out, value)
    if out.kind ~= "switch" then
      fail(self, at, "a bridge of the machine is a switch: (%s){bridge=%s}", out[1], value)
    end
    out.bridge = value
  end,
  serve = function(self, at, out, value)
    local fault = topology.service_fault(value)
    if fault then
      fail(self, at, "%s", fault)
    end
    out.serve = out.serve or {}
    table.insert(out.serve, value)
  end,
}
local lab_options = {
  seed = function(self, at, out, value)
    out.seed = math.tointeger(tonumber(value)) or fail(self, at, "seed is a whole number, got %s", value)
  end,
}
for _, word in ipairs { "macvlan", "wire" } do
  node_options[word] = function(self, at, out, value)
    if out.kind == "switch" then
      fail(self, at, "%s is for a host or router, and %s is a switch", word, out[1])
    end
    out[word] = value
  end
end
for options, keys in pairs { [node_options] = { "ipv4", "ipv6" }, [lab_options] = { "ipv4", "ipv6", "multipath", "wire" } } do
  for _, key in ipairs(keys) do
    options[key] = function(self, at, out, value)
      out[key] = switched(self, at, key, value)
    end
  end
end

local examples = {
  [node_options] = "ipv4=off, ipv6=off, kind=router, address=10.9.0.1/32, serve=http, container=docker:web, net.ipv4.ip_forward=0",
  [lab_options] = "ipv4=off, ipv6=off, multipath=on, wire=on, seed=7",
}

-- "{ipv6=off, net.ipv4.ip_forward=0}", put into `out`.
local function options_at(self, known, out)
  if self.text:sub(self.at, self.at) ~= "{" then
    return false
  end
  local begin = self.at
  local text, after = self.plain:match("^{([^}\n]*)}()", begin)
  if not text then
    fail(self, begin, "the brace is not closed: h1{ipv6=off}")
  end
  for at, piece in text:gmatch "()([^,]+)" do
    at = begin + at
    piece = self.text:sub(at, at + #piece - 1)
    local key, value = piece:match "^%s*([^%s=\"]+)%s*=%s*(.-)%s*$"
    at = at + #piece:match "^%s*"
    if not key then
      fail(self, at, "an option expected: %s", examples[known])
    end
    value = value_of(self, at, value)
    if known[key] then
      if out[key] ~= nil and key ~= "kind" and key ~= "serve" then
        fail(self, at, "%s is said twice", key)
      end
      known[key](self, at, out, value)
    elseif known == node_options and key:find "^net[./]." then
      out.sysctl = out.sysctl or {}
      if out.sysctl[key] then
        fail(self, at, "%s is said twice", key)
      end
      out.sysctl[key] = value
    else
      local words_of = { known == node_options and "net.*" or nil }
      for word in pairs(known) do
        words_of[#words_of + 1] = word
      end
      fail(self, at, "%s", check.unknown(known == node_options and "option of a node" or "option of the lab", key, words_of))
    end
  end
  self.at = after
  return true
end

-- A node and what stands with it; nil where none begins here.
local function node_at(self)
  skip(self)
  local begin, kind = self.at, nil
  local name
  if self.text:sub(begin, begin) == "(" then
    self.at = begin + 1
    skip(self)
    name, kind = name_at(self), "switch"
    if not name then
      fail(self, self.at, "the name of a switch expected: (sw)")
    end
    skip(self)
    if self.text:sub(self.at, self.at) ~= ")" then
      fail(self, begin, "the parenthesis is not closed: (%s)", name)
    end
    self.at = self.at + 1
  else
    name = name_at(self)
    if not name then
      return nil, begin
    end
  end
  local known = self.known[name]
  if not known then
    if not topology.is_name(name) then
      fail(self, begin, "%q is no name of a node: it has more than 63 characters", name)
    end
    known = { name, kind = kind }
    self.known[name], self.places.nodes[name] = known, begin
    self.nodes[#self.nodes + 1] = known
    self.places.nodes[#self.nodes] = begin
  end
  if kind and (known.kind or kind) ~= kind then
    fail(self, begin, "%s is a %s already", name, known.kind)
  end
  known.kind = known.kind or kind
  options_at(self, node_options, known)
  return name, begin
end

-- An end of a link that is none.
local function stray(self, at)
  fail(self, at, "a bracket is of a link's end, and no link is on this side")
end

-- Floors below check what a link says; its place is told here.
local function check_link(self, link, at)
  local ok, e = pcall(topology.link, link)
  if not ok then
    fail(self, at, "%s", told(e))
  end
end

local function chain(self)
  local before_at = self.at
  local near = end_at(self)
  local last = node_at(self)
  if not last then
    local character = self.text:match(utf8.charpattern, self.at) or ""
    local link = character == "-" and "a link has no node before it" or ("a node expected: h1 or (sw), got %q"):format(character)
    fail(self, self.at, "%s", link)
  end
  skip(self)
  local near_at = self.at
  local behind = end_at(self)
  options_at(self, node_options, self.known[last])
  if near and behind then
    stray(self, before_at)
  end
  near, near_at = near or behind, behind and near_at or before_at
  while true do
    skip(self)
    local mark = self.at
    skip(self, true)
    local link, at = link_at(self)
    if not link then
      if near then
        stray(self, near_at)
      elseif self.at ~= mark or self.at > #self.text then
        return -- the next chain, on a line of its own
      end
      fail(self, self.at, "a link expected (--), or the end of the line")
    end
    skip(self, true)
    local far = end_at(self)
    local name = node_at(self)
    if not name then
      fail(self, math.min(self.at, #self.text + 1), "the link leads nowhere: a node expected behind it")
    elseif name == last then
      fail(self, at, "a link from %s to itself", name)
    end
    if not far then
      far = end_at(self)
      options_at(self, node_options, self.known[name])
    end
    link[1], link[2] = last, name
    link.ends = (near or far) and { near or {}, far or {} } or nil
    for _, way in ipairs { "to", "from" } do
      link[way] = next(link[way]) and link[way] or nil
    end
    check_link(self, link, at)
    self.links[#self.links + 1] = link
    self.places.links[#self.links] = at
    skip(self)
    near_at = self.at
    last, near = name, end_at(self) -- "[..]" of the next link stands behind this end's own
  end
end

---@class nslua.lab.Places  where in a text nodes are first told of, and links
---@field text string
---@field nodes table<string|integer, integer>  by name, and in their order
---@field links integer[]

-- Where a text says what an error is about: an address or a subnet where it stands last, a link by its number, a node.
local function place_of(places, message)
  for word in message:gmatch "%x[%x.:/]+%x" do
    local at
    for from, to in places.text:gmatch("()" .. word:gsub("%p", "%%%0") .. "()") do
      local beyond = places.text:sub(from - 1, from - 1):find "[%w.:]" or places.text:sub(to, to):find "[%w:]"
      at = word:find "[.:].*[.:]" and not beyond and from or at
    end
    if at then
      return at
    end
  end
  local link = places.links[tonumber(message:match "links?[ %[](%d+)")] or places.nodes[tonumber(message:match "nodes%[(%d+)%]")]
  if link then
    return link
  end
  for word in message:gmatch "[%w_.-]+" do
    local at = places.nodes[word] or places.nodes[word:gsub("[.-]+$", "")]
    if at then
      return at
    end
  end
end

---Do what tells of misuse by the names of nodes and links; of a text the place is told.
---@generic T
---@param places nslua.lab.Places
---@param fn fun(...): T
---@return T
function M.placed(places, fn, ...)
  local ok, value = pcall(fn, ...)
  if ok then
    return value
  end
  local message = type(value) == "string" and (value:match "^lab: (.*)" or value:match "^.-:%d+: lab: (.*)")
  local at = message and place_of(places, message)
  if at then
    fail(places, at, "%s", (message:gsub("^%a+%[%d+%]: ", "")))
  end
  error(value, 0)
end

---Read a text into the table form.
---@param text string
---@return nslua.lab.Said
---@return nslua.lab.Places
function M.read(text)
  local self = { text = text, plain = quoted.mask(text), at = 1, nodes = {}, known = {}, links = {},
    places = { text = text, nodes = {}, links = {} } }
  local out = { nodes = self.nodes, links = self.links }
  while true do
    skip(self, true)
    if self.at > #text then
      break
    elseif not options_at(self, lab_options, out) then
      chain(self)
    end
  end
  return out, self.places
end

return M
