-- The real packet: what becomes of it, and whether that is what was predicted.

local follow = require "nslua.inspect.why.follow"
local tcp = require "nslua.inspect.tcp"
local udp = require "nslua.inspect.udp"
local ping = require "nslua.inspect.ping"
local try = require("nslua.inspect.why.space").try
local units = require "nslua.units"

local M = {}

local HEADERS = { inet = 28, inet6 = 48 } -- of IP, and of UDP or ICMP

-- Send it, and wait for what comes of it.
local function send(self, origin, t, options, timeout)
  local handle, address = origin.handle, t.scope ~= 0 and ("%s%%%d"):format(t.address, t.scope) or t.address
  local payload = options.size and math.max(0, math.tointeger(options.size) - HEADERS[t.family])
  if self.proto == "icmp" then
    local r = ping.ping(handle, address, { count = 1, timeout = timeout, size = payload, dont_fragment = payload and true or nil })
    local failed = r.errors[1]
    return { ok = r.received > 0, elapsed = r.rtt.min, error = r.received == 0 and (failed and failed.error or "ETIMEDOUT") or nil,
      icmp = failed and failed.icmp, by = failed and failed.from }
  end
  local fn = self.proto == "tcp" and tcp.tcp or udp.udp
  local r = fn(handle, address, self.port, { timeout = timeout, send = self.proto == "udp" and ("x"):rep(payload or 1) or nil })
  return { ok = r.ok, elapsed = r.elapsed, error = r.error, icmp = r.icmp, by = r.from, sport = r.sport }
end

---Send a packet.
---@param self nslua.Why
---@param origin nslua.why.Space
---@param t nslua.Target
---@param options { size: integer?, timeout: number|string?, spaces: nslua.why.Spaces }
---@return table probe
function M.run(self, origin, t, options)
  local p = self.prediction
  local lost = p.verdict == "failed" and p.error == "ETIMEDOUT" -- it would come at once, or not at all
  local timeout = options.timeout and units.duration(options.timeout, "why: timeout") or lost and 1 or 5
  local followed <close> = follow.begin(self, options.spaces, { dport = p.dport })
  followed:now()
  local out = send(self, origin, t, options, timeout)
  self.probe_ok = out.ok
  local found = followed:finish(self, out.sport)
  out.seen, out.notes, out.last, out.last_direction, out.rule = found.seen, found.notes, found.last, found.last_direction, found.rule
  return out
end

-- Where no prediction is to be had, the rule that nf_tables itself said dropped the packet is the answer.
local function by_trace(self)
  local rule = self.probe.rule
  local family
  for _, row in ipairs(rule and try(rule.space.handle.nftables.rules, rule.space.handle.nftables) or {}) do
    if row.table == rule.table and row.chain == rule.chain and (not rule.handle or row.handle == rule.handle) then
      family = row.family
    end
  end
  if not family then
    return false
  end
  local place = ("%s %s %s"):format(family, rule.table, rule.chain)
  self.code, self.where, self.direction = "filter", rule.space.label, self.probe.last_direction
  if rule.handle then
    self.why = ("the rule %s handle %d says drop (nft trace)"):format(place, rule.handle)
    self.fix = ("in %s: nft delete rule %s handle %d, or a rule before it that accepts"):format(self.where, place, rule.handle)
  else
    self.why = ("no rule of %s accepts it, and its policy is drop (nft trace)"):format(place)
    self.fix = ("in %s: a rule in %s that accepts"):format(self.where, place)
  end
  return true
end

---Let the probe decide, and say so where it does not agree.
---@param self nslua.Why
---@param sized boolean  a size was asked for
function M.judge(self, sized)
  local probe, predicted = self.probe, self.ok
  if self.proto == "tcp" and sized then
    table.insert(probe.notes, "it opens a connection, by packets that are small: how large ones fare is predicted alone")
    if probe.ok and self.code == "mtu" then
      return
    end
  end
  local finding = self.prediction.finding
  local unseen = not predicted and finding and finding.unknown and self.prediction.verdict == "failed" -- nothing is predicted
  self.ok = probe.ok
  if unseen and not probe.ok then
    self.error, self.verdict = probe.error, probe.error == "ECONNREFUSED" and "refused" or self.proto == "udp" and "unknown" or "failed"
    self.why = ("%s, and what is behind that is not seen: the probe says %s"):format(self.why, tostring(probe.error))
    return
  end
  if probe.ok then
    if not predicted then
      self.disagree = not unseen and ("predicted was that it ends in %s (%s); the probe was answered"):format(tostring(self.where),
        tostring(self.why)) or nil
      self.verdict, self.error, self.why, self.fix, self.code, self.where, self.direction = "reached", nil, nil, nil, nil, nil, nil
    end
    return
  end
  self.error = probe.error
  if predicted then
    self.verdict = probe.error == "ECONNREFUSED" and "refused" or "failed"
    if self.proto == "udp" and probe.error == "ETIMEDOUT" then
      self.verdict, self.why = "unknown", "the datagram arrives, as far as can be told, and the program that listens does not answer"
    else
      self.why = ("the tables of every namespace on the way let it through, and yet: %s%s"):format(tostring(probe.error),
        probe.icmp and (" (%s%s)"):format(probe.icmp, probe.by and " of " .. probe.by or "") or "")
    end
    local doubt = self.prediction.doubts[1]
    if by_trace(self) then
      self.verdict = "failed"
    elseif doubt and not (self.proto == "udp" and probe.error == "ETIMEDOUT") then
      self.why = ("no answer, and not all of the way can be worked out: %s"):format(doubt)
    end
    if not doubt and self.verdict ~= "unknown" then
      self.disagree = ("predicted was that it is reached; the probe says %s"):format(tostring(probe.error))
    end
  elseif (self.prediction.error == "ECONNREFUSED") ~= (probe.error == "ECONNREFUSED") then
    local doubt = self.prediction.doubts[1]
    self.verdict = probe.error == "ECONNREFUSED" and "refused" or "failed"
    if by_trace(self) then
      self.verdict = "failed"
    elseif doubt then -- what was found may be so, and is not where this packet ended
      self.why = ("the probe says %s, and not all of the way can be worked out: %s"):format(tostring(probe.error), doubt)
      self.fix, self.code, self.where, self.direction = nil, nil, nil, nil
    end
    if not doubt then
      self.disagree = ("predicted was %s; the probe says %s"):format(tostring(self.prediction.error), tostring(probe.error))
    end
  end
end

return M
