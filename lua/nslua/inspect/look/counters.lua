-- What a namespace counts: /proc/net/snmp, netstat, snmp6, stat/nf_conntrack, and its links.

local M = {}

-- Numbers that are no counters.
local gauges = { ["Ip.Forwarding"] = true, ["Ip.DefaultTTL"] = true, ["Tcp.RtoAlgorithm"] = true, ["Tcp.RtoMin"] = true, ["Tcp.RtoMax"] = true,
  ["Tcp.MaxConn"] = true, ["Tcp.CurrEstab"] = true, ["conntrack.entries"] = true }

-- Those that tell of trouble.
local trouble = {}
for word in ([[Ip.InAddrErrors Ip.InHdrErrors Ip.InDiscards Ip.OutDiscards Ip.OutNoRoutes Ip.FragFails Ip.ReasmFails Udp.NoPorts Udp.RcvbufErrors
  Udp.SndbufErrors Udp.InCsumErrors Udp.InErrors Tcp.RetransSegs Tcp.InCsumErrors Tcp.InErrs Tcp.AttemptFails TcpExt.ListenOverflows
  TcpExt.ListenDrops TcpExt.TCPTimeouts TcpExt.IPReversePathFilter TcpExt.TCPBacklogDrop TcpExt.TCPReqQFullDrop TcpExt.TCPMTUPFail
  TcpExt.TCPAbortOnMemory TcpExt.TCPRcvQDrop TcpExt.TCPTimeWaitOverflow TcpExt.TCPRetransFail Ip6.InAddrErrors Ip6.InNoRoutes Ip6.OutNoRoutes
  Ip6.InDiscards Ip6.OutDiscards Ip6.FragFails Udp6.NoPorts Udp6.RcvbufErrors conntrack.drop conntrack.early_drop conntrack.insert_failed
  conntrack.invalid]]):gmatch "%S+" do
  trouble[word] = true
end

---Whether a counter that grows tells of trouble: lost, refused, sent again.
---@param name string
---@return boolean
function M.is_trouble(name)
  return trouble[name] or name:find "^link%..*%.[rt]x_dropped$" ~= nil or name:find "^link%..*%.[rt]x_errors$" ~= nil
end

local function text_of(handle, path)
  local ok, text = pcall(handle.read, handle, path)
  return ok and text or "" -- a kernel without it
end

-- A line of names, and one of values.
local function pairs_of_lines(out, text)
  local names
  for line in text:gmatch "[^\n]+" do
    local word, rest = line:match "^(%S+):(.*)$"
    if names and names[1] == word then
      local i = 1
      for value in rest:gmatch "%S+" do
        i = i + 1
        local name = names[i] and word .. "." .. names[i]
        out[name or ""] = name and math.tointeger(tonumber(value)) or nil
      end
      names = nil
    elseif word then
      names = { word }
      for name in rest:gmatch "%S+" do
        names[#names + 1] = name
      end
    end
  end
end

---What its protocols count and say at this moment.
---@param handle nslua.Netns
---@return table<string, integer>  "Tcp.RetransSegs", "TcpExt.ListenDrops", "Ip6.InReceives"
function M.protocols(handle)
  local out = {}
  pairs_of_lines(out, text_of(handle, "/proc/net/snmp"))
  pairs_of_lines(out, text_of(handle, "/proc/net/netstat"))
  for family, name, value in text_of(handle, "/proc/net/snmp6"):gmatch "(%a+6)(%S+)%s+(%d+)" do
    out[family .. "." .. name] = math.tointeger(tonumber(value))
  end
  return out
end

---All counters at this moment.
---@param handle nslua.Netns
---@return table<string, integer>  those of `protocols`, "conntrack.drop", "link.eth0.rx_bytes"
function M.counters(handle)
  local out = M.protocols(handle)
  local names = {}
  for line in text_of(handle, "/proc/net/stat/nf_conntrack"):gmatch "[^\n]+" do -- a line for each CPU
    local i = 0
    for word in line:gmatch "%S+" do
      i = i + 1
      local name = names[i] and "conntrack." .. names[i]
      if name then
        out[name] = (out[name] or 0) + (tonumber(word, 16) or 0)
      end
    end
    if not names[1] then
      for word in line:gmatch "%S+" do
        names[#names + 1] = word
      end
    end
  end
  for _, row in ipairs(handle.link:list()) do
    local s = row.stats or {}
    for _, key in ipairs { "rx_bytes", "tx_bytes", "rx_packets", "tx_packets", "rx_dropped", "tx_dropped", "rx_errors", "tx_errors" } do
      out[("link.%s.%s"):format(row.name, key)] = s[key]
    end
  end
  for name in pairs(gauges) do
    out[name] = nil
  end
  return out
end

---The counters of trouble that are not zero.
---@param counters table<string, integer>
---@return { name: string, value: integer }[]  by name
function M.troubles(counters)
  local out = {}
  for name, value in pairs(counters) do
    if value > 0 and M.is_trouble(name) then
      out[#out + 1] = { name = name, value = value }
    end
  end
  table.sort(out, function(a, b)
    return a.name < b.name
  end)
  return out
end

---@class nslua.Growth
---@field name string
---@field value integer     at the second look
---@field growth integer    since the first
---@field rate number       per second
---@field trouble boolean   it counts what is lost, refused or sent again

---What has grown between two looks.
---@param before table<string, integer>
---@param after table<string, integer>
---@param seconds number
---@return nslua.Growth[]  by name, those of trouble first
function M.grown(before, after, seconds)
  local out = {}
  for name, value in pairs(after) do
    local growth = value - (before[name] or value)
    if growth > 0 then
      out[#out + 1] = { name = name, value = value, growth = growth, rate = growth / math.max(seconds, 1e-9), trouble = M.is_trouble(name) }
    end
  end
  table.sort(out, function(a, b)
    if a.trouble ~= b.trouble then
      return a.trouble
    end
    return a.name < b.name
  end)
  return out
end

return M
