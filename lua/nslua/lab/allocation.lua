-- Addresses: a subnet for every segment, a number in it for every interface. What is fixed comes first; the rest is counted in the order of the
-- links, so that a link more at the end renumbers nobody.
--
-- Segment N has 10.0.N.0/24 (256: 10.1.0.0/24) and fd00:N::/64, N in hex there; with more than 250 members 10.N.0.0/16. A host has the number at the
-- end of its name (h3: .3 and ::3) where that is free, else the lowest free one; routers count down from .254 (::254).

local errors = require "nslua.error"
local subnets = require "nslua.lab.subnet"

local M = {}

local MOST_IN_24 = 250
local families = { "inet", "inet6" }
local names = { inet = "IPv4", inet6 = "IPv6" }

-- Read a fixed address, as { bytes, length or nil, text, family }.
local function read_address(where, text)
  local bytes, length = subnets.parse(text)
  if not bytes then
    errors.misuse("lab: %s: an address is text like \"10.1.0.1/24\", got %s", where, type(text) == "string" and ("%q"):format(text) or type(text))
  end
  return { bytes = bytes, length = length, text = text, family = #bytes == 4 and "inet" or "inet6" }
end

local function list(value)
  return type(value) == "table" and value or { value }
end

local function read_subnet(where, text)
  local bytes, length = subnets.parse(text)
  if not length then
    errors.misuse("lab: %s: a subnet is text like \"10.1.0.0/24\", got %s", where, type(text) == "string" and ("%q"):format(text) or type(text))
  end
  local subnet = subnets.of(bytes, length)
  if subnet.bytes ~= bytes then
    errors.misuse("lab: %s: %s is an address in %s, not a subnet", where, text, subnet.text)
  end
  return subnet
end

local function link_name(link)
  return ("link %d (%s--%s)"):format(link.index, link.nodes[1].name, link.nodes[2].name)
end

local function is_link_local(bytes)
  return #bytes == 16 and bytes:byte(1) == 0xfe and bytes:byte(2) & 0xc0 == 0x80
end

-- The subnets that links say, and where they say none, those of the first addresses that do.
local function fix_subnets(plan, fixed)
  for _, link in ipairs(plan.links) do
    local segment = link.segments[1]
    if link.subnet == false then
      for _, one in ipairs(link.segments) do
        one.unnumbered = true
      end
    elseif link.subnet and #link.segments ~= 1 then
      errors.misuse("lab: %s carries %d segments, so it has not one subnet", link_name(link), #link.segments)
    end
    for _, text in ipairs(link.subnet and list(link.subnet) or {}) do
      local subnet = read_subnet(link_name(link), text)
      local known = fixed[segment][subnet.family]
      if known and known.text ~= subnet.text then
        errors.misuse("lab: %s is of the segment %s, which has %s already: %s", link_name(link), segment.name, known.text, subnet.text)
      end
      fixed[segment][subnet.family] = subnet
    end
  end
  for _, link in ipairs(plan.links) do
    for side, at in ipairs(link.ends) do
      local where = ("%s, towards %s"):format(at.node, at.peer)
      local interfaces = link.interfaces[side]
      for _, text in ipairs(list(link.words[side].address)) do
        local address = read_address(where, text)
        if link.nodes[side].kind == "switch" then
          errors.misuse("lab: %s: a switch has no addresses: %s", where, text)
        elseif address.length and #interfaces == 1 and not is_link_local(address.bytes) and not link.words[side].foreign then
          local segment = interfaces[1].segment
          fixed[segment][address.family] = fixed[segment][address.family] or subnets.of(address.bytes, address.length)
        end
      end
    end
  end
end

local function give(state, interface, subnet, bytes, is_foreign)
  local used = state.used[interface.segment]
  local text = subnets.text(bytes)
  if used[bytes] then
    errors.misuse("lab: %s and %s both have %s on %s", used[bytes], interface.node, text, interface.segment.name)
  end
  used[bytes] = interface.node
  interface.addresses[#interface.addresses + 1] = text .. "/" .. subnet.length
  if is_foreign then
    interface.foreign = interface.foreign or {}
    interface.foreign[subnet.family] = interface.foreign[subnet.family] or text
  elseif not is_link_local(bytes) then
    interface[subnet.family] = interface[subnet.family] or text
  end
end

-- The interface of an end that a fixed address is for: that in whose subnet it is.
local function place(state, link, side, address)
  local at, interfaces = link.ends[side], link.interfaces[side]
  for _, interface in ipairs(interfaces) do
    local subnet = state.fixed[interface.segment][address.family] or state.auto[interface.segment][address.family]
    if subnet and subnets.contains(subnet, address.bytes) then
      return interface, subnet
    end
    if #interfaces == 1 and is_link_local(address.bytes) then
      return interface, subnets.of(address.bytes, 64)
    end
  end
  if link.words[side].foreign and #interfaces == 1 then
    return interfaces[1], subnets.of(address.bytes, address.length or #address.bytes * 8), true
  end
  local where = ("lab: %s, towards %s: %s"):format(at.node, at.peer, address.text)
  if #interfaces == 1 then
    local segment = interfaces[1].segment
    local subnet = state.fixed[segment][address.family] or state.auto[segment][address.family]
    errors.misuse("%s is outside of %s, the subnet of %s", where, subnet and subnet.text or "no subnet", segment.name)
  end
  errors.misuse("%s is in no subnet of the VLANs there", where)
end

local function place_fixed(plan, state)
  for _, link in ipairs(plan.links) do
    for side, at in ipairs(link.ends) do
      local node = link.nodes[side]
      for _, text in ipairs(list(link.words[side].address)) do
        local address = read_address(node.name, text)
        if not node[address.family] then
          errors.misuse("lab: %s has no %s, but the address %s", node.name, names[address.family], address.text)
        end
        local interface, subnet, is_foreign = place(state, link, side, address)
        local why = subnets.unusable(subnet, address.bytes)
        if why then
          errors.misuse("lab: %s, towards %s: %s is %s of %s", at.node, at.peer, address.text, why, subnet.text)
        elseif address.length and address.length ~= subnet.length then
          errors.misuse("lab: %s, towards %s: %s is not of the length of %s", at.node, at.peer, address.text, subnet.text)
        end
        give(state, interface, subnet, address.bytes, is_foreign)
      end
    end
  end
end

-- Whether a subnet is free of the fixed ones (sorted, apart from each other) and of those that were given before.
local function is_free(state, subnet)
  local sorted = state.sorted[subnet.family]
  local low, high = 1, #sorted + 1 -- the first one behind `subnet`
  while low < high do
    local middle = (low + high) // 2
    if sorted[middle].bytes <= subnet.bytes then
      low = middle + 1
    else
      high = middle
    end
  end
  for i = low - 1, low do
    if sorted[i] and subnets.overlap(sorted[i], subnet) then
      return false
    end
  end
  return true
end

-- 10.A.B.0/24, or the whole of 10.A.0.0/16, if nobody has any of it.
local function take_inet(state, a, b)
  local subnet = subnets.of(string.char(10, a, b or 0, 0), b and 24 or 16)
  local taken = state.taken[a] or {}
  if taken.whole or b and taken[b] or not b and next(taken) or not is_free(state, subnet) then
    return nil
  end
  state.taken[a] = taken
  taken[b or "whole"] = true
  return subnet
end

local take = {}

function take.inet(state, n, large)
  if large then
    return n <= 255 and take_inet(state, n) or nil
  end
  return take_inet(state, n >> 8, n & 0xff)
end

function take.inet6(state, n)
  local subnet = subnets.of((">I2I2I4I8"):pack(0xfd00, n, 0, 0), 64)
  if state.taken[subnet.bytes] or not is_free(state, subnet) then
    return nil
  end
  state.taken[subnet.bytes] = true
  return subnet
end

-- The subnet of a segment's number; where that is taken, one counted down from the end, so that nobody else loses his.
local function next_subnet(state, family, segment)
  local large = #segment.members > MOST_IN_24
  local subnet = segment.number <= 0xffff and take[family](state, segment.number, large) or nil
  local spare = state.spare[family]
  local n = large and family == "inet" and 255 or spare.next
  while not subnet and n > 0 do
    subnet = take[family](state, n, large)
    n = n - 1
  end
  if not large then
    spare.next = math.min(spare.next, n)
  end
  return subnet
end

-- A segment gets a subnet of a family if somebody on it has the family, and none is fixed.
local function number_segments(plan, state)
  for _, family in ipairs(families) do
    local sorted = state.sorted[family]
    for _, segment in ipairs(plan.segments) do
      sorted[#sorted + 1] = state.fixed[segment][family]
    end
    table.move(state.loopbacks[family], 1, #state.loopbacks[family], #sorted + 1, sorted)
    local a, b = subnets.clash(sorted)
    if a then
      local where = {}
      for _, segment in ipairs(plan.segments) do
        local subnet = state.fixed[segment][family]
        if subnet == a or subnet == b then
          where[#where + 1] = segment.name
        end
      end
      errors.misuse("lab: %s and %s overlap%s", a.text, b.text, #where == 2 and (" (%s, %s)"):format(where[1], where[2]) or "")
    end
    for _, segment in ipairs(plan.segments) do
      local wanted = false
      for _, interface in ipairs(segment.members) do
        wanted = wanted or plan.node[interface.node][family]
      end
      if wanted and not state.fixed[segment][family] and not segment.unnumbered then
        local subnet = next_subnet(state, family, segment)
        if not subnet then
          errors.misuse("lab: no %s subnet is left for %s", names[family], segment.name)
        end
        state.auto[segment][family] = subnet
      end
      local subnet = state.fixed[segment][family] or state.auto[segment][family]
      segment[family] = subnet and subnet.text
    end
  end
end

-- Numbers of those on one segment that have no address yet.
local function number_members(state, segment, subnet, plan)
  local used, family = state.used[segment], subnet.family
  local top = math.min(subnet.highest, #segment.members <= MOST_IN_24 and 254 or family == "inet" and 65534 or 9999)
  local low, high = subnet.lowest, top
  local function free(number)
    local bytes = number >= subnet.lowest and number <= subnet.highest and subnets.address(subnet, number)
    return bytes and not used[bytes] and bytes
  end
  for _, interface in ipairs(segment.members) do
    local node = plan.node[interface.node]
    if node[family] and not interface[family] and not (interface.foreign and interface.foreign[family]) and node.addresses ~= false then
      local bytes
      if node.kind == "router" then
        while high >= subnet.lowest and not bytes do
          bytes, high = free(high), high - 1
        end
      else
        local digits = node.name:match "(%d+)$"
        local number = digits and #digits < 9 and tonumber(digits)
        bytes = number and number > 0 and number <= top and free(number)
      end
      while low <= subnet.highest and not bytes do
        bytes, low = free(low), low + 1
      end
      if not bytes then
        errors.misuse("lab: %s is too small for the %d on %s", subnet.text, #segment.members, segment.name)
      end
      give(state, interface, subnet, bytes)
    end
  end
end

-- Addresses of the nodes themselves, on their lo.
local function read_loopbacks(plan, state)
  local owner = {}
  for _, node in ipairs(plan.nodes) do
    for _, text in ipairs(list(node.addresses or nil)) do
      local address = read_address(node.name, text)
      local length = #address.bytes * 8
      if node.kind == "switch" then
        errors.misuse("lab: %s: a switch has no addresses: %s", node.name, text)
      elseif address.length and address.length ~= length then
        errors.misuse("lab: %s: an address of lo has the length /%d: %s", node.name, length, text)
      elseif owner[address.bytes] then
        errors.misuse("lab: %s and %s both have %s", owner[address.bytes], node.name, text)
      elseif not node[address.family] then
        errors.misuse("lab: %s has no %s, but the address %s", node.name, names[address.family], text)
      end
      owner[address.bytes] = node.name
      local subnet = subnets.of(address.bytes, length)
      state.loopbacks[address.family][#state.loopbacks[address.family] + 1] = subnet
      node.loopback[#node.loopback + 1] = subnet.text
    end
  end
end

---Give every segment its subnets and every interface its addresses.
---@param plan nslua.lab.Plan
function M.allocate(plan)
  local state = { fixed = {}, auto = {}, used = {}, sorted = { inet = {}, inet6 = {} }, loopbacks = { inet = {}, inet6 = {} }, taken = {},
    spare = { inet = { next = 0xffff }, inet6 = { next = 0xffff } } }
  for _, segment in ipairs(plan.segments) do
    state.fixed[segment], state.auto[segment], state.used[segment] = {}, {}, {}
  end
  read_loopbacks(plan, state)
  fix_subnets(plan, state.fixed)
  number_segments(plan, state)
  place_fixed(plan, state)
  for _, segment in ipairs(plan.segments) do
    for _, family in ipairs(families) do
      local subnet = state.fixed[segment][family] or state.auto[segment][family]
      if subnet and not segment.unnumbered then
        number_members(state, segment, subnet, plan)
      end
    end
  end
end

return M
