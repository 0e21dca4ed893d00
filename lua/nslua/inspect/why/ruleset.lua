-- The filters of a namespace, worked out for a packet: base chains of a hook by their priority, connection tracking, NAT.

local errors = require "nslua.error"
local expression = require "nslua.inspect.why.expression"

local M = {}

local DNAT, SNAT = -100, 100 -- where the translations of a connection are applied

local function quiet(fn, ...)
  local ok, value = pcall(fn, ...)
  if not ok and not errors.is(value) then
    error(value, 0)
  end
  return ok and value or {}
end

-- Tables, chains and rules, read once.
local function read(space)
  if space.ruleset then
    return space.ruleset
  end
  local set = { hooks = {}, chains = {}, sets = {}, tracks = false }
  space.ruleset = set
  local nft = space.handle.nftables
  local tables = quiet(nft.tables, nft)
  if not tables[1] then
    local legacy = {}
    for _, file in ipairs { "ip_tables_names", "ip6_tables_names" } do
      local text = quiet(space.handle.read, space.handle, "/proc/net/" .. file)
      for name in (type(text) == "string" and text or ""):gmatch "%S+" do
        legacy[#legacy + 1] = name
      end
    end
    set.legacy = legacy[1] and table.concat(legacy, ", ")
    return set
  end
  local dormant, age = {}, {}
  for _, row in ipairs(tables) do
    age[row.family .. " " .. row.name] = row.handle
    dormant[row.family .. " " .. row.name] = row.flags and row.flags.dormant or nil
  end
  for _, row in ipairs(quiet(nft.chains, nft)) do
    local chain = { family = row.family, table = row.table, name = row.name, hook = row.hook, type = row.type, priority = row.priority,
      policy = row.policy, rules = {}, handle = row.handle, devs = row.devs or row.dev and { row.dev } }
    local key = row.family .. " " .. row.table
    chain.age = age[key] or 0
    set.chains[key .. " " .. row.name] = chain
    if row.hook and not dormant[key] then
      set.hooks[row.hook] = set.hooks[row.hook] or {}
      table.insert(set.hooks[row.hook], chain)
      set[row.family] = true
    end
    set.tracks = set.tracks or row.type == "nat"
  end
  for _, list in pairs(set.hooks) do
    table.sort(list, function(a, b)
      -- of one priority, the one that was made last is asked first
      return a.priority < b.priority or a.priority == b.priority and (a.age > b.age or a.age == b.age and a.handle > b.handle)
    end)
  end
  for _, row in ipairs(quiet(nft.rules, nft)) do
    local chain = set.chains[("%s %s %s"):format(row.family, row.table, row.chain)]
    if chain then
      local rule = row:decode()
      chain.rules[#chain.rules + 1] = rule
      for _, e in ipairs(rule.expressions or {}) do
        set.tracks = set.tracks or e.name == "ct" or e.name == "nat" or e.name == "masq" or e.name == "redir"
          or e.name == "match" or e.name == "target"
      end
    end
  end
  set.nft = nft
  return set
end
M.read = read

local function set_of(set, family, tab, name)
  local key = ("%s %s %s"):format(family, tab, name)
  if set.sets[key] == nil then
    set.sets[key] = false
    local row = quiet(set.nft.sets, set.nft, { family = family, table = tab, name = name })[1]
    if row then
      set.sets[key] = { flags = row.flags or {}, key_len = row.key_len, desc = row.desc,
        elements = quiet(set.nft.elements, set.nft, { family = family, table = tab, name = name }) }
    end
  end
  return set.sets[key] or nil
end

-- Connection tracking ------------------------------------------------------------------------------------------------------------

local function is(tuple, p)
  return tuple.proto == p.proto and tuple.src == p.src and tuple.dst == p.dst and tuple.sport == p.sport and tuple.dport == p.dport
end

-- The connection of a packet here, and its state.
local function track(ctx, space, p)
  local list = ctx.connections and ctx.connections[space] or {}
  if ctx.connections then
    ctx.connections[space] = list
  end
  if p.tracked and p.tracked.space == space then
    return p.tracked.connection, p.tracked.state
  end
  local connection, state
  if p.family == "arp" or p.proto == "icmp6" and p.icmp_type and p.icmp_type >= 133 and p.icmp_type <= 137 then
    state = "untracked"
  elseif p.about then
    for _, c in ipairs(list) do
      if is(c.orig, p.about) or is(c.reply, { proto = p.about.proto, src = p.about.dst, dst = p.about.src, sport = p.about.dport,
        dport = p.about.sport }) then
        connection, state = c, "related"
      end
    end
    state = state or "invalid"
  else
    for _, c in ipairs(list) do
      if is(c.reply, p) and p.reply then
        connection, state, c.replied = c, "established", true
      elseif is(c.orig, p) then
        connection, state = c, p.reply and "established" or "new"
      end
    end
    if not state and p.reply and p.proto ~= "udp" then
      state = "invalid" -- an answer to what was not seen here
    elseif not state then
      state = "new"
      connection = { orig = { proto = p.proto, src = p.src, dst = p.dst, sport = p.sport, dport = p.dport },
        reply = { proto = p.proto, src = p.dst, dst = p.src, sport = p.dport, dport = p.sport } }
      list[#list + 1] = connection
    end
  end
  p.tracked = { space = space, connection = connection, state = state }
  return connection, state
end

-- What the connection's translation makes of a packet at this hook.
local function translate(hook, p, c)
  if not c then
    return
  end
  local dst = hook == "prerouting" or hook == "output"
  if p.about then -- the packet in an ICMP error is translated too, and the address that it goes to
    local a = p.about
    if not a.reply and a.src == c.reply.dst and a.dst == c.reply.src and a.sport == c.reply.dport and a.dport == c.reply.sport then
      a.src, a.dst, a.sport, a.dport = c.orig.src, c.orig.dst, c.orig.sport, c.orig.dport
    end
    if dst and c.snat and p.dst == c.reply.dst then
      p.dst = c.orig.src
    end
  elseif p.reply and is(c.reply, { proto = p.proto, src = c.reply.src, dst = p.dst, sport = c.reply.sport, dport = p.dport }) and dst then
    p.dst, p.dport = c.orig.src, c.orig.sport
  elseif p.reply and not dst and p.src == c.reply.src and p.sport == c.reply.sport then
    p.src, p.sport = c.orig.dst, c.orig.dport
  end
end

local function first_address(space, link, family, dst)
  local ok, row = pcall(space.handle.route.lookup, space.handle.route, { dst, oif = link.name })
  if ok and row.src then
    return row.src
  end
  for _, address in ipairs(space:addresses()) do
    if address.dev_index == link.index and address.family == family and address.scope == "global" then
      return address.address:match "^[^/]+"
    end
  end
end

local function do_nat(ctx, space, at, hook, t)
  local p, c = at.packet, at.connection
  if not c then
    return nil
  end
  p.original = p.original or { src = p.src, dst = p.dst, sport = p.sport, dport = p.dport }
  local before = ("%s%s"):format(p.src, p.sport and ":" .. p.sport or "")
  if t.type == "masquerade" or t.type == "snat" then
    local address = t.type == "snat" and t.address or not t.address and first_address(space, at.oif, p.family, p.dst) or t.address
    if not address then
      return nil
    end
    p.src, p.sport = address, t.port or p.sport
    c.snat = true
    c.reply.dst, c.reply.dport = p.src, p.sport
    ctx:step { kind = "nat", space = space, text = ("source %s becomes %s%s"):format(before, p.src, p.sport and ":" .. p.sport or "") }
  else
    before = ("%s%s"):format(p.dst, p.dport and ":" .. p.dport or "")
    if t.type == "redirect" then
      t.address = hook == "output" and (p.family == "inet" and "127.0.0.1" or "::1") or first_address(space, at.iif, p.family, p.src)
    end
    p.dst, p.dport = t.address or p.dst, t.port or p.dport
    c.dnat = true
    c.reply.src, c.reply.sport = p.dst, p.dport
    ctx:step { kind = "nat", space = space, text = ("destination %s becomes %s%s"):format(before, p.dst, p.dport and ":" .. p.dport or "") }
  end
end

-- Chains -------------------------------------------------------------------------------------------------------------------------

-- What a rule is made of: the names of its expressions.
local function in_short(rule)
  local names = {}
  for i, e in ipairs(rule.expressions or {}) do
    local of_iptables = (e.name == "match" or e.name == "target") and type(e.data) == "table" and e.data.name
    names[i] = of_iptables and e.name .. " " .. of_iptables or e.name
  end
  return table.concat(names, ", ")
end

local function place(chain, rule)
  return ("%s %s %s%s"):format(chain.family, chain.table, chain.name, rule and (" handle %d"):format(rule.handle) or "")
end

-- What a chain says: "accept", "drop", ...; nil: nothing, its policy decides.
local function run(ctx, space, set, chain, at, deep)
  at.family = chain.family
  for _, rule in ipairs(chain.rules) do
    at.sets = function(name)
      return set_of(set, chain.family, chain.table, name)
    end
    local ok, verdict = pcall(expression.rule, rule, at)
    if not ok and verdict ~= expression.UNKNOWN then
      error(verdict, 0)
    elseif not ok then
      ctx:doubt(space, ("the rule %s (%s) is not understood"):format(place(chain, rule), in_short(rule)))
    elseif verdict then
      local code = verdict[1]
      if code == "jump" or code == "goto" then
        local other = set.chains[("%s %s %s"):format(chain.family, chain.table, verdict[2])]
        local said, where
        if other and deep < 16 then
          said, where = run(ctx, space, set, other, at, deep + 1)
        end
        if said then
          return said, where
        elseif code == "goto" then
          return nil
        end
      elseif code == "return" then
        return nil
      elseif code ~= "continue" and code ~= "break" then
        return verdict, { chain = chain, rule = rule }
      end
    end
  end
  return nil
end

local function in_words(rule)
  return rule.comment and (" (%s)"):format(rule.comment) or ""
end

local rejects = { inet = { [0] = { 3, 0 }, { 3, 3 }, { 3, 1 }, { 3, 13 } }, inet6 = { [0] = { 1, 0 }, { 1, 4 }, { 1, 3 }, { 1, 1 } } } -- of icmpx

local function finding_of(space, hook, verdict, where, chain, packet)
  local rule = where and where.rule
  local out = { code = "filter", space = space, hook = hook, table = chain.table, chain = (where and where.chain or chain).name,
    family = chain.family, handle = rule and rule.handle or nil }
  local code = verdict and verdict[1] or "drop"
  if rule then
    out.why = ("the rule %s%s says %s, at %s"):format(place(where.chain, rule), in_words(rule), code, hook)
    out.fix = ("nft delete rule %s, or a rule before it that accepts"):format(place(where.chain, rule))
  else
    out.why = ("no rule of %s accepts it, and its policy at %s is drop"):format(place(chain), hook)
    out.fix = ("nft add rule %s %s accept"):format(place(chain), packet.dport and ("%s dport %d"):format(packet.proto, packet.dport) or
      ("%s daddr %s"):format(packet.family == "inet" and "ip" or "ip6", packet.dst))
  end
  if code == "drop" and hook == "output" or code == "drop" and hook == "postrouting" then
    out.errno = "local"
  elseif code == "reject" then
    local d = verdict[2]
    local kind = d.type
    if kind == "icmp_unreach" then
      out.icmp = { packet.family == "inet" and 3 or 1, d.icmp_code }
    elseif kind == "icmpx_unreach" then
      out.icmp = rejects[packet.family][d.icmp_code]
    elseif packet.proto == "tcp" then
      out.reset = true
    end
    out.by_bridge = chain.family == "bridge" or nil
  end
  return out
end

local families = { inet = { ip = true, inet = true }, inet6 = { ip6 = true, inet = true }, arp = { arp = true }, bridge = { bridge = true },
  ingress = { netdev = true, inet = true }, egress = { netdev = true } }

-- Whether a chain is asked at a device, where it is one of devices.
local function of_device(chain, dev)
  for _, name in ipairs(chain.devs or {}) do
    local front = name:match "^(.*)%*$"
    if name == dev or front and dev:sub(1, #front) == front then
      return true
    end
  end
  return false
end

---@class nslua.why.Layer  a hook that is not one of IP
---@field family "bridge"|"netdev"|nil  nil: of IP, for a frame that a bridge passes on (br_netfilter)
---@field frame nslua.why.Frame
---@field bridge? table           the bridge; `physin`, `physout`: its ports
---@field physin? table
---@field physout? table

---What the chains of a hook do with a packet. NAT changes it.
---@param ctx table
---@param space nslua.why.Space
---@param hook string  "prerouting", "input", "forward", "output", "postrouting"
---@param packet table
---@param iif? table
---@param oif? table
---@param layer? nslua.why.Layer
---@return table? finding  nil: it goes on
function M.hook(ctx, space, hook, packet, iif, oif, layer)
  local set = read(space)
  layer = layer or {}
  if set.legacy and not layer.family then
    ctx:doubt(space, ("tables of iptables-legacy (%s) are not read"):format(set.legacy))
  end
  if not set.nft then
    return nil
  end
  local connection, state = nil, "untracked"
  local device = layer.family == "netdev" and (hook == "ingress" and iif or oif) or nil
  if set.tracks and not device then
    connection, state = track(ctx, space, packet)
  end
  local at = { packet = packet, space = space, iif = iif, oif = oif, ct_state = state, connection = connection, doubt = function(text)
    ctx:doubt(space, text)
  end, frame = layer.family and layer.frame,
    bridge = layer.bridge, physin = layer.physin, physout = layer.physout }
  function at.untrack()
    at.ct_state, at.connection, connection, state = "untracked", nil, nil, "untracked"
    packet.tracked = { space = space, state = state }
  end
  local asked = families[device and hook or layer.family or packet.family]
  local translating = (hook == "prerouting" or hook == "output") and DNAT or (hook == "postrouting" or hook == "input") and SNAT or nil
  translating = not layer.family and translating or nil
  local translated, natted
  local function turn()
    if translating and not translated then
      translated = true
      translate(hook, packet, connection)
    end
  end
  for _, chain in ipairs(set.hooks[hook] or {}) do
    local here = not device or of_device(chain, device.name) and not (chain.family == "inet" and packet.family == "arp")
    if asked[chain.family] and here then
      if translating and chain.priority >= translating then
        turn()
      end
      if chain.type ~= "nat" or state == "new" and connection and not packet.reply and not natted then
        local verdict, where = run(ctx, space, set, chain, at, 0)
        local code = verdict and verdict[1] or chain.policy or "accept"
        if code == "nat" then
          do_nat(ctx, space, at, hook, verdict[2])
          natted = true
        elseif code == "accept" then
          if where then
            ctx:step { kind = "hook", space = space, hook = hook, text = ("%s: %s accepts"):format(hook, place(where.chain, where.rule)) }
          end
        elseif code == "stolen" or code == "queue" then
          ctx:doubt(space, ("the rule %s gives the packet to a program"):format(place(where.chain, where.rule)))
        else
          return finding_of(space, hook, verdict, where, chain, packet)
        end
      end
    end
  end
  turn()
  return nil
end

return M
