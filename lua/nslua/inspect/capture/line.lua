-- A captured packet as a line of text, as tcpdump(8) prints it: when, where, which way, who to whom, what. And as a plain table, for JSON.

local M = {}

-- What a terminal must not see, as \x1b; names and labels are other people's text.
local function safe(text)
  return (tostring(text):gsub("[%c\127-\255]", function(c)
    return ("\\x%02x"):format(c:byte())
  end))
end

local function ports(p, ip)
  local t = p.tcp or p.udp
  local six = p.ip6 ~= nil
  if t and t.sport then
    return ("%s.%d > %s.%d"):format(ip.src, t.sport, ip.dst, t.dport)
  end
  return ("%s > %s"):format(ip.src, ip.dst), six
end

-- What each protocol says of itself, the innermost that is known.
local say = {}

function say.arp(a)
  if a.op == "request" then
    return ("ARP, who has %s? tell %s"):format(a.target_ip or "?", a.sender_ip or "?")
  elseif a.op == "reply" then
    return ("ARP, %s is at %s"):format(a.sender_ip or "?", a.sender or "?")
  end
  return ("ARP, %s"):format(tostring(a.op))
end

function say.dns(d)
  local q = d.name and ("%s %s"):format(d.type or "?", safe(d.name)) or ""
  return (d.response and "DNS answer %s%s" or "DNS question %s"):format(q, d.response and (" " .. tostring(d.rcode)) or "")
end

function say.tcp(t)
  local out = { ("TCP [%s]"):format(t.flags == "" and "none" or t.flags), ("seq %d"):format(t.seq) }
  if t.flags:find "A" then
    out[#out + 1] = ("ack %d"):format(t.ack)
  end
  out[#out + 1] = ("win %d"):format(t.window)
  if t.payload_length then
    out[#out + 1] = ("length %d"):format(t.payload_length)
  end
  return table.concat(out, ", ")
end

function say.udp(u)
  return u.length and ("UDP, length %d"):format(u.length - 8) or "UDP"
end

local function icmp(name)
  return function(i)
    local out = ("%s %s"):format(name, tostring(i.name or i.type))
    if i.id then
      out = ("%s, id %d, seq %d"):format(out, i.id, i.seq)
    end
    return out
  end
end
say.icmp, say.icmp6 = icmp "ICMP", icmp "ICMP6"

---The protocols: "10.0.0.1.80 > 10.0.0.2.4711: TCP [SA], ..."
---@param p nslua.capture.Packet
---@return string
function M.summary(p)
  local ip = p.ip or p.ip6
  local out
  for _, name in ipairs { "dns", "tcp", "udp", "icmp", "icmp6", "arp" } do
    if p[name] then
      out = say[name](p[name])
      break
    end
  end
  if ip then
    local who = ports(p, ip)
    return ("%s %s: %s"):format(p.ip6 and "IP6" or "IP", who, out or ("protocol %s"):format(tostring(ip.protocol)))
  elseif out then
    return out
  end
  local eth = p.eth
  return eth and ("%s > %s, type %s"):format(eth.src, eth.dst, type(eth.type) == "number" and ("0x%04x"):format(eth.type) or tostring(eth.type))
    or "unknown"
end

local ways = { ["in"] = "<", out = ">" }

---@param p nslua.capture.Packet
---@return string
function M.of(p)
  local seconds = p.nanoseconds // 1000000000
  local vlan = p.vlan and p.vlan.id and ("vlan %d, "):format(p.vlan.id) or ""
  local comment = p.comments and "  # " .. safe(table.concat(p.comments, " ")) or ""
  return ("%s.%06d %s %s %s%s, %d bytes%s"):format(os.date("%H:%M:%S", seconds), p.nanoseconds % 1000000000 // 1000, safe(p.interface),
    ways[p.direction] or "-", vlan, M.summary(p), p.length, comment)
end

---@param p nslua.capture.Packet
---@return table
function M.value(p)
  local out = { time = p.time, nanoseconds = p.nanoseconds, interface = p.interface, netns = p.netns or nil, dev = p.dev,
    direction = p.direction or nil, length = p.length, captured = #p.bytes, comments = p.comments or nil, summary = M.summary(p) }
  for _, name in ipairs { "eth", "vlan", "arp", "ip", "ip6", "icmp", "icmp6", "tcp", "udp", "dns" } do
    local header = p[name]
    if header then
      out[name] = {}
      for key, value in pairs(header) do
        if type(key) == "string" and (type(value) == "number" or type(value) == "boolean" or type(value) == "string" and utf8.len(value)) then
          out[name][key] = value
        end
      end
    end
  end
  return out
end

return M
