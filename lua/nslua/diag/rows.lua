-- How sockets read: the words of ss(8), seconds and bits per second in place of what the kernel counts in.

local core = require "nslua.core"
local book = require "nslua.diag.schema"
local schema = require "nslua.schema"
local verbs = require "nslua.rtnl.verbs"

local M = {}

local raw = schema.raw
local inet_text = core.inet.text

-- A cookie is two words, the low one first on every machine.
local function number(words)
  return words[1] + words[2] * 4294967296
end

local timers = { "on", "keepalive", "timewait", "persist", "delack" }

local MICRO = { "rto", "ato", "rtt", "rttvar", "rcv_rtt", "min_rtt", "busy_time", "rwnd_limited", "sndbuf_limited" }
local MILLI = { "last_data_sent", "last_ack_sent", "last_data_recv", "last_ack_recv", "total_rto_time" }
local RATES = { "pacing_rate", "max_pacing_rate", "delivery_rate" }

---struct tcp_info, as sock_diag and getsockopt(2) tell it: times in seconds, rates in bits per second, bit fields as what they are.
---@param bytes string
---@return table<string, any>
local function tcp_info(bytes)
  local t = book:compile "tcp_info":decode(bytes)
  t["#tail"], t["#size"] = nil, nil
  for factor, list in pairs { [1e6] = MICRO, [1e3] = MILLI } do
    for _, key in ipairs(list) do
      t[key] = t[key] and t[key] / factor
    end
  end
  for _, key in ipairs(RATES) do
    local rate = t[key] and tonumber(t[key])
    t[key] = rate and rate >= 0 and rate < 2 ^ 60 and rate * 8 or nil -- all bits: no limit
  end
  if t.wscale then
    t.snd_wscale, t.rcv_wscale = t.wscale % 16, (t.wscale - t.wscale % 16) / 16
  end
  if t.bits then
    t.app_limited, t.fastopen_client_fail = t.bits % 2 == 1, (t.bits % 8 - t.bits % 2) / 2
  end
  t.wscale, t.bits = nil, nil
  return t
end
M.tcp_info = tcp_info

local function memory(row)
  local t = raw(row, "memory")
  if t then
    t["#tail"], t["#size"] = nil, nil
  end
  return t
end

local function shutdown(row)
  local bits = raw(row, "shutdown_bits")
  return bits and next(bits) and bits or nil
end

local function cookie(row)
  return number(row.cookie_words)
end

local function address(key)
  return function(row)
    local bytes = row.id[key]
    return inet_text(row.family == "inet" and bytes:sub(1, 4) or bytes)
  end
end

local function of_id(key)
  return function(row)
    return row.id[key]
  end
end

local function bandwidth(row)
  local t = raw(row, "bbr")
  if t then
    return { bw = (t.bw_lo + t.bw_hi * 4294967296) * 8, min_rtt = t.min_rtt / 1e6, pacing_gain = t.pacing_gain / 256, cwnd_gain = t.cwnd_gain / 256 }
  end
end

local function same(a, b)
  return a.family == b.family and a.inode == b.inode and a.cookie == b.cookie and schema.rowset(a).handle == schema.rowset(b).handle
end

---@class nslua.Socket  a row of `a.sockets`
---@field family "inet"|"inet6"|"unix"|"packet"|"netlink"
---@field proto? string     inet, inet6: "tcp", "udp", "raw", "sctp", "mptcp"
---@field state? string     "listen", "established", "time-wait", ... as ss(8) has them; "closed" is what it calls UNCONN
---@field src? string       address; `sport`, `dst`, `dport` likewise
---@field dev? string       the link it is bound to; `dev_index`
---@field inode integer     as in /proc/PID/fd; 0 where no file is left
---@field uid? integer
---@field cookie integer    the kernel's number of this socket, never used again
---@field recv_queue? integer  bytes not read yet; of one that listens: connections waiting
---@field send_queue? integer  bytes not acknowledged; of one that listens: how many may wait
---@field timer? { name: string, expires: number, retransmits: integer }  seconds; "on", "keepalive", "timewait", "persist"
---@field congestion? string   "cubic"; and what vegas, dctcp and bbr know in tables of their name
---@field tcp_info? table   struct tcp_info as far as this kernel tells it: times in seconds, rates in bits per second, sizes in bytes
---@field memory? table     rmem_alloc rcv_buf wmem_alloc snd_buf fwd_alloc wmem_queued opt_mem back_log sock_drop, in bytes
---@field mark? integer     only those with CAP_NET_ADMIN are told
---@field type? string      unix, packet, netlink: "stream", "dgram", "seqpacket", "raw"
---@field path? string      unix: its name; one in the abstract namespace begins with "@"
---@field peer? integer     unix: inode of the other end
---@field pending? integer[]  unix: inodes of what waits for accept(2)
---@field protocol? string|integer  netlink: "route", "generic", ...; packet: its ethertype
---@field pid? integer      netlink: the port, which for a program's first socket is its pid; `groups` lists the groups it joined

M.inet = schema.class {
  name = "sockets",
  hidden = { "id", "retrans", "expires", "info", "shutdown_bits", "meminfo", "protocol", "sockopt" },
  computed = {
    src = address "src", dst = address "dst", sport = of_id "sport", dport = of_id "dport", dev_index = of_id "dev_index",
    proto = function(_, set)
      return set.proto
    end,
    dev = function(row, set)
      return verbs.link_name(set.shared, row.dev_index)
    end,
    cookie = function(row)
      return number(row.id.cookie)
    end,
    state = function(row)
      local state = raw(row, "state")
      return state == "new-syn-recv" and "syn-recv" or state
    end,
    timer = function(row)
      local name = timers[raw(row, "timer")]
      return name and { name = name, expires = row.expires / 1000, retransmits = row.retrans } or nil
    end,
    tcp_info = function(row, set)
      return set.proto == "tcp" and row.info and tcp_info(row.info) or nil
    end,
    v6only = function(row)
      local value = raw(row, "v6only")
      return value and value ~= 0
    end,
    memory = memory, shutdown = shutdown, bbr = bandwidth,
  },
  same = same,
}

M.unix = schema.class {
  name = "sockets",
  hidden = { "cookie_words", "queues", "name", "shutdown_bits" },
  computed = {
    path = function(row)
      local name = row.name
      if name and name ~= "" then
        return name:sub(1, 1) == "\0" and "@" .. name:sub(2) or (name:gsub("%z.*$", ""))
      end
    end,
    recv_queue = function(row)
      return row.queues and row.queues.recv
    end,
    send_queue = function(row)
      return row.queues and row.queues.send
    end,
    cookie = cookie, memory = memory, shutdown = shutdown,
  },
  same = same,
}

M.packet = schema.class {
  name = "sockets",
  hidden = { "cookie_words", "info", "mclist" },
  computed = {
    dev_index = function(row)
      return row.info and row.info.index
    end,
    dev = function(row, set)
      return verbs.link_name(set.shared, row.dev_index)
    end,
    flags = function(row)
      return row.info and row.info.flags
    end,
    version = function(row)
      return row.info and row.info.version + 1
    end,
    recv_queue = function(row)
      return row.memory and row.memory.rmem_alloc
    end,
    cookie = cookie, memory = memory,
  },
  same = same,
}

M.netlink = schema.class {
  name = "sockets",
  hidden = { "cookie_words", "group_bits", "rx_ring", "tx_ring", "state_number" },
  computed = {
    groups = function(row)
      local out, bits = {}, row.group_bits or ""
      for i = 1, #bits do
        local byte = bits:byte(i)
        for bit = 0, 7 do
          if byte % 2 == 1 then
            out[#out + 1] = (i - 1) * 8 + bit + 1
          end
          byte = (byte - byte % 2) / 2
        end
      end
      return out
    end,
    recv_queue = function(row)
      return row.memory and row.memory.rmem_alloc
    end,
    cookie = cookie, memory = memory,
  },
  same = same,
}

return M
