-- A socket as ss(8) writes it.

local safe = require "nslua.command.cli.columns".safe

local M = {}

local states = { established = "ESTAB", listen = "LISTEN", closed = "UNCONN" }
local kinds = { unix = { stream = "u_str", dgram = "u_dgr", seqpacket = "u_seq" }, packet = { dgram = "p_dgr" } }

---@param row nslua.Socket
---@return string  "tcp", "u_str", "p_raw", "nl"
function M.netid(row)
  local family = row.family
  return row.proto or family == "netlink" and "nl" or kinds[family] and kinds[family][row.type] or family == "packet" and "p_raw" or family
end

---@param row nslua.Socket
---@return string  "ESTAB"
function M.state(row)
  local state = row.state
  return state and (states[state] or state:upper()) or "UNCONN"
end

local function port(number)
  return number and number ~= 0 and ("%d"):format(number) or "*"
end

-- An IPv6 socket at :: hears IPv4 too, unless it is told not to: ss writes it "*".
local function address(row, text, dev)
  if row.family == "inet" then
    return dev and text .. "%" .. dev or text
  elseif text == "::" and not row.v6only then
    return "*"
  end
  return "[" .. text .. "]" .. (dev and "%" .. dev or "")
end

---Both ends: address and port each.
---@param row nslua.Socket
---@return string, string, string, string
function M.ends(row)
  local family = row.family
  if family == "inet" or family == "inet6" then
    local dev = row.dev_index and row.dev_index ~= 0 and (row.dev and safe(row.dev) or ("if%d"):format(row.dev_index)) or nil
    return address(row, row.src, dev), port(row.sport), address(row, row.dst), port(row.dport)
  elseif family == "unix" then
    local peer = row.peer
    return safe(row.path or "*"), ("%d"):format(row.inode), "*", peer and ("%d"):format(peer) or "0"
  elseif family == "packet" then
    local protocol = row.protocol
    return protocol == 3 and "*" or safe(tostring(protocol or "*")), row.dev and safe(row.dev) or "*", "*", ""
  end
  return safe(tostring(row.protocol or "*")), row.pid and row.pid ~= 0 and ("%d"):format(row.pid) or "kernel", "*", ""
end

---users:(("nginx",pid=12,fd=3))
---@param owners? nslua.Owner[]
---@return string?
function M.users(owners)
  if not owners then
    return nil
  end
  local out = {}
  for i, owner in ipairs(owners) do
    out[i] = ('("%s",pid=%d,fd=%d)'):format(safe(owner.command), owner.pid, owner.fd)
  end
  return "users:(" .. table.concat(out, ",") .. ")"
end

-- 3min12sec, 1.204sec, 204ms
local function time(seconds)
  local ms = math.floor(seconds * 1000 + 0.5)
  local minutes, rest = ms // 60000, ms % 60000
  local out = minutes > 0 and ("%dmin"):format(minutes) or ""
  if rest >= 1000 then
    local whole, part = rest // 1000, rest % 1000
    return out .. (minutes == 0 and part > 0 and whole < 10 and ("%d.%03d"):format(whole, part):gsub("0+$", "") or ("%d"):format(whole)) .. "sec"
  elseif rest > 0 or minutes == 0 then
    return out .. ("%03dms"):format(rest)
  end
  return out
end

---@param row nslua.Socket
---@return string?
function M.timer(row)
  local t = row.timer
  return t and ("timer:(%s,%s,%d)"):format(t.name, time(t.expires), t.retransmits) or nil
end

---uid, inode and cookie
---@param row nslua.Socket
---@return string
function M.extended(row)
  local out = {}
  local function add(format, value)
    if value and value ~= 0 then
      out[#out + 1] = format:format(value)
    end
  end
  add("uid:%d", row.uid)
  out[#out + 1] = ("ino:%d"):format(row.inode)
  add("sk:%x", row.cookie and math.tointeger(row.cookie))
  add("fwmark:0x%x", row.mark)
  return table.concat(out, " ")
end

---@param row nslua.Socket
---@return string?
function M.memory(row)
  local m = row.memory
  return m and ("skmem:(r%d,rb%d,t%d,tb%d,f%d,w%d,o%d,bl%d,d%d)"):format(m.rmem_alloc or 0, m.rcv_buf or 0, m.wmem_alloc or 0, m.snd_buf or 0,
    m.fwd_alloc or 0, m.wmem_queued or 0, m.opt_mem or 0, m.back_log or 0, m.sock_drop or 0) or nil
end

local function rate(bits)
  return ("%.0fbps"):format(bits)
end

local function ms(seconds)
  return (("%.3f"):format(seconds * 1000):gsub("%.?0+$", ""))
end

---What struct tcp_info tells.
---@param row nslua.Socket
---@return string?
function M.info(row)
  local t = row.tcp_info
  if not t then
    return nil
  end
  local out = { row.congestion }
  local function add(word, value, show)
    if value and value ~= 0 then
      out[#out + 1] = word .. ":" .. (show and show(value) or tostring(math.tointeger(value) or value))
    end
  end
  if t.snd_wscale and (t.snd_wscale > 0 or t.rcv_wscale > 0) then
    out[#out + 1] = ("wscale:%d,%d"):format(t.snd_wscale, t.rcv_wscale)
  end
  add("rto", t.rto, ms)
  if t.rtt and t.rtt > 0 then
    out[#out + 1] = ("rtt:%s/%s"):format(ms(t.rtt), ms(t.rttvar or 0))
  end
  add("ato", t.ato, ms)
  add("mss", t.snd_mss)
  add("pmtu", t.pmtu)
  add("rcvmss", t.rcv_mss)
  add("advmss", t.advmss)
  add("cwnd", t.snd_cwnd)
  if t.snd_ssthresh and t.snd_ssthresh < 0xffff then
    add("ssthresh", t.snd_ssthresh)
  end
  add("bytes_sent", t.bytes_sent)
  add("bytes_retrans", t.bytes_retrans)
  add("bytes_acked", t.bytes_acked)
  add("bytes_received", t.bytes_received)
  add("segs_out", t.segs_out)
  add("segs_in", t.segs_in)
  add("data_segs_out", t.data_segs_out)
  add("data_segs_in", t.data_segs_in)
  add("lastsnd", t.last_data_sent, ms)
  add("lastrcv", t.last_data_recv, ms)
  add("lastack", t.last_ack_recv, ms)
  if t.pacing_rate and t.pacing_rate > 0 then
    out[#out + 1] = "pacing_rate " .. rate(t.pacing_rate)
  end
  if t.delivery_rate and t.delivery_rate > 0 then
    out[#out + 1] = "delivery_rate " .. rate(t.delivery_rate)
  end
  add("delivered", t.delivered)
  add("unacked", t.unacked)
  if t.total_retrans and t.total_retrans > 0 then
    out[#out + 1] = ("retrans:%d/%d"):format(t.retrans or 0, t.total_retrans)
  end
  add("lost", t.lost)
  add("sacked", t.sacked)
  add("rcv_rtt", t.rcv_rtt, ms)
  add("rcv_space", t.rcv_space)
  add("minrtt", t.min_rtt, ms)
  return table.concat(out, " ")
end

return M
