-- What the specs of link kinds share: the bytes that ip(8) sends, beside those of nslua for the same words; and, where the kernel makes
-- the kind, links made by both, read by both.

local assert = require "luassert"
local helper = require "spec.helper"
local kinds = require "nslua.rtnl.kind"
local link = require "nslua.rtnl.link"
local linkwords = require "nslua.rtnl.linkwords"
local roundtrip = require "spec.roundtrip"
local rtnl = require "spec.rtnl_helper"
local verbs = require "nslua.rtnl.verbs"

local M = {}

local function schema()
  return link.schema or verbs.schema(link)
end

local no_trace -- why, or false

---Why ip's bytes cannot be had here, or nil.
---@return string?
function M.cannot_trace()
  if no_trace == nil then
    local out, ok = helper.sh "strace -qq -e trace=none true"
    no_trace = not helper.has "strace" and "needs strace(1)" or not ok and "strace(1) cannot trace here: " .. out
  end
  return no_trace or nil
end

---What ip(8) sends to make or change a link, whether the kernel takes it or not.
---@param handle table
---@param arguments string
---@param type? integer  of the message (default: RTM_NEWLINK)
---@return string payload
---@return integer flags
function M.sent(handle, arguments, type)
  local path = os.tmpname()
  local out = rtnl.inside(handle, ("strace -qq -o %s -e trace=sendmsg -e write=all ip %s"):format(path, arguments))
  local f = assert(io.open(path))
  local payload, flags, bytes
  local function message()
    if bytes then
      local text = table.concat(bytes)
      local function u16(at)
        return text:byte(at) + 256 * text:byte(at + 1)
      end
      if #text >= 32 and u16(5) == (type or link.new) then
        payload, flags = text:sub(17), u16(7)
      end
    end
    bytes = nil
  end
  for line in f:lines() do
    if line:find "^ %* %d+ bytes in buffer" then
      message()
      bytes = {}
    elseif bytes and line:find "^ | %x+  " then
      for byte in line:sub(11, 58):gmatch "%x%x" do
        bytes[#bytes + 1] = string.char(tonumber(byte, 16))
      end
    end
  end
  message()
  f:close()
  os.remove(path)
  assert(payload, "ip " .. arguments .. " sent nothing: " .. out)
  return payload, flags
end

-- ip(8) writes the kind without its zero byte, as the kernel takes it too
local function comparable(payload)
  local head = #schema():encode {}
  return payload:sub(1, head), (roundtrip.attributes(payload, head):gsub("([14]%([%w_]+)%z%)", "%1)"))
end

local function readable(payload)
  return require("nslua.schema").json(schema():decode(payload))
end

---Whether two payloads have the same header and the same attributes, in whatever order; raises with both where not.
---@param theirs string
---@param ours string
function M.same_bytes(theirs, ours, what)
  local head, attributes = comparable(theirs)
  local own_head, own = comparable(ours)
  local S = schema()
  -- where the kernel's order has no meaning, but a struct hides attributes: once more as they are decoded
  if (head ~= own_head or attributes ~= own) and S:encode(S:decode(theirs)) ~= S:encode(S:decode(ours)) then
    error(("%s: other bytes\n  ip:    %s\n  nslua: %s"):format(what, readable(theirs), readable(ours)), 0)
  end
end

---The same for the options of a port; ip(8) writes its word for them as the kind, which the kernel does not ask.
---@param theirs string
---@param linkinfo table  of nslua
function M.same_port(theirs, linkinfo, what)
  local S = schema()
  local info = S:decode(theirs).linkinfo
  assert.equal(linkinfo.slave_kind .. "_slave", info.kind)
  M.same_bytes(S:encode { linkinfo = { slave_kind = linkinfo.slave_kind, ["#5n"] = info.slave_data } }, S:encode { linkinfo = linkinfo }, what)
end

---What nslua sends for these words of `link:add`.
---@param handle table
---@param t table
---@return string
function M.payload(handle, t)
  local request = linkwords.request("link.add", t, handle, false)
  return schema():encode(request.message)
end

---What nslua sends for a port's options.
---@param handle table
---@param master string  kind
---@param words table
---@return table linkinfo
function M.port(handle, master, words)
  local port = linkwords.port("link.change", words, master)
  return { slave_kind = master, slave_data = kinds.write("link.change", port, words, require("nslua.rtnl.device").index, handle) }
end

-- What ip(8)'s JSON calls otherwise, and what it says in other words.
local called = { ["local"] = "local_", local6 = "local_", remote6 = "remote", group6 = "group", link = "dev", encap_limit = "encaplimit",
  ad_lacp_rate = "lacp_rate", ad_lacp_active = "lacp_active", peer_notif_delay = "peer_notify_delay", validation = "validate", icv_len = "icvlen",
  cipher_suite = "cipher", inc_sci = "send_sci", es = "end_station", replay_protect = "replay", encoding_sa = "encodingsa", erspan_index = "erspan" }
local milliseconds = { miimon = true, updelay = true, downdelay = true, arp_interval = true, peer_notify_delay = true }

local function dotted(key)
  return key and ("%d.%d.%d.%d"):format(math.floor(key / 0x1000000), math.floor(key / 0x10000) % 256, math.floor(key / 0x100) % 256, key % 256)
end
local function inherits(word)
  return function(own)
    return own[word] == "inherit"
  end
end
local function flag(own, key)
  return own.flags == key or type(own.flags) == "table" and own.flags[key] or false
end
local function prefix(word, part)
  return function(own)
    return own[word] and own[word]:match(part)
  end
end
local as_ip = {
  ikey = function(own) return dotted(own.ikey) end,
  okey = function(own) return dotted(own.okey) end,
  tos = function(own) return own.tos == "inherit" and 1 or own.tos end,
  proto = function(own) return ({ hsr = 0, prp = 1 })[own.proto] or own.mode end,
  cipher_suite = function(own) return (own.cipher == "default" and "gcm-aes-128" or own.cipher):upper() end,
  -- a table in ip(8)'s words
  encap = function(own, _, value)
    local sport = own.encap_sport ~= "auto" and own.encap_sport or 0
    return value.type == own.encap and (tonumber(value.sport) or 0) == sport and (value.dport or 0) == own.encap_dport
      and (value.csum or false) == own.encap_csum and (value.csum6 or false) == own.encap_csum6
      and (value.remcsum or false) == own.encap_remcsum and value
  end,
  ttl = function(own) return own.hoplimit or own.ttl == "inherit" and 0 or own.ttl end,
  ip6_tnl_f_use_orig_tclass = inherits "tclass", ip6_tnl_f_use_orig_flowlabel = inherits "flowlabel", ip6_tnl_f_rcv_dscp_copy = inherits "dscp",
  ip6_tnl_f_use_orig_fwmark = inherits "fwmark",
  ip6_tnl_f_ign_encap_limit = function(own) return own.encaplimit == "none" end,
  ip6_tnl_f_allow_local_remote = function(own) return own.allow_localremote end,
  bridge = flag, private = flag, vepa = flag, nopromisc = flag,
  prefix = prefix("sixrd_prefix", "^[^/]+"), prefixlen = prefix("sixrd_prefix", "%d+$"),
  relay_prefix = prefix("sixrd_relay_prefix", "^[^/]+"), relay_prefixlen = prefix("sixrd_relay_prefix", "%d+$"),
}

-- Whether what ip(8) shows is the value of a row.
local function agree(shown, ours)
  if shown == ours then
    return true
  elseif type(shown) == "userdata" then -- null
    return ours == nil or ours == "none"
  elseif type(shown) == "table" then
    return roundtrip.same(shown, ours)
  elseif type(ours) == "boolean" or ours == nil and shown ~= "any" then
    local yes = ours or false
    return shown == yes or shown == (yes and 1 or 0) or shown == (yes and "on" or "off")
  elseif shown == "any" then
    return ours == nil
  end
  return tonumber(shown) ~= nil and tonumber(shown) == tonumber(ours)
end

---Compare the options of a row with what `ip -d -j link show` says of the same link; raises with all that differ.
---@param shown table    info_data
---@param own table      row[kind]
---@param other? table<string, any>  ip's key -> what it must say, where that is not the row's value; false: not compared
function M.same_options(shown, own, other)
  other = other or {}
  local wrong = {}
  for key, value in pairs(shown) do
    local word = called[key] or key
    local ours = own[word]
    if other[key] ~= nil then
      ours = other[key] or value
    elseif as_ip[key] then
      ours = as_ip[key](own, key, value)
    elseif milliseconds[word] and ours then
      ours = ours * 1000
    elseif other.hundredths and type(ours) == "number" and (key:find "_intvl$" or key:find "_age$" or key:find "_time$" or key:find "_delay$") then
      ours = ours * 100
    end
    if not agree(value, ours) then
      local said = type(value) == "table" and require("nslua.schema").json(value) or tostring(value)
      wrong[#wrong + 1] = ("%s: ip says %s, nslua %s"):format(key, said, tostring(ours))
    end
  end
  table.sort(wrong)
  assert(#wrong == 0, table.concat(wrong, "\n"))
end

-- Durations of a bridge, which ip(8) counts in hundredths; timers, which go on meanwhile; and what it says of a bridge in other words.
M.bridge = { hundredths = true, gc_timer = false, hello_timer = false, tcn_timer = false, topology_change_timer = false, root_id = false,
  bridge_id = false, multicast = false }

---@class nslua.spec.KindCase
---@field ip string           what stands behind `ip link add name x0`: "type vrf table 10"
---@field t table             the same for link:add, without the name
---@field before? string[]    ip(8) commands that come first
---@field change? table       for link:change
---@field changed? table      options of the row afterwards (default: those of `change`)
---@field other? table        see same_options
---@field besides? string[]   options that ip(8) sends without being told, and that nslua has no words for beside these
---@field built? string       an option the kernel may be built without
---@field needs? string       a module of the kernel's, which it does not load by itself

local function prepare(handle, case)
  for _, command in ipairs(case.before or {}) do
    rtnl.set(handle, command)
  end
end

---The bytes of a case: ip's are nslua's.
---@param case nslua.spec.KindCase
function M.check_bytes(case)
  local handle = rtnl.netns "bytes"
  prepare(handle, case)
  local t = { name = "x0" }
  for key, value in pairs(case.t) do
    t[key] = value
  end
  local theirs = M.sent(handle, "link add name x0 " .. case.ip)
  if case.besides then
    local message = schema():decode(theirs)
    for _, key in ipairs(case.besides) do
      message.linkinfo.data[key] = nil
    end
    theirs = schema():encode(message)
  end
  M.same_bytes(theirs, M.payload(handle, t), case.ip)
  -- and they read as what was said
  local row = schema():row(theirs, link.class, verbs.rowset { handle = handle })
  assert.equal(case.t.kind, row.kind)
  rtnl.close()
end

-- What goes on between two looks.
local function without_timers(options)
  local out = {}
  for key, value in pairs(options) do
    if not key:find "_timer$" then
      out[key] = value
    end
  end
  return out
end

-- Every option of `wanted` is in `found`.
local function has(wanted, found, where)
  for key, value in pairs(wanted) do
    assert.same(value ~= false and value or nil, found[key] ~= false and found[key] or nil, where .. key)
  end
end

---A case on a kernel that makes the kind: added, read by both, made again by ip(8), changed, ensured, deleted.
---@param case nslua.spec.KindCase
function M.check_kernel(case)
  local handle = rtnl.netns "a"
  local kind = case.t.kind
  local words = case.t[kind]
  prepare(handle, case)
  roundtrip.start()
  local t = { name = "x0" }
  for key, value in pairs(case.t) do
    t[key] = value
  end
  local row = handle.link:add(t)
  assert.same({ "x0", kind }, { row.name, row.kind })
  local shown = rtnl.ip(handle, "link show dev x0")[1]
  assert.equal(kind, shown.linkinfo.info_kind)
  if words then
    assert.is_table(row[kind], "options of " .. kind)
    M.same_options(shown.linkinfo.info_data or {}, row[kind], case.other)
  end
  -- nothing to change
  local again = handle.link:ensure(t)
  assert.is_true(again == row)
  handle.link:delete(row)
  assert.is_nil(handle.link:get "x0")
  -- what ip makes reads as what nslua made
  rtnl.set(handle, "link add name x0 " .. case.ip)
  local theirs = handle.link:get "x0"
  if words then
    local ours = without_timers(row[kind])
    assert.same(ours, without_timers(theirs[kind]))
  end
  if case.change then
    local before = theirs[kind]
    handle.link:change("x0", { [kind] = case.change })
    local after = handle.link:get "x0"[kind]
    has(case.changed or case.change, after, "changed ")
    for key, value in pairs(before) do
      if case.change[key] == nil and not key:find "_timer$" and not (case.changed and case.changed[key] ~= nil) then
        assert.same(value, after[key], "kept " .. key)
      end
    end
    M.same_options(rtnl.ip(handle, "link show dev x0")[1].linkinfo.info_data, after, case.other_changed or case.other)
  end
  handle.link:delete "x0"
  roundtrip.finish()
  rtnl.close()
end

local known = {}

---Why this kernel makes no links of a kind, or nil. Asked of the kernel itself, by ip(8).
---@param case nslua.spec.KindCase
---@return string?
function M.lacks(case)
  local kind = case.t.kind
  if known[kind] == nil then
    local handle = rtnl.netns "probe"
    prepare(handle, case)
    local out, ok = rtnl.inside(handle, "ip link add name x0 " .. case.ip)
    rtnl.close()
    known[kind] = not ok and out:find "Unknown device type" and ("this kernel has no %s"):format(kind) or false
  end
  if case.built and not known[kind] then
    local handle = rtnl.netns "probe"
    local out, ok = rtnl.inside(handle, "ip link add name x0 " .. case.ip)
    rtnl.close()
    return not ok and out:find "not supported" and ("this kernel's %s is built without %s"):format(kind, case.built) or nil
  end
  return known[kind] or case.needs and M.no_module(case.needs)
end

---Why a module is not there, or nil; it is loaded where that is allowed.
---@param name string
---@return string?
function M.no_module(name)
  local _, ok = helper.sh(("[ -e /sys/module/%s ] || modprobe -q %s"):format(name, name))
  return not ok and ("the kernel's module %s is not loaded"):format(name) or nil
end

---Two specs for each case.
---@param it function
---@param skip fun(why: string)  calls `pending`, which is another function inside of a spec than outside
---@param cases nslua.spec.KindCase[]
function M.specs(it, skip, cases)
  local why = M.cannot_trace()
  for _, case in ipairs(cases) do
    it("are sent as ip(8) sends them: " .. case.ip, function()
      if why then
        return skip(why)
      end
      M.check_bytes(case)
    end)
    it("are made and read: " .. case.ip, function()
      local lacks = M.lacks(case)
      if lacks then
        return skip(lacks)
      end
      M.check_kernel(case)
    end)
  end
end

return M
