-- What ip link calls the options of tunnels over IP: gre and its kin, ipip, sit, ip6tnl, vti. See kinds.lua.

-- linux/if_tunnel.h, linux/ip6_tunnel.h
local KEY = 0x2000
local gre_flags = { { 0x1000, "seq" }, { 0x8000, "csum" } }
local encap_flags = { { 1, "encap-csum" }, { 2, "encap-udp6-csum" }, { 4, "encap-remcsum" } }
local IGN_ENCAP_LIMIT, ORIG_TCLASS, ORIG_FLOWLABEL, DSCP_COPY, ORIG_FWMARK, ALLOW_LOCAL_REMOTE = 1, 2, 4, 0x10, 0x20, 0x40

local function has(value, bit)
  return math.floor(value / bit) % 2 == 1
end

-- Flags of one direction of GRE; its key only means something with its bit.
local function direction(letter, key)
  return function(add, value, data)
    for _, pair in ipairs(gre_flags) do
      if has(value, pair[1]) then
        add(letter .. pair[2])
      end
    end
    if has(value, KEY) and data[key] then
      add(letter .. "key", ("%.0f"):format(data[key]))
    end
  end
end

local function encap_bits(add, value)
  for _, pair in ipairs(encap_flags) do
    add((has(value, pair[1]) and "" or "no") .. pair[2])
  end
end

local function port(word)
  return function(add, value)
    add(word, value == 0 and "auto" or value)
  end
end

-- Tunnels over IPv6 keep the class and the label in one field; flags say what is taken of the packet inside.
local function flags6(add, value, data)
  if has(value, IGN_ENCAP_LIMIT) then
    add("encaplimit", "none")
  elseif data.encap_limit then
    add("encaplimit", data.encap_limit)
  end
  local flow = data.flowinfo or 0
  if has(value, ORIG_TCLASS) then
    add("tclass", "inherit")
  elseif flow >= 0x100000 then
    add("tclass", ("0x%x"):format(math.floor(flow / 0x100000)))
  end
  if has(value, ORIG_FLOWLABEL) then
    add("flowlabel", "inherit")
  elseif flow % 0x100000 ~= 0 then
    add("flowlabel", ("0x%x"):format(flow % 0x100000))
  end
  if has(value, DSCP_COPY) then
    add("dscp", "inherit")
  end
  if has(value, ORIG_FWMARK) then
    add("fwmark", "inherit")
  end
  if has(value, ALLOW_LOCAL_REMOTE) then
    add "allow-localremote"
  end
end

local function prefix(word, length)
  return function(add, value, data)
    add(word, ("%s/%.0f"):format(value, data[length] or 0))
  end
end

local function with(...)
  local out = {}
  for _, t in ipairs { ... } do
    for key, value in pairs(t) do
      out[key] = value
    end
  end
  return out
end

local ends = { first = { "external", "remote", "local_" }, dev_index = { "dev", "dev" }, external = { "external", "flag" } }
local udp = { encap = "encap", encap_flags = encap_bits, encap_sport = port "encap-sport", encap_dport = "encap-dport" }
local inet = { tos = { "tos", "hex" }, pmtudisc = { "pmtudisc", "no" }, ignore_df = { "ignore-df", "no" }, fwmark = "fwmark" }
local inet6 = { flags = flags6, encap_limit = false, flowinfo = false,
  fwmark = function(add, value, data)
    if not has(data.flags or 0, ORIG_FWMARK) then
      add("fwmark", value)
    end
  end }
local gre = { iflags = direction("i", "ikey"), oflags = direction("o", "okey"), ikey = false, okey = false, erspan = "erspan" }
local sixrd = { sixrd_prefix_bytes = prefix("6rd-prefix", "sixrd_prefixlen"), sixrd_relay_bytes = prefix("6rd-relay_prefix", "sixrd_relay_prefixlen"),
  sixrd_prefixlen = false, sixrd_relay_prefixlen = false,
  flags = function(add, value)
    if has(value, 1) or has(value, 256) then -- in whatever order of bytes
      add "isatap"
    end
  end }
local keys = { ikey = "ikey", okey = "okey" }

---@type table<string, table<string, nslua.trace.Option>>
return {
  gre = with(ends, udp, inet, gre), gretap = with(ends, udp, inet, gre), erspan = with(ends, udp, inet, gre),
  ip6gre = with(ends, udp, inet6, gre), ip6gretap = with(ends, udp, inet6, gre), ip6erspan = with(ends, udp, inet6, gre),
  ipip = with(ends, udp, inet, sixrd), sit = with(ends, udp, inet, sixrd), ip6tnl = with(ends, udp, inet6),
  vti = with(ends, keys, { fwmark = "fwmark" }), vti6 = with(ends, keys, { fwmark = "fwmark" }),
}
