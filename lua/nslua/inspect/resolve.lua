-- Questions to DNS, asked from inside a namespace of the servers that it has. resolver(5)

local core = require "nslua.core"
local check = require "nslua.check"
local dns = require "nslua.inspect.dns"
local errors = require "nslua.error"
local etc = require "nslua.inspect.etc"
local namespace = require "nslua.namespace"
local socket = require "nslua.inspect.socket"
local target = require "nslua.inspect.target"
local tcp = require "nslua.inspect.tcp"
local udp = require "nslua.inspect.udp"
local units = require "nslua.units"

local M = {}

local CALL = "netns.resolve"

-- An id that nobody can guess: with the port it is all that an answer shows.
local function random_id()
  local f = io.open("/dev/urandom", "rb")
  local bytes = f and f:read(2)
  if f then
    f:close()
  end
  return bytes and string.unpack("I2", bytes) or math.random(0, 65535)
end

-- Whether a message is the answer to a question, not to another one.
local function matches(message, q, id)
  local own = message.questions[1]
  if not message.response or message.id ~= id then
    return false
  elseif not own then -- a server that did not even read it
    return message.rcode ~= "NOERROR"
  end
  return #message.questions == 1 and own.type == q.type and own.name:lower() == q.name:lower()
end

-- `q`: { name (as a message has it), bytes, number, type, edns }; the answer, or a failure { error=, ... }.
local function by_udp(fd, t, q, deadline)
  local id = random_id()
  local sent, why = udp.send(fd, t.family, dns.query(id, q.bytes, q.number, q.edns), deadline)
  while sent do
    local got
    got, why = udp.receive(fd, t.family, deadline)
    if not got then
      return nil, why or { error = "ETIMEDOUT" }
    end
    local message, broken = dns.decode(got.data)
    if message and matches(message, q, id) then
      return message
    elseif not message and #got.data >= 12 and string.unpack(">I2", got.data) == id then
      if got.data:byte(3) & 2 ~= 0 then -- cut off in the middle of a record
        return { truncated = true }
      end
      return nil, { error = "EBADMSG", detail = broken }
    end
  end
  return nil, why
end

-- So many bytes.
local function receive(fd, n, deadline)
  local parts, have = {}, 0
  while have < n do
    local bytes, e = tcp.receive(fd, deadline, n - have)
    if not bytes or bytes == "" then
      return nil, { error = e or "ECONNRESET" }
    end
    parts[#parts + 1], have = bytes, have + #bytes
  end
  return table.concat(parts)
end

local function by_tcp(fd, t, port, q, deadline)
  local connected, why = tcp.connect(fd, t, port, deadline)
  if not connected then
    return nil, why
  end
  local id = random_id()
  local e = tcp.send(fd, string.pack(">s2", dns.query(id, q.bytes, q.number, q.edns)), deadline)
  if e then
    return nil, { error = e }
  end
  local size, bytes
  size, why = receive(fd, 2, deadline)
  if size then
    bytes, why = receive(fd, string.unpack(">I2", size), deadline)
  end
  if not bytes then
    return nil, why
  end
  local message, broken = dns.decode(bytes)
  if message and matches(message, q, id) then
    return message
  end
  return nil, { error = "EBADMSG", detail = broken or "an answer to something else" }
end

local function ask(handle, server, q, options, deadline)
  local t = target.resolve(handle, CALL, server, {})
  local function over(type)
    local fd = socket.open(handle, CALL, t.family, type, options)
    local closer <close> = fd -- luacheck: ignore
    if type == "stream" then
      return by_tcp(fd, t, options.port, q, deadline)
    end
    local ok, _, errno = core.packet.connect(fd, t.ip, options.port, t.scope)
    if not ok then
      return nil, { error = core.errno[errno] }
    end
    return by_udp(fd, t, q, deadline)
  end
  local used = options.tcp and "stream" or "dgram"
  local message, why = over(used)
  if message and message.truncated and used == "dgram" then
    used = "stream"
    message, why = over(used)
  end
  if message and q.edns and (message.rcode == "FORMERR" or message.rcode == "NOTIMP") then
    q.edns = false
    return ask(handle, server, q, options, deadline)
  end
  return message, why, used == "stream"
end

-- The servers in turn, twice, until one has said something that counts.
local function ask_all(handle, servers, q, options, deadline)
  local last, last_server, last_tcp, failure
  local tries = 2 * #servers
  for i = 1, tries do
    local server = servers[(i - 1) % #servers + 1]
    local now = core.fd.clock()
    if now >= deadline then
      break
    end
    q.edns = true
    local message, why, by_stream = ask(handle, server, q, options, now + (deadline - now) / (tries - i + 1))
    if message then
      last, last_server, last_tcp = message, server, by_stream
      if message.rcode == "NOERROR" or message.rcode == "NXDOMAIN" then
        break
      end
    else
      failure = why
      failure.server = server
    end
  end
  if last then
    return last, last_server, last_tcp
  end
  return nil, failure
end

-- The names to ask for, in their order. resolv.conf(5): ndots, search
local function candidates(name, conf)
  if name:match "%.$" and not name:match "\\%.$" then
    return { name }
  end
  local _, dots = name:gsub("%.", "")
  local out = {}
  for _, domain in ipairs(conf.search) do
    local long = name .. "." .. domain
    out[#out + 1] = dns.encode_name(long) and long or nil -- what is no domain is passed over, as libc does
  end
  table.insert(out, dots >= conf.ndots and 1 or #out + 1, name)
  return out
end

local function question(name, type)
  local bytes, why = dns.encode_name(name)
  if not bytes then
    errors.misuse("%s: %q is no name: %s", CALL, name, why)
  end
  -- as a message would have it
  local message = dns.decode(dns.query(0, bytes, dns.types[type], false))
  return { name = message.questions[1].name, bytes = bytes, number = dns.types[type], type = type }
end

-- An address's name in in-addr.arpa or ip6.arpa.
local function reverse(address)
  local ip = core.inet.bytes(address)
  if not ip then
    return nil
  end
  local parts = {}
  for i = #ip, 1, -1 do
    local byte = ip:byte(i)
    parts[#parts + 1] = #ip == 4 and tostring(byte) or ("%x.%x"):format(byte & 15, byte >> 4)
  end
  return table.concat(parts, ".") .. (#ip == 4 and ".in-addr.arpa." or ".ip6.arpa.")
end

---@class nslua.ResolveOptions
---@field type? string            "A" (the default), "AAAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT", "CAA", "ANY", ...
---@field server? string          an address, in place of the servers of resolv.conf
---@field port? integer           53
---@field timeout? number|string  seconds for all of it, 5
---@field tcp? boolean            at once, not only where an answer is cut off
---@field from? string            an address or a link of the namespace

---@class nslua.ResolveResult
---@field ok boolean          there are answers
---@field answers nslua.DnsRecord[]
---@field addresses string[]  those of the answers
---@field rcode? string       "NOERROR", "NXDOMAIN", "SERVFAIL", ...; nil where no server answered:
---@field error? string       "ETIMEDOUT", "ECONNREFUSED" (then with `icmp` and `from`), "EBADMSG" (with `detail`), "ENOENT": no server is known
---@field name string         that was asked for, of those that `search` makes
---@field server? string      who answered, or failed last
---@field tcp? boolean
---@field elapsed number      seconds
---@field authority? nslua.DnsRecord[]
---@field additional? nslua.DnsRecord[]
---@field authoritative? boolean

---Ask DNS, as a program in this namespace would: the servers and search list are those of /etc/netns/NAME/resolv.conf, else of /etc/resolv.conf.
---That there is no answer is a result, no error. The hosts file is not looked at. A list asks for all at the same time, and gives a list:
---`a:resolve{ "example.org", { "example.org", type = "AAAA" } }`.
---@param name string  "example.org"; with a dot at the end as it is; an address where `type` is "PTR"; or a list of such
---@param options? nslua.ResolveOptions
---@return nslua.ResolveResult
function M:resolve(name, options)
  options = options or {}
  check.argument(CALL, "name", name, "string")
  check.options(CALL, options, { type = "string", server = "string", port = "1-65535", timeout = "number|string", tcp = "boolean", from = "string" })
  namespace.fd_of(self, CALL)
  local type = options.type or "A"
  if not dns.types[type] then
    errors.misuse("%s: %s", CALL, check.unknown("type", type, dns.types))
  end
  local timeout = units.duration(options.timeout or 5, CALL .. ": timeout")
  local conf = etc.resolv(self)
  local servers = options.server and { options.server } or conf.servers
  local plain = type == "PTR" and reverse(name) or name
  local names, silent = candidates(plain, conf), false
  local how = { port = options.port or 53, tcp = options.tcp, from = options.from }
  local start = core.fd.clock()
  local out = { ok = false, answers = {}, addresses = {}, name = names[1] }
  if not servers[1] then
    out.error, out.detail, out.elapsed = "ENOENT", ("no server in %s"):format(conf.path), 0
    return out
  end
  for i, candidate in ipairs(names) do
    local now = core.fd.clock()
    local message, server, by_stream
    if not silent or candidate == plain then
      message, server, by_stream = ask_all(self, servers, question(candidate, type), how, now + (start + timeout - now) / (#names - i + 1))
    end
    if message then
      out = { ok = #message.answers > 0, name = candidate, server = server, tcp = by_stream, rcode = message.rcode, answers = message.answers,
        authority = message.authority, additional = message.additional, authoritative = message.authoritative, addresses = {} }
      if out.ok then
        break
      end
    elseif not out.rcode and not (silent and candidate ~= plain) then
      for k, v in pairs(server or { error = "ETIMEDOUT" }) do
        out[k] = v
      end
      out.name, silent = candidate, true -- who did not answer that does not answer the next; but the name alone is tried, as libc does
    end
  end
  for _, r in ipairs(out.answers) do
    out.addresses[#out.addresses + 1] = r.address
  end
  out.elapsed = core.fd.clock() - start
  return out
end

return M
