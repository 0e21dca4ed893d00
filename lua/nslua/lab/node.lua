-- Nodes: handles of network namespaces that know their lab.

local nodename = require "nslua.lab.nodename"
local namespace = require "nslua.namespace"
local netns = require "nslua.netns"

local M = {}

---@class nslua.lab.Node: nslua.Netns
---@field node_name string          in the lab; `label` too
---@field kind "host"|"router"|"switch"
---@field lab nslua.Lab
---@field services table<string, nslua.lab.Service>?  those that `serve` started, by name: `lab.h2.services.http:log()`
---@field plan nslua.lab.PlanNode   what it was built of: its interfaces with their addresses
local Node = {}
for key, value in pairs(netns.Netns) do
  Node[key] = value
end
Node.__name = "nslua.lab.Node"

local methods = {}
M.methods = methods
Node.__keys = { methods, table.unpack(netns.Netns.__keys) }

function Node:__index(key)
  local value = methods[key]
  if value ~= nil then
    return value
  end
  return netns.Netns.__index(self, key)
end
namespace.derive("net", Node)

function Node:__tostring()
  return ("%s %s%s"):format(rawget(self, "kind"), rawget(self, "node_name"), rawget(self, "fd") and "" or " (closed)")
end

---Make a handle a node.
---@param handle nslua.Netns
---@param lab nslua.Lab
---@param plan nslua.lab.PlanNode
---@return nslua.lab.Node
function M.of(handle, lab, plan)
  local node = handle
  node.hostname = plan.name
  node.node_name, node.label, node.kind, node.plan, node.lab = plan.name, plan.name, plan.kind, plan, lab
  return setmetatable(node, Node)
end

---What programs on this node see as /etc/hosts or /etc/resolv.conf.
---@param name "hosts"|"resolv.conf"
---@return string
function methods:etc_file(name)
  if name == "resolv.conf" then
    return rawget(self, "resolv_conf") or self.lab.resolv_conf or ""
  end
  local lines = { "127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback" }
  for _, entry in ipairs(self.lab.plan:hosts(self.node_name)) do
    lines[#lines + 1] = entry[1] .. " " .. entry[2]
  end
  return table.concat(lines, "\n") .. "\n"
end

-- Programs that start from now on see the files of /etc as they are now; the view that others had stays theirs.
function methods:forget_etc()
  self.etc_files = nil
  local view = rawget(self, "sys_mount")
  if view then -- it has the old ones in it
    self.sys_mount = nil
    view:close()
  end
end

---What programs that start from now on see as /etc/resolv.conf.
---@param text string  "nameserver 10.0.1.1\n"
function methods:set_resolv_conf(text)
  self.resolv_conf = text
  self:forget_etc()
end

local holds = { run = true, spawn = true, output = true, fork = true }

-- Programs run in the pid namespace of the lab's keeper: all that they start ends with the lab, however the script ends. Not what joins other
-- namespaces of processes and files, or says `contain = false`.
local function contained(self, verb, plan, ...)
  local keeper = rawget(self, "lab") and rawget(self.lab, "keeper")
  if not holds[verb] or not keeper or self.plan.container or self.plan.existing then
    return plan, ...
  elseif type(plan) == "function" then
    return { contain = keeper }, plan, ...
  elseif type(plan) ~= "table" or plan.contain ~= nil or plan.join ~= nil or plan.unshare ~= nil or plan.init or plan.pty then
    return plan, ...
  end
  local copy = {}
  for key, value in pairs(plan) do
    copy[key] = value
  end
  copy.contain = keeper
  return copy, ...
end

-- A node's programs see its files of /etc, which are made when a first one starts.
for _, verb in ipairs { "run", "spawn", "exec", "output", "fork", "shell" } do
  methods[verb] = function(self, ...)
    if not rawget(self, "etc_files") then
      self.etc_files = {}
      for i, name in ipairs { "hosts", "resolv.conf" } do
        self.etc_files[i] = { name = name, text = self:etc_file(name) }
      end
    end
    return namespace.Namespace.methods[verb](self, contained(self, verb, ...))
  end
end

---An address of this node, without its length: the one that another reaches, on the interface towards it; without another, its first.
---@param other? string|nslua.lab.Node
---@param family? "inet"|"inet6"  (default: IPv4 where there is one)
---@return string?  nil where it has none, or the other has no way to it
function methods:address_of(other, family)
  return self.lab.plan:address_of(self.node_name, other and nodename.of(other, "address_of", self.lab) or nil, family)
end

---The link to another node: the first of them, or that number.
---@param other string|nslua.lab.Node
---@param number? integer
---@return nslua.lab.Link?
function methods:link_to(other, number)
  return self.lab:link(self, other, number)
end

---Start a service on this node: a program, or a function of Lua, that runs behind the script and is looked after: when it is ready, and what happens
---when it ends. It ends with its lab.
---@param plan nslua.lab.ServicePlan
---@return nslua.lab.Service
function methods:service(plan)
  return require("nslua.lab.service").start(self, plan)
end

---Start a service that is here already: "echo" (TCP and UDP), "http", "dns", "dhcp", "sink". It listens when this returns.
---@param name "echo"|"http"|"dns"|"dhcp"|"sink"
---@param options? nslua.lab.ServeOptions
---@return nslua.lab.Service
function methods:serve(name, options)
  return require("nslua.lab.service.serve").serve(self, name, options)
end

---Send to another node for a time, or so much, and tell what it came to: goodput, retransmissions, and how rtt, window and rate went.
---@param to string|nslua.lab.Node
---@param options? nslua.lab.TrafficOptions
---@return nslua.lab.Traffic
function methods:traffic(to, options)
  return require("nslua.lab.traffic").one(self, to, options)
end

---Run routing daemons of FRR: `r1:frr{ ospf = true }`, or a configuration of one's own: `r1:frr{ config = text, daemons = { "bgpd" } }`. Needs the
---package frr.
---@param options nslua.lab.FrrOptions
---@return nslua.lab.Frr
function methods:frr(options)
  return require("nslua.lab.frr").start(self, options)
end

---Translate addresses as routers at the edge do. "home": what goes out has the router's address, nothing comes in that was not asked for; "cgnat":
---the same, with ports drawn at random; "full_cone": `host` has the outside address to itself, both ways. Needs nft(8).
---@param preset "home"|"cgnat"|"full_cone"
---@param options { out: string, host: string? }  `out`: the device or the neighbour that is outside
function methods:nat(preset, options)
  require("nslua.lab.firewall").nat(self, preset, options)
end

---Filter packets. "block_frag_needed": no ICMP says that a packet is too large; "block_icmp": echo requests are dropped; "stateful": nothing begins
---from elsewhere. Needs nft(8).
---@param preset "block_frag_needed"|"block_icmp"|"stateful"
function methods:firewall(preset)
  require("nslua.lab.firewall").firewall(self, preset)
end

---Take a preset of nat or firewall away, or all of them.
---@param preset? string
function methods:clear(preset)
  require("nslua.lab.firewall").clear(self, preset)
end

return M
