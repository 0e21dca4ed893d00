-- The trace of nf_tables: which rules a packet met, as the kernel tells. It is asked for by rules in a table with `flags owner`, which goes with the
-- process that made it. linux/netfilter/nf_tables.h, NFT_MSG_TRACE

local book = require "nslua.netfilter.nftschema"
local core = require "nslua.core"
local errors = require "nslua.error"
local monitor = require "nslua.netfilter.monitor"
local schema = require "nslua.schema"

local M = {}

local TABLES, TRACES = 7, 9 -- NFNLGRP_NFTABLES, NFNLGRP_NFTRACE
local GENERATION, TRACE = 10 * 256 + 15, 10 * 256 + 17 -- NFNL_SUBSYS_NFTABLES: NFT_MSG_NEWGEN, NFT_MSG_TRACE
local POLICY, RULE = 1, 3 -- NFT_TRACETYPE_*

local class = schema.class { name = "nftables.trace", hidden = { "family_number", "version", "res_id" } }

---@class nslua.why.Trace
local Trace = {}
Trace.__index = Trace

-- A name that nobody has: several may look at one namespace at once.
local function name()
  return ("nslua_why_%x"):format(math.random(0, 0x7fffffff))
end

local function rules(tab, result)
  local match = result.proto == "icmp" and "meta l4proto { icmp, icmpv6 }" or ("%s dport %d"):format(result.proto, result.port)
  local back = result.proto == "icmp" and match or ("%s sport %d"):format(result.proto, result.port)
  local chains = {}
  for _, hook in ipairs { "prerouting", "output" } do
    chains[#chains + 1] = ("chain %s { type filter hook %s priority -350; %s meta nftrace set 1; %s meta nftrace set 1; };"):format(hook, hook, match,
      back)
  end
  return ("table inet %s { flags owner; %s }\n"):format(tab, table.concat(chains, " "))
end

---Ask for it in a namespace.
---@param space nslua.why.Space
---@param result nslua.Why
---@return nslua.why.Trace?
---@return string? why  there is none
function M.begin(space, result)
  local self = setmetatable({ space = space, table = name() }, Trace)
  local ok, e = pcall(function()
    local S = book:compile "trace"
    local set = { handle = space.handle }
    self.monitor = monitor.open(space.handle, "why", { TABLES, TRACES }, nil, function(kind, bytes)
      if kind == TRACE then
        return "trace", S:row(bytes, class, set):decode()
      elseif kind == GENERATION then
        return "generation"
      end
    end)
    self.process = space.handle:spawn { "nft", "-i", stdin = "pipe", stdout = "null", stderr = "null" }
    self.process.stdin:write(rules(self.table, result))
    local deadline = core.fd.clock() + 5
    repeat -- it is told when there is something new
      local event = self.monitor:next(math.max(0, deadline - core.fd.clock()))
    until not event or space.handle.nftables:tables({ name = self.table })[1]
    if not space.handle.nftables:tables({ name = self.table })[1] then
      error { message = "nft(8) does not load a table with flags owner" }
    end
  end)
  if not ok then
    self:close()
    if type(e) == "table" then
      return nil, errors.is(e, "ENOENT") and "nft(8) is not installed" or e.message
    end
    error(e, 0)
  end
  return self
end

---What was told until now, as lines: the rules that ended it.
---@param out { rule: table? }
---@return string[]
function Trace:finish(out)
  local lines, seen = {}, {}
  local event = self.monitor:next(0)
  while event do
    local t = event.object
    if t and t.table ~= self.table then
      local verdict = t.verdict and t.verdict.code
      local line
      if t.trace_type == RULE and verdict == "drop" then
        line = ("%s: nft trace: rule %s %s handle %d: drop"):format(self.space.label, t.table, t.chain, t.rule_handle or 0)
        out.rule = out.rule or { space = self.space, table = t.table, chain = t.chain, handle = t.rule_handle }
      elseif t.trace_type == POLICY and t.policy == "drop" then
        line = ("%s: nft trace: policy of %s %s: drop"):format(self.space.label, t.table, t.chain)
        out.rule = out.rule or { space = self.space, table = t.table, chain = t.chain }
      end
      if line and not seen[line] then
        seen[line] = true
        lines[#lines + 1] = line
      end
    end
    event = self.monitor:next(0)
  end
  return lines
end

---@return true
function Trace:close()
  if self.process then
    self.process:close()
  end
  if self.monitor then
    self.monitor:close()
  end
  return true
end

return M
