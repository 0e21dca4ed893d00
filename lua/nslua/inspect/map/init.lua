-- ns.map(): every network namespace of the machine, how it is held, what it is called, its links, and how they are wired.

local check = require "nslua.check"
local core = require "nslua.core"
local errors = require "nslua.error"
local links = require "nslua.inspect.map.links"
local namespaces = require "nslua.inspect.map.namespaces"
local schema = require "nslua.schema"
local wires = require "nslua.inspect.map.wires"

local M = {}

---@class nslua.map.Container
---@field engine string  "docker", "podman", "containerd", ...
---@field id string
---@field name string
---@field image string?
---@field pid integer?
---@field pod string?    "NAMESPACE/NAME" of Kubernetes
---@field uid integer?   whose engine it is, where that is not root's

---@class nslua.map.Tunnel
---@field id integer?       VNI or key
---@field local_ string?    address of this end
---@field remote string?    of the other
---@field group string?     or the multicast group
---@field port integer?
---@field underlay { netns: integer, link: string, index: integer }?  the link that carries it
---@field peer { netns: integer, link: string, index: integer, title: string }?  the other end, where that is on this machine

---@class nslua.map.Far  the other end of a veth, or the link that one stands upon
---@field netns integer?  inode of its namespace; nil: none that could be seen
---@field title string?   of that namespace
---@field index integer
---@field link string?    its name

---@class nslua.map.Link
---@field index integer
---@field name string
---@field kind string?         "veth", "bridge", "loopback"; nil for a network card
---@field mtu integer
---@field up boolean
---@field carrier boolean?
---@field operstate string
---@field address string?      of the hardware
---@field addresses string[]   "10.0.0.1/24"
---@field master string?       the bridge it is a port of; `master_index`
---@field master_index integer?
---@field alias string?
---@field altnames string[]?
---@field peer nslua.map.Far?    of a veth or netkit
---@field lower nslua.map.Far?   of a vlan, macvlan, ipvlan
---@field tunnel nslua.map.Tunnel?

---@class nslua.map.Namespace
---@field inode integer
---@field id integer?          64-bit id (Linux 6.18)
---@field title string         "docker:web", "lab:demo/r1", "blue", "host", "pid:812 sleep"
---@field names string[]       in /run/netns
---@field containers nslua.map.Container[]  several share it in a pod
---@field lab { name: string, node: string, uid: integer }?
---@field host boolean?        the kernel's first
---@field current boolean?     this thread is in it
---@field owner integer?       inode of the user namespace that owns it
---@field processes integer    whose first thread is in it
---@field pid integer?         the first of them
---@field command string?      its command line
---@field holder integer?      where no process is in it: one that keeps it
---@field holder_command string?  its command line
---@field held string[]        how it is held: "process", "thread", "fd", "socket", "mount", ...
---@field paths string[]       where it is mounted
---@field mounts nslua.NamespaceMount[]  and where in other mount namespaces
---@field links nslua.map.Link[]
---@field error string?        why it has no links here

---@class nslua.map.Wire
---@field kind string             "veth", "macvlan", "vxlan", ...
---@field ends nslua.map.End[]    two; of what stands upon another, that is the second
---@field up boolean

---@class nslua.Map
---@field version integer
---@field time number        seconds since 1970
---@field namespaces nslua.map.Namespace[]  this one first, then by title
---@field wires nslua.map.Wire[]
---@field complete boolean   whether every process could be looked at, and every namespace
---@field missed string[]    what is not in it
local Map = { __name = "nslua.Map" }
local methods = {}
Map.__index = methods

function Map:__tostring()
  return ("map of %d network namespaces, %d wires"):format(#self.namespaces, #self.wires)
end

local function natural(text)
  return (text:gsub("%d+", function(n)
    return (("0"):rep(20) .. n):sub(-20)
  end))
end

---Look at every network namespace of the machine: what holds it, what it is called, its links, and how they are wired. Without root it has those that
---this user may look at. Called as `ns.map()`.
---@return nslua.Map
function M.map()
  local spaces, complete, missed = namespaces.list()
  local unseen = links.fill(spaces)
  for i = #spaces, 1, -1 do
    if spaces[i].gone then -- it ended meanwhile
      table.remove(spaces, i)
    end
  end
  table.move(unseen, 1, #unseen, #missed + 1, missed)
  local key = {}
  for _, space in ipairs(spaces) do
    key[space] = (space.host and "0" or space.current and "1" or "2") .. natural(space.title) .. " " .. space.inode
  end
  table.sort(spaces, function(a, b)
    return key[a] < key[b]
  end)
  return setmetatable({ version = 1, time = core.file.now(), namespaces = spaces, wires = wires.of(spaces),
    complete = complete and not unseen[1], missed = missed }, Map)
end

---The map as JSON text, which `ns.map.load` reads.
---@return string
function methods:json()
  return schema.json(self)
end

---As text for a terminal: a block for each namespace that others hang on, what hangs on it below its bridges.
---@param options? { columns: integer?, ascii: boolean?, all: boolean? }  columns: default 80; ascii: no lines of Unicode; all: also
---what is left out where many are alike, and addresses of link scope
---@return string
function methods:text(options)
  check.options("map.text", options or {}, { columns = "integer", ascii = "boolean", all = "boolean" })
  return require("nslua.inspect.map.text").draw(self, options or {})
end

---As SVG: one file, readable in light and dark.
---@param options? { title: string? }
---@return string
function methods:svg(options)
  check.options("map.svg", options or {}, { title = "string" })
  return require("nslua.inspect.map.svg").draw(self, options or {})
end

---As a graph of Graphviz.
---@return string
function methods:dot()
  return require("nslua.inspect.map.graph").dot(self)
end

---As a flowchart of Mermaid.
---@return string
function methods:mermaid()
  return require("nslua.inspect.map.graph").mermaid(self)
end

---The part of it that is around something: `"web"`, `"docker:web"`, `"lab:demo"`, `"blue"` of /run/netns, a title of the map, or an inode; and what
---their links lead to. An error names what is like it, where the map has no such thing.
---@param what string|integer
---@param options? { hops: integer? }  how many namespaces further: default 1
---@return nslua.Map
function methods:around(what, options)
  options = options or {}
  check.options("map.around", options, { hops = "integer" })
  if type(what) ~= "string" and math.type(what) ~= "integer" then
    errors.misuse("map.around: a name or an inode expected, got %s", type(what))
  end
  local hops = options.hops or 1
  check.argument("map.around", "hops", hops, "0-1000")
  return setmetatable(require("nslua.inspect.map.around").of(self, what, hops), Map)
end

---What another map has that this has not: see ns.map.diff.
---@param other nslua.Map
---@return nslua.map.Change[]
function methods:diff(other)
  return M.diff(self, other)
end

---@class nslua.map.Change
---@field what "namespace"|"link"|"address"
---@field action "new"|"delete"|"change"
---@field netns integer      inode
---@field title string       of the namespace
---@field link string?
---@field address string?
---@field changes table<string, { before: any, after: any }>?  of a change, by field

---What has changed from one map to another: namespaces, links and addresses that came and went, and fields of links.
---@param before nslua.Map
---@param after nslua.Map
---@return nslua.map.Change[] changes  in the order of the namespaces
function M.diff(before, after)
  for i, each in ipairs { before or false, after or false } do
    if type(each) ~= "table" or type(each.namespaces) ~= "table" then
      errors.misuse("map.diff: argument %d is no map: ns.map() and ns.map.load make one", i)
    end
  end
  return require("nslua.inspect.map.diff").of(before, after)
end

---A map from the text that `json` gave.
---@param text string
---@return nslua.Map
function M.load(text)
  check.argument("map.load", "text", text, "string")
  local value = core.json.decode(text)
  if type(value) ~= "table" or value.version ~= 1 or type(value.namespaces) ~= "table" or type(value.wires) ~= "table" then
    errors.raise { call = "map.load", errno = core.errno.EINVAL, message = "this is no map: `nslua map --json` and map:json() write one" }
  end
  return setmetatable(value, Map)
end

return setmetatable(M, {
  __call = function(_, ...)
    if select("#", ...) > 0 then
      errors.misuse "map: it takes no argument"
    end
    return M.map()
  end,
})
