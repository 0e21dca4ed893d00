-- ns.lab: a network in one line, real, and gone when the script is gone.

local addressing = require "nslua.lab.addressing"
local check = require "nslua.check"
local build = require "nslua.lab.build"
local captures = require "nslua.lab.capture"
local errors = require "nslua.error"
local expectation = require "nslua.lab.expectation"
local fault = require "nslua.lab.fault"
local foreign = require "nslua.lab.foreign"
local generate = require "nslua.lab.generate"
local keeper = require "nslua.keeper"
local links = require "nslua.lab.link"
local nodes = require "nslua.lab.node"
local nodename = require "nslua.lab.nodename"
local notation = require "nslua.lab.notation"
local running = require "nslua.lab.running"
local services = require "nslua.lab.service"
local settings = require "nslua.lab.settings"
local shared = require "nslua.lab.shared"
local shell = require "nslua.lab.shell"
local text = require "nslua.lab.text"
local topologies = require "nslua.lab.topology"
local wires = require "nslua.lab.wires"
local witness = require "nslua.lab.witness"

local M = {}

---@class nslua.Lab
---@field node table<string, nslua.lab.Node>  by name; `lab.h1` is the same where no method has that name
---@field nodes nslua.lab.Node[]              in the order of the text
---@field plan nslua.lab.Plan
---@field topology nslua.lab.Topology
---@field home nslua.Namespace?               the user namespace that all of it is in, for a script without rights
---@field name string                         other processes find it by; the pid of the script where none was said
---@field kept boolean                        it outlives its script
---@field keeper nslua.Keeper?                holds it, and is pid 1 of what runs in it; nil where another process built the lab
local Lab = { __name = "nslua.Lab" }
local methods = {}
M.methods = methods

local optional = { hub = true, captures = true, common = true, home = true, closed = true, resolv_conf = true, keeper = true, is_open_copy = true,
  opened_as = true, single_packets = true, board = true, seen = true,
  topology_text = true, has_turn = true, agenda = true, begun = true }

function Lab:__keys()
  return { methods, rawget(self, "node") }
end

function Lab:__index(key)
  local method = methods[key]
  if method or optional[key] then
    return method
  end
  return rawget(self, "node")[key]
end

---The link between two nodes: the first, or that number, of those there are.
---@param a string|nslua.lab.Node
---@param b string|nslua.lab.Node
---@param number? integer
---@return nslua.lab.Link?
function methods:link(a, b, number)
  shared.refresh(self)
  local list = { self.plan:link(nodename.of(a, "lab.link", self), nodename.of(b, "lab.link", self)) }
  local plan = list[number or 1]
  if not plan then
    return nil
  end
  return links.numbered(self, plan.index)
end

---The link that stands at that place in the topology.
---@param number integer
---@return nslua.lab.Link
function methods:numbered(number)
  return links.numbered(self, number)
end

---Take over what other processes have changed of the lab. lab:link, lab:draw and what changes a link do it by themselves.
function methods:refresh()
  shared.refresh(self)
end

-- The plan is another, of the same nodes and links: the links that are known follow.
function methods:replanned()
  local known = {}
  for plan, link in pairs(self.link_of) do
    known[self.plan.links[plan.index]] = link
    links.follow(link, self.plan.links[plan.index])
  end
  self.link_of = known
end

---Echo requests between all pairs of hosts (of routers, where there are no hosts), all at the same time, in both families unless one is said. Who
---has no address of a family is left out there.
---@param options? nslua.PingManyOptions  besides: `nodes`, a list of those to ask and be asked
---@return { sent: integer, received: integer, loss: number, elapsed: number, pairs: nslua.PingResult[] }  `from` and `to` are nodes
function methods:ping_all(options)
  shared.refresh(self)
  local asked, rest, list = {}, {}, {}
  for key, value in pairs(options or {}) do
    rest[key] = value
  end
  for _, each in ipairs(rest.nodes or {}) do
    asked[#asked + 1] = type(each) == "table" and each or self.node[nodename.of(each, "lab.ping_all")]
      or errors.misuse("lab.ping_all: %s", check.unknown("node", each, self.node))
  end
  rest.nodes = nil
  for _, kind in ipairs { "host", "router" } do
    for _, node in ipairs(asked[1] and {} or self.nodes) do
      asked[#asked + 1] = node.kind == kind and node or nil
    end
  end
  local addressed = {}
  for _, family in ipairs(rest.family and { rest.family } or { "inet", "inet6" }) do
    addressed[family] = {}
    for _, one in ipairs(asked) do -- who has none there cannot be asked, and does not ask
      addressed[family][one] = one.plan[family] and self.plan:address_of(one.node_name, nil, family) ~= nil
    end
    for i, one in ipairs(asked) do
      for k = i + 1, #asked do
        local other = asked[k]
        if addressed[family][one] and addressed[family][other] then
          -- both ways behind each other: who was asked knows its neighbour
          list[#list + 1] = { from = one, to = other, family = family }
          list[#list + 1] = { from = other, to = one, family = family }
        end
      end
    end
  end
  rest.family = nil
  return require("nslua").probe.ping_many(list, rest)
end

---A script of ip(8), tc(8) and bridge(8) that builds the same network, with namespaces that have names.
---@param options? { prefix: string }  of the names
---@return string
function methods:to_shell(options)
  return shell.script(self.topology, self.plan, function(node)
    local out = {}
    for i, write in ipairs(settings.of(self.common, node, self.topology.nodes[node.index].sysctl)) do
      out[i] = { (write[1]:gsub("^/proc/sys/", "")), (write[2]:gsub("\n$", "")) }
    end
    return out
  end, options)
end

---Raise unless one node reaches another, or does so within a time: `lab:expect{ "h1", "h2", rtt = "30ms", within = 5 }`. Or, where `link` or `node`
---says where, unless such a packet goes by: `lab:expect{ link = { "h1", "r1" }, tcp = { flags = "S" }, within = 2, when = function() ... end }`. The
---error says what was seen instead, why the kernel dropped packets, and what is wrong at the nodes.
---@param t nslua.lab.Expectation|nslua.lab.PacketExpectation
---@return table result  of the probe that was as expected; or the first such packet, and then a list of all
function methods:expect(t)
  if witness.is(t) then
    return witness.expect(self, t)
  end
  return expectation.expect(self, t)
end

---Raise if one node reaches another, now or at any time while it is looked at: `lab:never{ "h1", "h2", tcp = 80, during = 1 }`. Or if
---such a packet goes by: `lab:never{ link = { "r1", "h2" }, icmp = true, during = 1 }`.
---@param t nslua.lab.Expectation|nslua.lab.PacketExpectation
function methods:never(t)
  if witness.is(t) then
    witness.never(self, t)
    return
  end
  expectation.never(self, t)
end

---Traffic of several at the same time: `lab:traffic{ { "h1", "h3", congestion = "cubic" }, { "h2", "h3", congestion = "bbr" }, seconds = 5 }`.
---@param flows table  from, to and options of node:traffic; options that stand outside are of all
---@return nslua.lab.Traffic[]  in the order of the flows
function methods:traffic(flows)
  return require("nslua.lab.traffic").many(self, flows)
end

---Watch for packets, before something is done: `local w <close> = lab:watch{ link = { "h1", "r1" }, tcp = { flags = "S" } }`, then
---`w:expect{ within = 2 }`, `w:never()` or `w:packets()`.
---@param t nslua.lab.PacketExpectation
---@return nslua.lab.Witness
function methods:watch(t)
  return witness.watch(self, t)
end

---Capture packets: of all interfaces of every node, or of some nodes or links, into one file or as values. It ends with the lab.
---@param options? nslua.lab.CaptureOptions
---@return nslua.Capture
function methods:capture(options)
  return captures.begin(self, options)
end

---Break something, as it breaks in life: `lab:fault("no_forwarding", "r1")`. fault:mend() repairs it, and so does leaving its block (<close>).
---@param name "no_forwarding"|"rp_filter"|"no_default_route"|"link_down"|"duplicate_address"|"wrong_neighbour"|"mtu_black_hole"|"icmp_blocked"
---@param node string|nslua.lab.Node
---@param options? { machine: boolean? }  others on this machine may feel it too: a fault of what is the machine's needs it
---@return nslua.lab.Fault
function methods:fault(name, node, options)
  return fault.make(self, name, node, options)
end

---Run routing daemons of FRR on every router, in place of the routes that the lab made: `lab:frr{ ospf = true }:converged()`. Needs the package frr.
---@param options nslua.lab.FrrOptions
---@return nslua.lab.FrrLab
function methods:frr(options)
  return require("nslua.lab.frr").start_all(self, options)
end

local formats = { "text", "svg", "dot", "mermaid", "json" }

local function draw(topology, plan, options, down, agenda)
  check.options("lab.draw", options or {}, { format = "string", columns = "integer", ascii = "boolean", addresses = "boolean" })
  options = options or {}
  local format = options.format or "text"
  local all = { columns = options.columns, ascii = options.ascii, addresses = options.addresses, plan = plan, down = down,
    agenda = agenda }
  if format == "text" then
    return require("nslua.lab.picture").draw(topology, all)
  elseif format == "svg" then
    return require("nslua.lab.svg").draw(topology, all)
  elseif format == "dot" or format == "mermaid" then
    return require("nslua.lab.graph")[format](topology, all)
  elseif format == "json" then
    return require("nslua.lab.graph").json(topology, plan, all)
  end
  errors.misuse("lab.draw: %s; there are %s", check.unknown("format", format, formats), table.concat(formats, ", "))
end

---The lab as a picture: text for a terminal, SVG, DOT, Mermaid, JSON.
---@param options? { format: "text"|"svg"|"dot"|"mermaid"|"json", columns: integer, ascii: boolean, addresses: boolean }
---@return string
function methods:draw(options)
  shared.refresh(self)
  local down = {}
  for _, link in pairs(self.link_of) do
    down[link.number] = link.is_down
  end
  return draw(self.topology, self.plan, options, down, self.agenda)
end

-- The table that all else is made of, and, of a text, where what it says stands.
local function understood(said)
  if type(said) == "string" then
    local places
    said, places = notation.read(said)
    return notation.placed(places, topologies.read, said), places
  elseif type(said) ~= "table" then
    errors.misuse("lab: a text (\"h1 -- h2\") or a table expected, got %s", type(said))
  end
  return topologies.read(said)
end

local function plan_of(topology)
  local plan = addressing.plan(topology)
  foreign.check(plan, topology)
  return plan
end

local function planned(topology, places)
  if places then
    return notation.placed(places, plan_of, topology)
  end
  return plan_of(topology)
end

---The same of what is not built.
---@param said string|nslua.lab.Said
---@param options? table
---@return string
function M.draw(said, options)
  local topology, places = understood(said)
  return draw(topology, planned(topology, places), options)
end

---Whether a lab of another process, or one that is kept, has ended meanwhile: nothing goes by its links any more.
---@return boolean
function methods:has_ended()
  return running.has_ended(self.opened_as or self.name)
end

---Whether it is still there.
---@return boolean
function methods:isopen()
  return not self.closed
end

---Take it down: programs end, namespaces are the kernel's to free. A lab that is kept, and one of another process (ns.lab.open), lives on: only
---what this process holds of it is closed. Idempotent.
---@return true
function methods:close(err)
  if rawget(self, "closed") then
    return true
  end
  captures.finish(self)
  self.closed = true
  local fine, failed = pcall(services.close_all, self)
  failed = not fine and failed
  for each in pairs(self.packet_functions) do
    local ok, e = pcall(each.close, each, err) -- raises what its function raised, if nobody was told
    failed = failed or not ok and e
  end
  if rawget(self, "hub") then
    self.hub:close() -- all wires at once
  end
  if rawget(self, "board") then
    self.board:close()
  end
  local undone = wires.let_go(self)
  failed = failed or err == nil and undone
  if not self.kept and not rawget(self, "is_open_copy") then
    foreign.leave(self)
  end
  for _, each in ipairs(self.nodes) do
    local ok, e = pcall(each.close, each)
    failed = failed or not ok and e
  end
  if rawget(self, "keeper") then
    self.keeper:close()
  elseif rawget(self, "is_open_copy") and rawget(self, "home") then
    self.home:close()
  end
  if failed then
    error(failed, 0)
  end
  return true
end
Lab.__close = methods.close
Lab.__gc = methods.close

function Lab:__tostring()
  return ("lab of %d nodes%s"):format(#self.nodes, self.closed and " (closed)" or "")
end

---What a text or a table says, as the table that all else is made of: every node with its kind, every value a number.
---@param said string|nslua.lab.Said
---@return nslua.lab.Topology
function M.topology(said)
  return (understood(said))
end

---The text that says the same as a text or table.
---@param said string|nslua.lab.Said
---@return string
function M.text(said)
  return text.of(M.topology(said))
end

---What impairs a link of a topology, as the items between its dashes in a text.
---@param link nslua.lab.TopologyLink
---@return string[]
function M.items(link)
  return text.items(link)
end

for name, fn in pairs(generate) do
  M[name] = fn
end

---@class nslua.LabOptions
---@field name? string          other processes find the lab by: ns.lab.open, `nslua lab enter`. At most 64 bytes; one lab of a user has it at a time
---@field keep? string|boolean  the lab outlives its script, under that name (true: under `name`), until ns.lab.destroy or `nslua lab destroy`

local option_words = { name = "string", keep = "string|boolean" }

-- The name that was said, and whether the lab is kept.
local function name_of(options)
  local keep = options.keep or false
  local name = options.name or keep ~= true and keep or nil
  if keep and not name then
    errors.misuse "lab: keep = true needs a name"
  elseif type(keep) == "string" and keep ~= name then
    errors.misuse("lab: it cannot be named %q and kept as %q", name, keep)
  end
  return name and running.check_name("lab", name), keep ~= false
end

local function new(topology, fields, places)
  fields.topology, fields.plan = topology, planned(topology, places)
  fields.node, fields.nodes, fields.link_of, fields.wires = {}, {}, {}, {}
  fields.packet_functions = setmetatable({}, { __mode = "k" })
  return setmetatable(fields, Lab)
end

---Build a lab. Other processes of this user can open it while it runs, by its name.
---@param said string|nslua.lab.Said
---@param options? nslua.LabOptions  a table may say these itself
---@return nslua.Lab
function M.new(said, options)
  check.options("lab", options or {}, option_words)
  local topology, places = understood(said)
  local all = {}
  for word in pairs(option_words) do
    all[word] = options and options[word]
    if all[word] == nil and type(said) == "table" then
      all[word] = said[word]
    end
  end
  local name, keep = name_of(all)
  local self = new(topology, { home = keeper.home(), kept = keep }, places)
  local socket
  self.name, socket = running.claim(name)
  local ok, e = pcall(function()
    self.keeper = keeper.new(self.home)
    build.build(self, topology)
    running.publish(self, socket, keep)
    services.start_said(self)
  end)
  socket:close()
  if not ok then
    pcall(self.close, self)
    error(e, 0)
  end
  return self
end

---Open a lab that another process built, or that outlived its script: its nodes work as there. close() drops what was opened, and no more.
---@param name string  "name", or "1000/name" for root: another user's
---@return nslua.Lab
function M.open(name)
  local said, nets, home, kept, more, whole = running.fetch(name)
  if home and keeper.needed() then
    keeper.trust(home.fd) -- this user's own
  end
  local ok, self = pcall(function()
    local news = more.board and running.news(more.board)
    local lab = new(M.topology(news and running.topology_of(news) or said.topology), { home = home, kept = kept, name = said.name,
      common = said.common, is_open_copy = true, opened_as = whole, board = more.board, topology_text = news and news.topology })
    for i, each in ipairs(lab.plan.nodes) do
      if each.name ~= said.nodes[i] then
        errors.raise { call = "lab.open", message = "its description does not fit its nodes", detail = name }
      end
      nets[i].userns = home and home:copy()
      lab.nodes[i] = nodes.of(nets[i], lab, each)
      lab.node[each.name] = lab.nodes[i]
    end
    services.find_said(lab)
    wires.adopt(lab, said.wires or {}, more.hub)
    shared.refresh(lab)
    return lab
  end)
  if not ok then
    for _, handle in ipairs(nets) do
      handle:close()
    end
    for _, each in pairs { home, more.board } do
      each:close()
    end
  end
  if more.hub then
    more.hub:close()
  end
  if not ok then
    error(self, 0)
  end
  return self
end

M.list, M.members, M.destroy = running.list, running.members, running.destroy

---The faults there are for lab:fault, each with what it is.
---@return table<string, string>
function M.faults()
  local out = {}
  for name, known in pairs(fault.known) do
    out[name] = known.why
  end
  return out
end

---A lab that is broken, for somebody to mend: `local q <close> = ns.lab.quiz { level = "easy" }`, then work on `q.lab` until `q:check()`.
---@param options? nslua.lab.QuizOptions|string  the fault, or how one is chosen
---@return nslua.lab.Quiz
function M.quiz(options)
  return require("nslua.lab.quiz").new(options)
end

---What there is to be asked by ns.lab.quiz: numbers, levels, themes and complaints. `fault` is the answer.
---@return { number: integer, level: string, theme: string, complaint: string, fault: string }[]
function M.quizzes()
  return require("nslua.lab.quiz").list()
end

return setmetatable(M, {
  __call = function(_, ...)
    return M.new(...)
  end,
})
