-- Size tables: what packets of a qdisc count as on a link that adds to them: tc-stab(8), linux/pkt_sched.h.

local errors = require "nslua.error"
local kinds = require "nslua.rtnl.qdisc_kind"
local psched = require "nslua.rtnl.psched"
local schema = require "nslua.schema"

local M = {}

local sched_h = "linux/pkt_sched.h"
schema.struct("tc_sizespec", { c = "struct tc_sizespec", header = sched_h, prefix = "" }, [[
  cell_log u8  size_log u8  cell_align s16  overhead s32  linklayer u32  mpu u32  mtu u32  tsize u32
]])
schema.set("tc_stab", { header = sched_h, prefix = "TCA_STAB_" }, [[
  1  BASE  base  struct(tc_sizespec)
  2  DATA  data  array(u16)
]])

local MOST = 65535 -- what an entry of a table holds
local SLOTS = 32747 -- entries that fit: an attribute's length has 16 bits

-- As a kind of qdisc, so that its words are read, written and compared like theirs.
---@type nslua.QdiscKind
local stab = { kind = "stab", words = { mtu = "size", tsize = "count", mpu = "size", overhead = "signed", linklayer = "linklayer" } }

-- The table of what packets count as: entry i is of those that fill i + 1 cells. None where a number added to each says it all.
function stab.write(data, call)
  if next(data) == nil then
    errors.misuse("%s: stab is empty: it has mtu, tsize, mpu, overhead, linklayer", call)
  end
  local base = { overhead = data.overhead or 0, linklayer = data.linklayer or psched.linklayers.unaware, mpu = data.mpu or 0, mtu = 0, tsize = 0,
    cell_log = 0, size_log = 0, cell_align = 0 }
  if base.linklayer ~= psched.linklayers.atm and base.mpu == 0 then
    return { base = base }
  end
  base.mtu = (data.mtu or 0) > 0 and data.mtu or 2047
  base.tsize = (data.tsize or 0) > 0 and data.tsize or 512
  if base.tsize > SLOTS then
    errors.misuse("%s: stab: tsize is at most %d, got %d", call, SLOTS, base.tsize)
  end
  base.cell_align = -1
  local cell, unit = 1, 1
  while math.floor(base.mtu / cell) > base.tsize - 1 do
    cell, base.cell_log = cell * 2, base.cell_log + 1
  end
  while math.floor(psched.on_wire(base.tsize * cell, base.mpu, base.linklayer) / unit) > MOST do
    unit, base.size_log = unit * 2, base.size_log + 1
  end
  local table_of = {}
  for i = 1, base.tsize do
    table_of[i] = math.floor(psched.on_wire(i * cell, base.mpu, base.linklayer) / unit)
  end
  return { base = base, data = table_of }
end

-- The kernel tells no table, only what it was made of.
function stab.read(data)
  local base, words = data.base, {}
  for word in pairs(stab.words) do
    words[word] = base[word] ~= 0 and base[word] or nil
  end
  return words
end

---The attribute that words make.
---@param call string
---@param words table  mtu, tsize, mpu, overhead, linklayer
---@return table
function M.write(call, words)
  return kinds.write(call, stab, words)
end

---The words of an attribute; a word that is 0 is not there.
---@param found table?  a decoded TCA_STAB
---@return table?
function M.read(found)
  return found and found.base and kinds.read(stab, found) or nil
end

---Words over those that are there; nil where none are left.
---@param old table?
---@param new table|false|nil  nil: as it is; false: none
---@return table?
function M.merge(old, new)
  if new == nil then
    return old
  end
  local words = kinds.merge(stab, new and old or {}, new or {})
  return next(words) and words or nil
end

---Whether a row's table is the one of these words.
---@param call string
---@param wanted table|false|nil
---@param found table?
---@return boolean
function M.same(call, wanted, found)
  if not wanted then
    return wanted == nil or found == nil
  end
  return found ~= nil and kinds.same(stab, wanted, found, function(words)
    return M.read(M.write(call, words))
  end)
end

return M
