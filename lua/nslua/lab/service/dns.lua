-- "dns": a name server for one zone, over UDP and TCP, and what goes wrong with such. RFC 1035, RFC 6891 (EDNS)

local addressing = require "nslua.lab.addressing"
local check = require "nslua.check"
local core = require "nslua.core"
local errors = require "nslua.error"
local messages = require("nslua.inspect").dns
local running = require "nslua.lab.running"
local server = require "nslua.lab.service.server"
local topologies = require "nslua.lab.topology"
local units = require "nslua.units"

local M = {}

local IN, ANY, OPT = 1, 255, 41
local NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = 0, 1, 2, 3, 4, 5
local RESPONSE, AUTHORITATIVE, TRUNCATED, RECURSION_DESIRED, RECURSION_AVAILABLE = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080
local PLAIN, LARGEST = 512, 1232 -- bytes of an answer by UDP: without EDNS, and with it at the most
local CHAIN = 8 -- CNAMEs behind each other

local function name_of(call, text)
  local bytes, why = messages.encode_name(text)
  return bytes or errors.misuse("%s: %q is no name: %s", call, text, why)
end

local function address_of(call, text, size)
  local bytes = core.inet.bytes(text)
  return bytes and #bytes == size and bytes or errors.misuse("%s: %q is no address of IPv%d", call, text, size == 4 and 4 or 6)
end

-- Data of a record, by its type.
local writers = {
  A = function(call, value)
    return address_of(call, value, 4)
  end,
  AAAA = function(call, value)
    return address_of(call, value, 16)
  end,
  TXT = function(_, value)
    local parts = {}
    for at = 1, math.max(#value, 1), 255 do
      parts[#parts + 1] = string.pack("s1", value:sub(at, at + 254))
    end
    return table.concat(parts)
  end,
  MX = function(call, value)
    local preference, name = value:match "^(%d+)%s+(%S+)$"
    if not preference or tonumber(preference) > 65535 then
      errors.misuse("%s: MX %q must be like \"10 mail.lab\"", call, value)
    end
    return string.pack(">I2", tonumber(preference)) .. name_of(call, name)
  end,
  SRV = function(call, value)
    local a, b, port, name = value:match "^(%d+)%s+(%d+)%s+(%d+)%s+(%S+)$"
    if not a then
      errors.misuse("%s: SRV %q must be like \"0 0 5060 sip.lab\": priority, weight, port, name", call, value)
    end
    return string.pack(">I2I2I2", tonumber(a), tonumber(b), tonumber(port)) .. name_of(call, name)
  end,
}
for _, type in ipairs { "CNAME", "NS", "PTR" } do
  writers[type] = name_of
end

local function reverse_name(bytes)
  local labels = {}
  if #bytes == 4 then
    for i = 4, 1, -1 do
      labels[#labels + 1] = ("%d"):format(bytes:byte(i))
    end
    return table.concat(labels, ".") .. ".in-addr.arpa"
  end
  for i = 16, 1, -1 do
    labels[#labels + 1] = ("%x.%x"):format(bytes:byte(i) & 15, bytes:byte(i) >> 4)
  end
  return table.concat(labels, ".") .. ".ip6.arpa"
end

local function plain(name)
  return (name:lower():gsub("%.$", ""))
end

local function put(zone, name, type, data)
  local at = zone[plain(name)] or {}
  zone[plain(name)] = at
  at[type] = at[type] or {}
  table.insert(at[type], data)
end

-- A zone as it was said, as records: zone[name][type] = { data, ... }.
local function read_zone(call, said)
  local zone = {}
  local function add(name, type, value)
    check.argument(call, ("%s of %s"):format(type, name), value, "string")
    local data = writers[type](("%s: %s"):format(call, name), value)
    put(zone, name, type, data)
    if (type == "A" or type == "AAAA") and not name:find "^%*" then
      local reverse = reverse_name(data)
      if not (zone[reverse] and zone[reverse].PTR) then
        put(zone, reverse, "PTR", name_of(call, name))
      end
    end
  end
  local function add_address(name, value)
    check.argument(call, name, value, "string")
    local bytes = core.inet.bytes(value) or errors.misuse("%s: %s: %q is no address", call, name, value)
    add(name, #bytes == 4 and "A" or "AAAA", value)
  end
  local names = {}
  for name in pairs(said) do
    if type(name) ~= "string" then
      errors.misuse("%s: zone: a name expected, got %s", call, tostring(name))
    end
    name_of(call, name)
    names[#names + 1] = name
  end
  table.sort(names, function(a, b) -- the name that an address has is the longest one
    return #a > #b or #a == #b and a < b
  end)
  for _, name in ipairs(names) do
    local value = said[name]
    for _, each in ipairs(type(value) == "table" and value or { value }) do
      add_address(name, each)
    end
    for key, list in pairs(type(value) == "table" and value or {}) do
      if type(key) == "string" then
        if not writers[key] then
          errors.misuse("%s: %s: %s", call, name, check.unknown("type", key, writers))
        end
        for _, each in ipairs(type(list) == "table" and list or { list }) do
          add(name, key, each)
        end
      end
    end
  end
  return zone
end

-- Records of a name; of "*.lab" where no name of the zone is it.
local function find(zone, name)
  local at = zone[name]
  local rest = name
  while not at do
    rest = rest:match "^[^.]*%.(.+)$"
    if not rest then
      return nil
    end
    if zone[rest] then
      return zone["*." .. rest]
    end
    at = zone["*." .. rest]
  end
  return at
end

-- Whether there are names below one: then it is there, with no records.
local function has_below(zone, name)
  local suffix = "." .. name
  for each in pairs(zone) do
    if each:sub(-#suffix) == suffix then
      return true
    end
  end
  return false
end

local function append(out, name, type, list, ttl)
  for _, data in ipairs(list or {}) do
    out[#out + 1] = { name = name, type = messages.types[type], data = data, ttl = ttl }
  end
end

local function look_up(options, name, type)
  local out = {}
  for _ = 1, CHAIN do
    local at = find(options.records, plain(name))
    if not at then
      return (#out > 0 or has_below(options.records, plain(name))) and NOERROR or NXDOMAIN, out
    end
    local encoded = messages.encode_name(name)
    if type == ANY then
      for each, list in pairs(at) do
        append(out, encoded, each, list, options.ttl)
      end
      return NOERROR, out
    end
    local word = messages.type_name(type)
    append(out, encoded, word, at[word], options.ttl)
    if at[word] or not at.CNAME then
      return NOERROR, out
    end
    append(out, encoded, "CNAME", at.CNAME, options.ttl)
    name = messages.decode_name(at.CNAME[1])
  end
  return SERVFAIL, out
end

-- The answer to a query: bytes, or nil where there shall be none, and a line for the log.
local function answer(options, bytes, limit)
  if #bytes < 12 then
    return nil
  end
  local id, flags, questions = string.unpack(">I2I2I2", bytes)
  if flags & RESPONSE ~= 0 then
    return nil -- or two servers would talk for ever
  end
  local function head(rcode)
    return string.pack(">I2I2I2I2I2I2", id, RESPONSE | flags & (RECURSION_DESIRED | 0x7800) | rcode, 0, 0, 0, 0)
  end
  if flags & 0x7800 ~= 0 then
    return head(NOTIMP)
  end
  local query = messages.decode(bytes)
  local question = query and query.questions[1]
  if not question or questions ~= 1 then
    return head(FORMERR)
  end
  local stop = 13 -- the name of a question has no pointers: there is nothing before it
  while bytes:byte(stop) ~= 0 do
    stop = stop + 1 + bytes:byte(stop)
  end
  local asked = bytes:sub(13, stop + 4)
  local type, class = string.unpack(">I2I2", bytes, stop + 1)
  local name = plain(question.name)
  local size = query.payload
  limit = limit or math.min(LARGEST, math.max(PLAIN, size or PLAIN))
  local tail = size and string.pack(">BI2I2I4I2", 0, OPT, LARGEST, 0, 0) or ""
  local rcode, records
  if options.drop == true or options.dropped[name] then
    return nil, name, question.type, "dropped"
  elseif options.servfail == true or options.failing[name] then
    rcode, records = SERVFAIL, {}
  elseif class ~= IN and class ~= ANY then
    rcode, records = REFUSED, {}
  else
    rcode, records = look_up(options, question.name, type)
  end
  local parts = {}
  for i, r in ipairs(records) do
    parts[i] = r.name .. string.pack(">I2I2I4s2", r.type, IN, r.ttl, r.data)
  end
  local body = table.concat(parts)
  local cut = 12 + #asked + #body + #tail > limit or options.truncate and limit <= LARGEST
  local out = string.pack(">I2I2I2I2I2I2", id, RESPONSE | AUTHORITATIVE | RECURSION_AVAILABLE | flags & RECURSION_DESIRED
    | (cut and TRUNCATED or 0) | rcode, 1, cut and 0 or #parts, 0, size and 1 or 0) .. asked .. (cut and "" or body) .. tail
  return out, name, question.type, cut and "truncated" or messages.rcodes[rcode]
end

local function names_of(call, word, value)
  local out = {}
  if type(value) == "table" then
    for _, name in ipairs(value) do
      check.argument(call, word .. ": a name", name, "string")
      out[plain(name)] = true
    end
  elseif value ~= nil and type(value) ~= "boolean" then
    errors.misuse("%s: %s must be true or a list of names, got %s", call, word, type(value))
  end
  return out
end

-- The names of the lab's nodes, each with and without the domain.
local function lab_names(plan, node_name, domain)
  local zone = {}
  for _, entry in ipairs(plan:hosts(node_name)) do
    for _, name in ipairs { entry[2], domain ~= "" and entry[2] .. "." .. domain or nil } do
      zone[name] = zone[name] or {}
      table.insert(zone[name], entry[1])
    end
  end
  return zone
end

-- The names as they are now, where something has been moved since.
local function follow(options)
  local lab = options.lab
  local news, seen = running.news(lab.board, lab.seen)
  if news then
    lab.seen = seen
  end
  if news and news.topology ~= lab.text then
    lab.text = news.topology
    options.records = read_zone("dns", lab_names(addressing.plan(topologies.read(running.topology_of(news))), lab.node, lab.domain))
  end
end

M.dns = { port = 53, protos = { "udp", "tcp" }, words = { zone = "table", domain = "string", ttl = "0-2147483647", delay = "number|string",
    servfail = "boolean|table", drop = "boolean|table", truncate = "boolean", resolv_conf = "boolean" },
  check = function(options, call, node)
    options.ttl = options.ttl or 60
    options.delay = units.duration(options.delay or 0, call .. ": delay")
    options.failing, options.dropped = names_of(call, "servfail", options.servfail), names_of(call, "drop", options.drop)
    local domain = options.domain or "lab"
    options.records = read_zone(call, options.zone or lab_names(node.lab.plan, node.node_name, domain))
    options.lab = not options.zone and node.lab.board and { board = node.lab.board, seen = node.lab.seen, node = node.node_name, domain = domain }
      or nil
    return options.lab and options.lab.board
  end,
  run = function(sockets, options)
    local self
    local function respond(from, query, limit, send)
      local current, why = true, nil
      if options.lab then
        current, why = pcall(follow, options)
      end
      if not current then
        print("error: " .. tostring(why))
      end
      local ok, text, name, type, how = pcall(answer, options, query, limit)
      if not ok then
        return print("error: " .. tostring(text))
      elseif how then
        print(("%s %s %s %s"):format(from, name:gsub("[^\x21-\x7e]", "?"):sub(1, 255), type, how))
      end
      if text then
        self:after(options.delay, function()
          send(text)
        end)
      end
    end
    self = server.new {
      datagram = function(socket, got)
        if got.port ~= 0 then
          respond(core.inet.text(got.from), got.data, nil, function(text)
            server.reply(socket, got, text)
          end)
        end
      end,
      data = function(client, bytes)
        client.buffer = client.buffer .. bytes
        while #client.buffer >= 2 and not client:is_full() do
          local length = string.unpack(">I2", client.buffer)
          if #client.buffer < 2 + length then
            return
          end
          local query = client.buffer:sub(3, 2 + length)
          client.buffer = client.buffer:sub(3 + length)
          client.late = options.delay > 0 or nil
          respond(client.from, query, 65535, function(text)
            client:send(string.pack(">s2", text))
            if client.late then
              self:resume(client)
            end
          end)
        end
      end,
    }
    self:run(sockets)
  end }

return M
