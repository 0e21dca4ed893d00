-- netem: delay, loss, duplication, reordering, corruption, a rate. tc-netem(8), linux/pkt_sched.h.

local check = require "nslua.check"
local distribution = require "nslua.rtnl.qdisc_kind.distribution"
local errors = require "nslua.error"
local psched = require "nslua.rtnl.psched"
local schema = require "nslua.schema"
local units = require "nslua.units"

local header = "linux/pkt_sched.h"
local U32 = 4294967295

local function struct(name, c, text)
  schema.struct(name, { c = "struct " .. c, header = header, prefix = "" }, text)
end
struct("tc_netem", "tc_netem_qopt", "latency u32  limit u32  loss u32  gap u32  duplicate u32  jitter u32")
struct("tc_netem_corr", "tc_netem_corr", "delay_corr u32  loss_corr u32  dup_corr u32")
struct("tc_netem_reorder", "tc_netem_reorder", "probability u32  correlation u32")
struct("tc_netem_corrupt", "tc_netem_corrupt", "probability u32  correlation u32")
struct("tc_netem_rate", "tc_netem_rate", "rate u32  packet_overhead s32  cell_size u32  cell_overhead s32")
struct("tc_netem_slot", "tc_netem_slot", "min_delay s64  max_delay s64  max_packets s32  max_bytes s32  dist_delay s64  dist_jitter s64")
struct("tc_netem_gimodel", "tc_netem_gimodel", "p13 u32  p31 u32  p32 u32  p14 u32  p23 u32")
struct("tc_netem_gemodel", "tc_netem_gemodel", "p u32  r u32  h u32  k1 u32")
schema.set("tc_netem_loss", { header = header, prefix = "NETEM_LOSS_" }, [[
  1  GI  state    struct(tc_netem_gimodel)
  2  GE  gemodel  struct(tc_netem_gemodel)
]])

local function part(value, what)
  return math.floor(units.fraction(value, what) * U32 + 0.5)
end

local function table_of(what, value, known)
  check.options(what, value, known)
  return value
end

local number = "number|string"
local state_words = { p13 = number, p31 = number, p32 = number, p23 = number, p14 = number }
local gemodel_words = { p = number, r = number, h = number, k = number }

-- Loss in bursts: a chain of states (p13 is needed), or Gilbert's and Elliot's model: p and r go between good and bad, h and k are the
-- chances to get through in the bad and in the good state.
local function loss_model(call, loss)
  local what = call .. ": loss"
  table_of(what, loss, { state = "table", gemodel = "table" })
  if (loss.state == nil) == (loss.gemodel == nil) then
    errors.misuse("%s must be a fraction, { state = {...} } or { gemodel = {...} }", what)
  end
  local model = {}
  if loss.state then
    local t = table_of(what .. ".state", loss.state, state_words)
    local p13 = part(t.p13 or errors.misuse("%s.state: p13 is needed", what), what)
    model.state = { p13 = p13, p31 = t.p31 and part(t.p31, what) or U32 - p13, p32 = part(t.p32 or 0, what), p23 = part(t.p23 or 1, what),
      p14 = part(t.p14 or 0, what) }
  else
    local t = table_of(what .. ".gemodel", loss.gemodel, gemodel_words)
    local p = part(t.p or errors.misuse("%s.gemodel: p is needed", what), what)
    model.gemodel = { p = p, r = t.r and part(t.r, what) or U32 - p, h = part(t.h or 0, what), k1 = U32 - part(t.k or 1, what) }
  end
  return model
end

local slot_words = { min = number, max = number, packets = "integer", bytes = number, delay = number, jitter = number,
  distribution = "string|table" }

local function ns(value, what)
  return math.floor(units.duration(value, what) * 1e9 + 0.5)
end

local function slot_of(call, slot)
  local what = call .. ": slot"
  local t = table_of(what, slot, slot_words)
  local min = ns(t.min or 0, what)
  return { min_delay = min, max_delay = t.max and ns(t.max, what) or min, max_packets = t.packets or 0,
    max_bytes = t.bytes and math.floor(units.size(t.bytes, what)) or 0, dist_delay = ns(t.delay or 0, what), dist_jitter = ns(t.jitter or 0, what) },
    t.distribution and distribution.table(t.distribution, what .. ".distribution")
end

-- Ticks of nanoseconds, as tc(8) cuts them; and the nanoseconds themselves where ticks cannot say them.
local function clock(nanoseconds)
  local ticks = math.min(math.floor(psched.ticks(nanoseconds / 1e9)), U32)
  if math.floor(psched.seconds(ticks) * 1e9 + 0.5) ~= nanoseconds then
    return ticks, nanoseconds
  end
  return ticks
end

local function pair(data, what)
  if data[what] ~= nil or data[what .. "_correlation"] ~= nil then
    return { probability = data[what] or 0, correlation = data[what .. "_correlation"] or 0 }
  end
end

local function from_part(value)
  return require("nslua.rtnl.qdisc_kind").from("fraction", value)
end

return {
  { kind = "netem",
    needed = true,
    head = "tc_netem",
    prefix = "TCA_NETEM_",
    attributes = [[
      1   CORR        corr         struct(tc_netem_corr)
      2   DELAY_DIST  delay_dist   array(s16)
      3   REORDER     reorder      struct(tc_netem_reorder)
      4   CORRUPT     corrupt      struct(tc_netem_corrupt)
      5   LOSS        loss_model   nest(tc_netem_loss)
      6   RATE        rate         struct(tc_netem_rate)
      7   ECN         ecn          u32
      8   RATE64      rate64       u64
      10  LATENCY64   latency64    s64
      11  JITTER64    jitter64     s64
      12  SLOT        slot         struct(tc_netem_slot)
      13  SLOT_DIST   slot_dist    array(s16)
      14  -           seed         u64   -- TCA_NETEM_PRNG_SEED, Linux 6.7
    ]],
    words = { delay = "ns", jitter = "ns", correlation = "fraction", distribution = "any", loss = "any", loss_correlation = "fraction",
      duplicate = "fraction", duplicate_correlation = "fraction", reorder = "fraction", reorder_correlation = "fraction", gap = "count",
      corrupt = "fraction", corrupt_correlation = "fraction", rate = "rate", packet_overhead = "signed", cell_size = "size",
      cell_overhead = "signed", limit = "count", ecn = "yes_no", slot = "any", seed = "bits64" },
    untold = { distribution = true, seed = true },
    zero = { correlation = 0, loss_correlation = 0, duplicate_correlation = 0, reorder = 0, reorder_correlation = 0, corrupt = 0,
      corrupt_correlation = 0, rate = 0, slot = {} },
    write = function(data, call)
      local wire = { limit = data.limit or 1000, duplicate = data.duplicate, ecn = data.ecn, seed = data.seed,
        gap = data.gap, reorder = pair(data, "reorder"), corrupt = pair(data, "corrupt") }
      if data.delay then
        wire.latency, wire.latency64 = clock(data.delay)
      end
      if data.jitter then
        if data.jitter > 0 and (data.delay or 0) == 0 then
          errors.misuse("%s: netem: jitter needs a delay", call)
        end
        wire.jitter, wire.jitter64 = clock(data.jitter)
      end
      if data.distribution then
        if (data.jitter or 0) == 0 then
          errors.misuse("%s: netem: distribution needs a jitter", call)
        end
        wire.delay_dist = distribution.table(data.distribution, call .. ": distribution")
      end
      if type(data.loss) == "table" then
        wire.loss_model = loss_model(call, data.loss)
      elseif data.loss ~= nil then
        wire.loss = part(data.loss, call .. ": loss")
      end
      if data.correlation or data.loss_correlation or data.duplicate_correlation then
        wire.corr = { delay_corr = data.correlation or 0, loss_corr = data.loss_correlation or 0, dup_corr = data.duplicate_correlation or 0 }
      end
      if wire.reorder and wire.reorder.probability > 0 then
        if (data.delay or 0) == 0 then
          errors.misuse("%s: netem: reorder needs a delay", call)
        end
        wire.gap = wire.gap and wire.gap > 0 and wire.gap or 1
      elseif (wire.gap or 0) > 0 then
        if not wire.reorder then
          errors.misuse("%s: netem: gap needs reorder", call)
        end
        wire.gap = 0 -- it is switched off
      end
      if data.rate then
        wire.rate = { rate = math.min(data.rate, U32), packet_overhead = data.packet_overhead, cell_size = data.cell_size,
          cell_overhead = data.cell_overhead }
        wire.rate64 = psched.wide(data.rate) and data.rate or nil
      end
      if data.slot then
        wire.slot, wire.slot_dist = slot_of(call, data.slot)
      end
      return wire
    end,
    read = function(data)
      local corr, rate, slot, model = data.corr or {}, data.rate or {}, data.slot, data.loss_model
      local words = { limit = data.limit, duplicate = data.duplicate, duplicate_correlation = corr.dup_corr, gap = data.gap, ecn = data.ecn,
        delay = data.latency64 or math.floor(psched.seconds(data.latency or 0) * 1e9 + 0.5),
        jitter = data.jitter64 or math.floor(psched.seconds(data.jitter or 0) * 1e9 + 0.5),
        correlation = corr.delay_corr, loss_correlation = corr.loss_corr, seed = data.seed,
        reorder = data.reorder and data.reorder.probability, reorder_correlation = data.reorder and data.reorder.correlation,
        corrupt = data.corrupt and data.corrupt.probability, corrupt_correlation = data.corrupt and data.corrupt.correlation,
        rate = data.rate64 or rate.rate, packet_overhead = rate.packet_overhead, cell_size = rate.cell_size, cell_overhead = rate.cell_overhead }
      words.loss = from_part(data.loss or 0)
      if model and model.state then
        local s = {}
        for key, value in pairs(model.state) do
          s[key] = from_part(value)
        end
        words.loss = { state = s }
      elseif model and model.gemodel then
        local g = model.gemodel
        words.loss = { gemodel = { p = from_part(g.p), r = from_part(g.r), h = from_part(g.h), k = from_part(U32 - g.k1) } }
      end
      if slot then
        words.slot = { min = slot.min_delay / 1e9, max = slot.max_delay / 1e9, packets = slot.max_packets, bytes = slot.max_bytes,
          delay = slot.dist_delay / 1e9, jitter = slot.dist_jitter / 1e9 }
      end
      return words
    end,
  },
}
