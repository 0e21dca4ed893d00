-- tc qdisc and tc class: add, change, replace, del, show, with the units of tc(8). The options are read by their kinds (rtnl/qdisc_kind), so
-- that a kind is told as soon as there is one; what stands here is how tc(8) writes their words.

local address = require "nslua.trace.address"

local M = {}

local CREATE, EXCL, REPLACE = 0x400, 0x200, 0x100

local function whole(value)
  return ("%.0f"):format(value)
end

local function rate(value)
  for _, unit in ipairs { { 1e9, "gbit" }, { 1e6, "mbit" }, { 1e3, "kbit" } } do
    if value > 0 and value % unit[1] == 0 then
      return whole(value / unit[1]) .. unit[2]
    end
  end
  return whole(value) .. "bit"
end

local function duration(seconds)
  local n = math.floor(seconds * 1e9 + 0.5)
  for _, unit in ipairs { { 1e9, "s" }, { 1e6, "ms" }, { 1e3, "us" } } do
    if n % unit[1] == 0 then
      return whole(n / unit[1]) .. unit[2]
    end
  end
  return whole(n) .. "ns"
end

local function fraction(value)
  return ("%.10g%%"):format(value * 100)
end

-- Unit of a word (rtnl/qdisc_kind) -> how tc(8) writes it.
local units = { rate = rate, size = whole, count = whole, signed = whole, us = duration, ns = duration, seconds = whole, fraction = fraction,
  linklayer = tostring, handle = tostring }

---@alias nslua.trace.TcWords fun(add: fun(...), words: table, wire: table): string?

-- The distribution whose table this is.
local function distribution(list)
  local tables = require "nslua.rtnl.qdisc_kind.distribution"
  for _, name in ipairs { "normal", "pareto", "paretonormal", "experimental" } do
    local ok, known = pcall(tables.table, name, "trace")
    local same = ok and #known == #list
    for i = 1, same and #list or 0 do
      same = same and known[i] == list[i]
    end
    if same then
      return name
    end
  end
end

local function netem_loss(add, words)
  local loss = words.loss
  if type(loss) ~= "table" then
    if loss and loss > 0 then
      add("loss", fraction(loss))
      if (words.loss_correlation or 0) > 0 then
        add(fraction(words.loss_correlation))
      end
    end
  elseif loss.state then
    local s = loss.state
    add("loss", "state", fraction(s.p13 or 0), fraction(s.p31 or 0), fraction(s.p32 or 0), fraction(s.p23 or 0), fraction(s.p14 or 0))
  elseif loss.gemodel then
    local g = loss.gemodel
    add("loss", "gemodel", fraction(g.p or 0), fraction(g.r or 0), fraction(1 - (g.h or 0)), fraction(1 - (g.k or 1)))
  end
end

local function netem(add, words, wire)
  local left
  add("limit", whole(words.limit or 1000))
  if (words.delay or 0) > 0 or (words.jitter or 0) > 0 then
    add("delay", duration(words.delay or 0))
    if (words.jitter or 0) > 0 then
      add(duration(words.jitter))
      if (words.correlation or 0) > 0 then
        add(fraction(words.correlation))
      end
    end
  end
  if type(wire.delay_dist) == "table" then
    local name = distribution(wire.delay_dist)
    if name then
      add("distribution", name)
    else
      left = "distribution"
    end
  end
  netem_loss(add, words)
  for _, word in ipairs { "duplicate", "reorder", "corrupt" } do
    local correlation = words[word .. "_correlation"]
    if (words[word] or 0) > 0 then
      add(word, fraction(words[word]))
      if (correlation or 0) > 0 then
        add(fraction(correlation))
      end
    end
  end
  if (words.gap or 0) > 1 then
    add("gap", whole(words.gap))
  end
  if (words.rate or 0) > 0 then
    add("rate", rate(words.rate))
    local more = { words.packet_overhead or 0, words.cell_size or 0, words.cell_overhead or 0 }
    local last = more[3] ~= 0 and 3 or more[2] ~= 0 and 2 or more[1] ~= 0 and 1 or 0
    for i = 1, last do
      add(whole(more[i]))
    end
  end
  if words.ecn then
    add "ecn"
  end
  local slot = words.slot
  if slot then
    if (slot.delay or 0) > 0 then
      left = "slot"
    else
      add("slot", duration(slot.min or 0), duration(slot.max or slot.min or 0))
      for _, pair in ipairs { { "packets", "packets" }, { "bytes", "bytes" } } do
        if (slot[pair[1]] or 0) > 0 then
          add(pair[2], whole(slot[pair[1]]))
        end
      end
    end
  end
  return words.seed and "seed" or left
end

-- Kinds whose words are more than a word and its value.
---@type table<string, nslua.trace.TcWords>
local qdiscs = {
  netem = netem,
  red = function()
    return false -- the kernel is told what tc(8) makes of avpkt and burst
  end,
}

-- Of single words: false: not said; a function adds the words.
local special = {
  ["tbf.latency"] = false, -- limit says it
  -- the kernel tells these without the overhead, but takes them with it
  ["tbf.burst"] = function(add, value, wire)
    add("burst", whole(wire.burst or value))
  end,
  ["tbf.mtu"] = function(add, value, wire)
    add("mtu", whole(wire.pburst or value))
  end,
  ["htb.default"] = function(add, value)
    add("default", "0x" .. (tostring(value):match ":(%x*)$" or tostring(value)))
  end,
  ["prio.priomap"] = function(add, value)
    add "priomap"
    for _, band in ipairs(value) do
      add(whole(band))
    end
  end,
  ["sfq.headdrop"] = function(add, value)
    if value then
      add "headdrop"
    end
  end,
  ["fq.horizon_drop"] = function(add, value)
    add(value and "horizon_drop" or "horizon_cap")
  end,
}
special["pfifo_fast.priomap"], special["pfifo_fast.bands"] = false, false

-- Words that go first, since tc(8) works the others out of them.
local first = { rate = 1, ceil = 2, burst = 3, cburst = 4, bands = 5 }

local function sorted(words)
  local list = {}
  for word in pairs(words) do
    list[#list + 1] = word
  end
  table.sort(list, function(a, b)
    local x, y = first[a] or 9, first[b] or 9
    return x < y or x == y and a < b
  end)
  return list
end

local function one(add, kind, word, unit, value, wire)
  local how = special[kind .. "." .. word]
  if how then
    how(add, value, wire)
  elseif how == false then
    return nil
  elseif unit == "yes_no" or type(value) == "boolean" then
    if unit == "yes_no" or value then
      add((value and "" or "no") .. word)
    end
  elseif word == "linklayer" and value == "ethernet" then
    return nil -- tc(8)'s own
  elseif units[unit] and type(value) ~= "table" then
    add(word, units[unit](value))
  else
    return word
  end
end

-- A size table, in words of tc-stab(8): of the sizes only what they are made of.
local function sizes(add, found)
  local words = require("nslua.rtnl.stab").read(found) or {}
  words.overhead = words.overhead or next(words) == nil and 0 or nil
  add "stab"
  for _, word in ipairs { "mtu", "tsize", "mpu", "overhead", "linklayer" } do
    local value = words[word]
    if value then
      add(word, type(value) == "number" and whole(value) or value)
    end
  end
end

-- Options as words; what they leave out; false where they cannot be told.
local function options(add, known, m, own)
  local wire = m.options
  local kind = m.kind and known[m.kind]
  if wire == nil then
    return nil
  elseif not kind or type(wire) ~= "table" then
    return "its options"
  end
  local words = require("nslua.rtnl.qdisc_kind").read(kind, wire, m)
  local write = own and own[m.kind]
  if write then
    return write(add, words, wire)
  end
  local left = {}
  for _, word in ipairs(sorted(words)) do
    if not (kind.only_read and kind.only_read[word]) then
      left[#left + 1] = one(add, m.kind, word, kind.words[word], words[word], wire)
    end
  end
  return left[1] and table.concat(left, ", ") or nil
end

local function verb_of(bits)
  if address.has(bits, CREATE) then
    return address.has(bits, EXCL) and "add" or "replace"
  end
  return address.has(bits, REPLACE) and "link" or "change"
end

local function adder(words)
  return function(...)
    for _, word in ipairs { ... } do
      words[#words + 1] = word
    end
  end
end

local INGRESS = { ingress = true, clsact = true }

-- dev, parent, handle.
local function place(add, context, m, object, word)
  local handle = require "nslua.rtnl.handle"
  if m.dev_index and m.dev_index ~= 0 then
    add("dev", context.link(m.dev_index))
  end
  if m.kind and INGRESS[m.kind] then
    return
  end
  local parent = m.parent_number and handle.text(m.parent_number, object)
  if parent == "root" or parent == "ingress" or parent == "egress" then
    add(parent)
  elseif parent then
    add("parent", parent)
  end
  local own = m.handle_number and m.handle_number ~= 0 and handle.text(m.handle_number)
  if own then
    add(word, own)
  end
end

local function family(object, word, known, own)
  local self = { message = object, tool = "tc" }

  function self.write(context, m, bits)
    local words = { object, verb_of(bits) }
    local add = adder(words)
    place(add, context, m, object, word)
    for _, pair in ipairs { { "ingress_block", "ingress_block" }, { "egress_block", "egress_block" } } do
      if m[pair[1]] then
        add(pair[2], whole(m[pair[1]]))
      end
    end
    if m.stab then
      sizes(add, m.stab)
    end
    if m.kind then
      add(m.kind)
    end
    local left = options(add, known(), m, own)
    if left == false then
      return nil, ("%s, which has options that tc(8) works out of others"):format(table.concat(words, " "))
    end
    return words, left or m.estimator and "estimator" or nil
  end

  function self.delete(context, m)
    local words = { object, "del" }
    local add = adder(words)
    place(add, context, m, object, word)
    if m.kind then
      add(m.kind)
    end
    return words
  end

  function self.show(context, m)
    local words = { object, "show" }
    place(adder(words), context, m, object, word)
    return words
  end

  return self
end

M.rate, M.verb = rate, verb_of
M.qdisc = family("qdisc", "handle", function()
  return require("nslua.rtnl.qdisc_kind").kinds
end, qdiscs)
M.class = family("class", "classid", function()
  return require("nslua.rtnl.qdisc_kind").classes
end)

return M
