-- lua5.4 tools/apidoc.lua [FILE]: the public API as one Markdown page, from the LuaCATS docstrings in lua/nslua; to FILE, or to stdout.
--
-- Public is what has a docstring (lines that begin with ---) and stands in a file of `pages` below; a docstring with ---@package is
-- the house's own. The text is the same for the same sources: nothing of the time or the machine is in it.

local M = {}

local function set(words)
  local out = {}
  for word in words:gmatch "%S+" do
    out[word] = true
  end
  return out
end

-- Sections in order, each with the files below lua/nslua it is made of. `prefix` is what the functions of a file's table M are called, and
-- with `only` those alone; `class` is what its methods are called where no class in the file says so. `selfish`: functions of M that take
-- self, methods alone; `selfless`: no methods; `classes`: of a file's classes those alone.
M.pages = {
  { "The module", { file = "init.lua", prefix = "ns", owner = "ns" }, { file = "wait.lua", prefix = "ns" } },
  { "Network namespaces",
    { file = "netns.lua", prefix = "ns.netns" },
    { file = "inside.lua", prefix = "ns.netns", class = "netns" },
    { file = "holders.lua", prefix = "ns.netns" },
    { file = "connect.lua", prefix = "ns" } },
  { "Links", { file = "rtnl/link.lua", class = "link" }, { file = "rtnl/linkverbs.lua", class = "link" } },
  { "Addresses", { file = "rtnl/address.lua", class = "address" } },
  { "Routes", { file = "rtnl/route.lua", class = "route" }, { file = "rtnl/encap.lua", only = {}, classes = set "nslua.Encap" } },
  { "Nexthops", { file = "rtnl/nexthop.lua", class = "nexthop" } },
  { "Rules", { file = "rtnl/rule.lua", class = "rule" } },
  { "Neighbours", { file = "rtnl/neighbour.lua", class = "neighbour" } },
  { "Neighbour tables", { file = "rtnl/neighbour_table.lua", class = "neighbour_table" } },
  { "Forwarding tables", { file = "rtnl/fdb.lua", class = "fdb" } },
  { "VLANs of bridges", { file = "rtnl/bridge_vlan.lua", class = "bridge_vlan" },
    { file = "rtnl/bridge_vlan_global.lua", class = "bridge_vlan_global" } },
  { "Multicast groups of bridges", { file = "rtnl/mdb.lua", class = "mdb" } },
  { "Settings of links", { file = "rtnl/netconf.lua", class = "netconf" } },
  { "Labels of addresses", { file = "rtnl/addrlabel.lua", class = "addrlabel" } },
  { "Queueing disciplines", { file = "rtnl/qdisc.lua", class = "qdisc" } },
  { "Classes", { file = "rtnl/class.lua", class = "class" } },
  { "Filters", { file = "rtnl/filter.lua", class = "filter" } },
  { "Sockets", { file = "diag/init.lua", class = "sockets", selfish = true }, { file = "diag/rows.lua", only = {} },
    { file = "owners.lua", only = {}, classes = set "nslua.Owner" },
    { file = "diag/filter.lua", only = {}, classes = set "nslua.SocketFilter" } },
  { "Tracked connections", { file = "netfilter/conntrack.lua", only = {}, classes = set "nslua.Connection nslua.Tuple nslua.ConntrackFilter" },
    { file = "netfilter/conntrack.lua", class = "conntrack", selfish = true },
    { file = "netfilter/monitor.lua", only = {}, classes = set "nslua.NetfilterEvent" },
    { file = "netfilter/monitor.lua", class = "netfiltermonitor", only = set "next each close pollfd events timeout", selfish = true } },
  { "nftables, read", { file = "netfilter/nftables.lua", only = {}, classes = set "nslua.NftTable nslua.NftChain nslua.NftRule nslua.NftSet" },
    { file = "netfilter/nftables.lua", class = "nftables", selfish = true } },
  { "Verbs of every collection", { file = "rtnl/verbs.lua", class = "collection", only = set "list each ensure get", selfish = true },
    { file = "schema.lua", only = {}, classes = set "nslua.Row" } },
  { "Monitors", { file = "monitor.lua", prefix = "ns" }, { file = "rtnl/groups.lua", only = {}, classes = set "nslua.Event" } },
  { "Transactions", { file = "transaction.lua", prefix = "ns", selfless = true } },
  { "Own schemas", { file = "netlink.lua", prefix = "ns.netlink", only = set "family kind" },
    { file = "genl/declare.lua", only = {} },
    { file = "genl/family.lua", only = {}, classes = set "nslua.FamilyRow" },
    { file = "genl/family.lua", class = "family", only = set "call list each policy monitor", selfish = true },
    { file = "genl/policy.lua", only = {} },
    { file = "genl/monitor.lua", only = {}, classes = set "nslua.FamilyEvent" },
    { file = "genl/monitor.lua", class = "familymonitor", only = set "next each close pollfd events timeout", selfish = true },
    { file = "genl/wireguard.lua", class = "wireguard", selfish = true, only = set "device set genkey genpsk" },
    { file = "rtnl/kind/init.lua", only = {}, classes = set "nslua.Kind" } },
  { "Wires", { file = "wire.lua", prefix = "ns.wire" }, { file = "impairment.lua", only = {}, classes = set "nslua.Impairment" },
    { file = "schedule.lua", only = {}, classes = set "nslua.Flap nslua.Replay" } },
  { "Processes",
    { file = "process.lua", prefix = "ns", class = "handle", only = set "run spawn fork" },
    { file = "exec.lua", prefix = "ns" },
    { file = "result.lua", only = {} },
    { file = "plan.lua", only = {} },
    { file = "stream.lua", only = {} } },
  { "Namespaces of every type",
    { file = "namespace.lua", prefix = "ns.namespace", only = set "open current is list time_offsets set_time_offsets" },
    { file = "namespace.lua", prefix = "ns", only = set "unshare setns", selfless = true },
    { file = "census.lua", only = {}, classes = set "nslua.NamespaceRow nslua.NamespaceMount nslua.NamespaceList" } },
  { "User namespaces", { file = "userns.lua", prefix = "ns.userns" },
    { file = "idmap.lua", only = {}, classes = set "nslua.IdRange nslua.IdMap nslua.IdMaps" } },
  { "Probes",
    { file = "inspect/ping.lua", class = "netns" },
    { file = "inspect/ping_many.lua", prefix = "ns.probe" },
    { file = "inspect/probe.lua", prefix = "ns.probe" },
    { file = "inspect/icmp.lua", only = {}, classes = set "nslua.ProbeError" },
    { file = "inspect/tcp.lua", class = "netns" },
    { file = "inspect/udp.lua", class = "netns" },
    { file = "inspect/trace.lua", class = "netns" },
    { file = "inspect/path_mtu.lua", class = "netns" },
    { file = "inspect/resolve.lua", class = "netns" },
    { file = "inspect/dns.lua", only = {}, classes = set "nslua.DnsRecord" },
    { file = "inspect/http.lua", class = "netns" } },
  { "Why", { file = "inspect/why/init.lua", prefix = "ns", only = set "why", selfless = true },
    { file = "inspect/why/init.lua", only = {}, classes = set "nslua.WhyOptions nslua.Why" },
    { file = "inspect/why/walk.lua", only = {}, classes = set "nslua.why.Prediction" },
    { file = "inspect/why/init.lua", class = "why", selfish = true, only = set "plain json text" } },
  { "Looks", { file = "inspect/look/init.lua", class = "netns", only = set "look", classes = set "nslua.Look" },
    { file = "inspect/look/nat.lua", only = {}, classes = set "nslua.PublishedPort nslua.NatRule" },
    { file = "inspect/look/firewall.lua", prefix = "ns.look", classes = set "nslua.Firewall nslua.FirewallChain nslua.FirewallRule" },
    { file = "inspect/look/settings.lua", prefix = "ns.look" },
    { file = "inspect/look/counters.lua", prefix = "ns.look", classes = set "nslua.Growth" } },
  { "Captures", { file = "inspect/capture/method.lua", class = "netns" },
    { file = "inspect/capture/init.lua", prefix = "ns.capture", only = set "many read drops", selfless = true },
    { file = "inspect/capture/init.lua", only = {}, classes = set "nslua.CaptureOptions nslua.capture.Ring" },
    { file = "inspect/capture/init.lua", only = {}, classes = set "nslua.CaptureCounters nslua.CaptureResult" },
    { file = "inspect/capture/init.lua", only = {}, classes = set "nslua.capture.Recording nslua.capture.Drops" },
    { file = "inspect/capture/init.lua", class = "capture", selfish = true,
      only = set "counters sync comment stop close isopen next each packets wait pollfd timeout" },
    { file = "inspect/capture/packet.lua", only = {}, classes = set "nslua.capture.Packet" },
    { file = "inspect/capture/drops.lua", only = {}, classes = set "nslua.capture.Drop" },
    { file = "lab/capture.lua", only = {}, classes = set "nslua.lab.CaptureOptions" },
    { file = "lab/witness.lua", only = {}, classes = set "nslua.lab.PacketExpectation" },
    { file = "lab/witness.lua", class = "watch", only = set "expect never packets close", selfish = true } },
  { "Snapshots and journals", { file = "inspect/record/snapshot.lua", prefix = "ns", only = set "snapshot" },
    { file = "inspect/record/snapshot.lua", only = {}, classes = set "nslua.Snapshot" },
    { file = "inspect/record/snapshot.lua", class = "snapshot", only = set "text", selfish = true },
    { file = "inspect/record/diff.lua", prefix = "ns", only = set "diff" },
    { file = "inspect/record/diff.lua", only = {}, classes = set "nslua.Change nslua.Diff" },
    { file = "inspect/record/recorder.lua", prefix = "ns.journal", only = set "record" },
    { file = "inspect/record/recorder.lua", class = "recorder", only = set "next each namespaces close", selfish = true },
    { file = "inspect/record/journal.lua", prefix = "ns.journal", only = set "open" },
    { file = "inspect/record/journal.lua", only = {}, classes = set "nslua.Journal nslua.JournalEntry" },
    { file = "inspect/record/journal.lua", class = "journal", only = set "at diff events time", selfish = true } },
  { "Maps", { file = "inspect/map/init.lua", prefix = "ns", only = set "map" },
    { file = "inspect/map/init.lua", prefix = "ns.map", only = set "diff load" },
    { file = "inspect/map/init.lua", only = {}, classes = set "nslua.Map nslua.map.Namespace nslua.map.Container nslua.map.Link nslua.map.Far" },
    { file = "inspect/map/init.lua", only = {}, classes = set "nslua.map.Tunnel nslua.map.Wire nslua.map.Change" },
    { file = "inspect/map/wires.lua", only = {}, classes = set "nslua.map.End" },
    { file = "inspect/map/init.lua", class = "map", only = set "text svg dot mermaid json", selfish = true } },
  { "Nodes of labs, and their services",
    { file = "lab/node.lua", only = {}, classes = set "nslua.lab.Node" },
    { file = "lab/node.lua", class = "node", only = {}, selfish = true },
    { file = "lab/quiz/init.lua", only = {}, classes = set "nslua.lab.QuizOptions nslua.lab.Quiz nslua.lab.quiz.Answer" },
    { file = "lab/quiz/init.lua", class = "quiz", only = set "hint check solution close", selfish = true },
    { file = "lab/service/init.lua", only = {}, classes = set "nslua.lab.Service nslua.lab.ServicePlan" },
    { file = "lab/service/init.lua", class = "service", only = set "wait_ready log stop restart kill close", selfish = true },
    { file = "lab/service/ready.lua", only = {}, classes = set "nslua.lab.Ready" },
    { file = "lab/service/serve.lua", only = {}, classes = set "nslua.lab.ServeOptions" },
    { file = "lab/service/http.lua", only = {}, classes = set "nslua.lab.HttpRequest nslua.lab.HttpAnswer" },
    { file = "lab/traffic/init.lua", only = {}, classes = set "nslua.lab.TrafficOptions nslua.lab.Traffic" },
    { file = "lab/frr.lua", only = {}, classes = set "nslua.lab.FrrOptions nslua.lab.Frr nslua.lab.FrrLab" },
    { file = "lab/frr.lua", class = "frr", only = set "vtysh json close converged", selfish = true } },
  { "Tests", { file = "test.lua", prefix = "ns.test", class = "test" } },
  { "Sweeps", { file = "lab/sweep.lua", prefix = "ns", only = set "sweep" },
    { file = "lab/sweep/results.lua", only = {}, classes = set "nslua.Sweep nslua.SweepRow nslua.SweepFigure nslua.ChartOptions" },
    { file = "lab/sweep/results.lua", class = "sweep", only = set "summary table csv json svg", selfish = true } },
  { "Containers", { file = "container/init.lua", prefix = "ns.container" },
    { file = "container/handle.lua", only = {}, classes = set "nslua.Container" },
    { file = "container/handle.lua", class = "container", only = set "running read_file etc_file", selfish = true } },
  { "Errors", { file = "error.lua", prefix = "ns.error", only = set "is" } },
}

---@class apidoc.Item
---@field kind "class"|"function"
---@field name string
---@field class string?       the class a method belongs to
---@field params string[]     the names in its parameter list
---@field text string[]       lines of prose
---@field tags table          { tag, text } in order
---@field line integer
---@field owner string?      what stands before the name: "M", "methods"
---@field method boolean?
---@field value boolean?     assigned, no parameters known
---@field undocumented boolean?
---@field internal boolean

local function parse_block(block, line)
  local item = { text = {}, tags = {}, line = line, internal = false }
  for _, l in ipairs(block) do
    local tag, rest = l:match "^@(%w+)%s*(.*)$"
    if tag == "package" or tag == "private" then
      item.internal = true
    elseif tag then
      item.tags[#item.tags + 1] = { tag = tag, text = rest }
    elseif #item.tags > 0 and l ~= "" then
      -- A line of prose after a tag goes on with the tag.
      local last = item.tags[#item.tags]
      last.text = last.text .. " " .. l:gsub("^%s+", "")
    else
      item.text[#item.text + 1] = l
    end
  end
  return item
end

---What is documented in one Lua source, in order.
---@param source string
---@return apidoc.Item[] items
---@return string[] header  the first lines of comment
function M.parse(source)
  local items, header, block = {}, {}, {}
  local class, number, in_header = nil, 0, true
  for line in (source .. "\n"):gmatch "(.-)\n" do
    number = number + 1
    local doc = line:match "^%s*%-%-%-%s?(.*)$"
    if in_header and not doc and line:match "^%-%-" then
      header[#header + 1] = line:match "^%-%-%s?(.*)$"
    elseif doc then
      in_header = false
      block[#block + 1] = doc
    else
      in_header = false
      local name, arguments = line:match "^%s*function%s+([%w_.:]+)%s*%((.-)%)"
      if not name then
        name, arguments = line:match "^%s*([%w_.]+)%s*=%s*function%s*%((.-)%)"
      end
      local value = not name and line:match "^%s*([%w_]+%.[%w_]+)%s*=%s*[^=]"
      local item = #block > 0 and parse_block(block, number) or nil
      if item then
        for _, t in ipairs(item.tags) do
          if t.tag == "class" then
            item.kind, item.name = "class", t.text:match "^[%w_.]+"
            item.text[#item.text + 1] = t.text:match "^[%w_.]+%s*:?%s*[%w_.]*%s%s+(.*)$"
            -- A class with code below it has methods; one without only describes a table.
            class = line:find "%S" and item.name or class
          end
        end
      end
      if item and item.kind == "class" then
        items[#items + 1] = item
      elseif name or (item and value) then
        item = item or { text = {}, tags = {}, line = number, undocumented = true }
        local owner, separator, short = (name or value):match "^(.-)([.:])([%w_]+)$"
        item.kind, item.name, item.owner, item.method = "function", short or name, owner, separator == ":"
        item.class = item.method and owner ~= "M" and class or nil
        item.value = not name
        item.params = {}
        for p in (arguments or ""):gmatch "[%w_.]+" do
          item.params[#item.params + 1] = p
        end
        if owner and owner:find "%.methods$" then
          item.method, item.class = true, nil
          table.remove(item.params, 1)
        end
        if owner then
          items[#items + 1] = item
        end
      end
      block = {}
    end
  end
  return items, header
end

-- "name? type text" of a tag. A type ends at the first blank outside of brackets, or after a comma, colon or bar goes on.
local function split_type(text)
  local depth, i = 0, 1
  while i <= #text do
    local c = text:sub(i, i)
    if c:find "[%(%[{<]" then
      depth = depth + 1
    elseif c:find "[%)%]}>]" then
      depth = depth - 1
    elseif c == '"' then
      i = text:find('"', i + 1, true) or #text
    elseif c == " " and depth == 0 and not text:sub(1, i - 1):find "[,:|]%s*$" and not text:sub(i):find "^%s*|" then
      break
    end
    i = i + 1
  end
  return text:sub(1, i - 1), (text:sub(i + 1):gsub("^%s+", ""))
end

local function code(text)
  return "`" .. text .. "`"
end

local function emit_tags(out, item)
  for _, t in ipairs(item.tags) do
    if t.tag == "param" then
      local name, rest = t.text:match "^(%S+)%s*(.*)$"
      local kind, text = split_type(rest)
      text = text:gsub("^# ?", "")
      local optional = name:sub(-1) == "?"
      out[#out + 1] = ("- %s: %s%s%s"):format(code(name:gsub("%?$", "")), code(kind), optional and ", optional" or "",
        text ~= "" and ". " .. text or "")
    elseif t.tag == "return" then
      local kind, text = split_type(t.text)
      out[#out + 1] = ("- returns %s%s"):format(code(kind), text ~= "" and " " .. text:gsub("%s%s+", ": ", 1) or "")
    elseif t.tag == "field" then
      local name, rest = t.text:match "^(%b[]%??)%s*(.*)$"
      if not name then
        name, rest = t.text:match "^(%S+)%s*(.*)$"
      end
      local kind, text = split_type(rest)
      out[#out + 1] = ("- %s: %s%s"):format(code(name), code(kind), text ~= "" and " " .. text or "")
    elseif t.tag == "see" then
      out[#out + 1] = "- see " .. t.text
    end
  end
end

local function prose(out, lines)
  if #lines > 0 then
    for _, l in ipairs(lines) do
      out[#out + 1] = l
    end
    out[#out + 1] = ""
  end
end

local function signature(item, part)
  local name = (part.prefix or "") .. "." .. item.name
  if item.method then
    name = (item.class and item.class:match "[%w_]+$":lower() or part.class) .. ":" .. item.name
  end
  local parts = {}
  for _, p in ipairs(item.params) do
    local optional = false
    for _, t in ipairs(item.tags) do
      optional = optional or t.tag == "param" and t.text:match "^(%S+)" == p .. "?"
    end
    parts[#parts + 1] = optional and "[" .. p .. "]" or p
  end
  return name .. "(" .. table.concat(parts, ", ") .. ")"
end

---What a file says to the public, in order.
---@param part table      of a section
---@param source string
---@return apidoc.Item[]
function M.public(part, source)
  local out = {}
  local items = M.parse(source)
  for _, item in ipairs(items) do
    local shown = not item.internal and not item.undocumented and not item.name:find "^_"
      and (item.kind == "function" or #item.text > 0 or #item.tags > 1)
    if part.classes and (item.method or not part.classes[item.name]) then
      shown = false
    end
    if part.selfish and item.owner == "M" and part.only[item.name] then
      item.method, item.class = true, nil
      table.remove(item.params, 1)
    elseif item.kind == "function" and not item.method then
      shown = shown and item.owner == (part.owner or "M") and (not part.only or part.only[item.name] == true)
        and (not item.value or part.owner ~= nil)
    end
    if part.classes and (item.method or not part.classes[item.name]) then
      shown = false
    end
    if part.selfish and not item.method or part.selfless and (item.method or item.kind == "class") then
      shown = false
    end
    if shown then
      out[#out + 1] = item
    end
  end
  return out
end

---The whole page.
---@param read fun(name: string): string  the text of a file below lua/nslua
---@return string
function M.generate(read)
  local out = {
    "# The API of nslua", "",
    "Made by `lua5.4 tools/apidoc.lua doc/api.md` from the docstrings in `lua/nslua`: change those.", "",
    "Functions raise: a failure of the kernel is an error object (see Errors), a misuse an ordinary error at the caller's line. In the host `ns`",
    'is a global; elsewhere `local ns = require "nslua"`. A netns handle has `link`, `address`, `route` and the other collections, whose',
    "methods are written `link:add(t)` below: `handle.link:add(t)`.", "",
  }
  for _, page in ipairs(M.pages) do
    out[#out + 1] = ("- [%s](#%s)"):format(page[1], (page[1]:lower():gsub("[^%w ]", ""):gsub(" ", "-")))
  end
  for _, page in ipairs(M.pages) do
    out[#out + 1] = ""
    out[#out + 1] = "## " .. page[1]
    for i = 2, #page do
      local part = page[i]
      for _, item in ipairs(M.public(part, read(part.file))) do
        out[#out + 1] = ""
        out[#out + 1] = "### " .. code(item.kind == "class" and item.name or signature(item, part))
        out[#out + 1] = ""
        prose(out, item.text)
        emit_tags(out, item)
        if out[#out] == "" then
          out[#out] = nil
        end
      end
    end
  end
  return table.concat(out, "\n"):gsub("(%S)  +", "%1 ") .. "\n"
end

---The text of a file below `root`.
---@param root string  "lua/nslua/"
function M.reader(root)
  return function(name)
    local f = assert(io.open(root .. name))
    local text = f:read "a"
    f:close()
    return text
  end
end

if arg and arg[0] and arg[0]:find "apidoc%.lua$" then
  local text = M.generate(M.reader((arg[0]:match "^(.*)tools/" or "") .. "lua/nslua/"))
  local f = arg[1] and assert(io.open(arg[1], "w")) or io.stdout
  f:write(text)
  f:close()
end

return M
