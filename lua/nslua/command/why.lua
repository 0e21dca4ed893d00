-- why one namespace reaches another, or does not: hop by hop, where the packet ends, and what mends it
--
-- FROM is a container, a name of ip netns, a pid, a path, docker:web, or lab:demo/h1; TO the same, an address, or a name as FROM knows it,
-- with a port: db:5432, 10.0.0.5:80, [fd00::1]:80. Without a port it is an echo request. The exit status is 0 where it is reached, 1 where not,
-- 2 in trouble.

local core = require "nslua.core"
local errors = require "nslua.error"
local options = require "nslua.command.cli.options"

local declaration = options.declare {
  name = "why", usage = "[options] <from> <to>[:<port>]", operands = "netns", status = 2,
  summary = "Walk the way of a packet from one namespace to another and back, send one, and say where it ends and why.",
  { "u", "udp", help = "a datagram of UDP instead of TCP" },
  { "4", "ipv4", help = "by IPv4" },
  { "6", "ipv6", help = "by IPv6" },
  { "s", "size", arg = "bytes", help = "a packet of that size, which may not be fragmented" },
  { "n", "no-probe", help = "send nothing: predict only" },
  { "t", "timeout", arg = "seconds", help = "of the probe" },
  { "v", "verbose", help = "the way back in full, too" },
  { "j", "json", help = "print JSON" },
  examples = {
    { "nslua why web db:5432", "two containers" },
    { "nslua why docker:web 10.0.0.5:80", "an address" },
    { "nslua why -u pod:default/web 10.96.0.10:53", "a datagram to a DNS server" },
    { "nslua why lab:demo/h1 lab:demo/h2:80", "two nodes of a lab that runs" },
  },
}

-- A namespace, or a node of a running lab.
local function open(word, kept)
  local lab, node = word:match "^lab:([^/]+)/(.+)$"
  if not lab then
    local handle = require("nslua.command.cli.place").open(word, true)
    kept[#kept + 1] = handle
    if rawget(handle, "label") == nil and rawget(handle, "name") == nil then
      handle.label = word:find "^%d+$" and "pid " .. word or word
    end
    return handle
  end
  kept.labs[lab] = kept.labs[lab] or require("nslua").lab.open(lab)
  return kept.labs[lab].node[node] or errors.misuse("%s", require("nslua.check").unknown("node", node, kept.labs[lab].node))
end

-- Where to: an address or a name that stays one, else a namespace.
local function to_of(word, from, kept)
  local host, port = word:match "^%[(.+)%]:(%d+)$"
  if not host and not core.inet.bytes(word) then
    host, port = word:match "^(.+):(%d+)$"
    if host and (host:find "^%l+$" and not host:find "^lab:" and #host > 2 and (host == "pid")) then
      host, port = nil, nil -- pid:12
    end
  end
  local odd = not host and not core.inet.bytes((word:gsub("%%.*$", ""))) and not word:find "^%[" and word:match "^.+:(%a[%w-]*)$"
  if odd and word:find "^lab:[^/]+/" then
    errors.misuse("%s: %q is no port: a number is expected", word, odd)
  elseif word:find "^:" and not core.inet.bytes(word) then
    errors.misuse("%s: which host? FROM TO:PORT", word)
  end
  host = host or word:match "^%[(.+)%]$" or word
  port = port and math.tointeger(tonumber(port))
  if core.inet.bytes((host:gsub("%%.*$", ""))) then
    return host, port
  end
  local ok, handle = pcall(open, host, kept)
  if ok then
    return handle, port
  elseif not errors.is(handle, "ENOENT") or host:find "[:/]" then
    error(handle, 0)
  end
  local target = require "nslua.inspect.target"
  local found, address = pcall(target.resolve, from, "why", host, {}) -- a name that is known inside
  if not found then
    error(handle, 0)
  end
  return address.address, port
end

local function run(o)
  if not o[1] or not o[2] or o[3] then
    errors.misuse "from where, and where to? Two operands are needed: FROM TO:PORT"
  end
  if o.ipv4 and o.ipv6 then
    errors.misuse "--ipv4 and --ipv6: it goes by one of them"
  end
  local kept <close> = setmetatable({ labs = {} }, { __close = function(list)
    for _, handle in ipairs(list) do
      handle:close()
    end
    for _, lab in pairs(list.labs) do
      lab:close()
    end
  end })
  local from = open(o[1], kept)
  local to, port = to_of(o[2], from, kept)
  local timeout = o.timeout and (tonumber(o.timeout) or o.timeout)
  local w = require("nslua").why(from, to, port, { proto = o.udp and "udp" or nil, family = o.ipv6 and "inet6" or o.ipv4 and "inet" or nil,
    size = o.size and (math.tointeger(tonumber(o.size)) or o.size), probe = not o["no-probe"], timeout = timeout, verbose = o.verbose })
  io.write(o.json and w:json() .. "\n" or w:text())
  return w.ok and 0 or 1
end

return function(args)
  return declaration:run(args, run)
end
