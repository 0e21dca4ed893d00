-- Raw sockets of kernels whose sock_diag does not know them (no CONFIG_INET_RAW_DIAG): the lines of /proc/net/raw. proc_pid_net(5)

local core = require "nslua.core"

local M = {}

local names = { [1] = "established", [7] = "closed" }

-- Words of four bytes, each as this machine writes a number.
local function address(hex)
  return core.inet.text((hex:gsub("%x%x%x%x%x%x%x%x", function(word)
    return string.pack("=I4", tonumber(word, 16))
  end)))
end

local function decode(row)
  local out = {}
  for key, value in pairs(row) do
    out[key] = key ~= "decode" and value or nil
  end
  return out
end

---@param handle nslua.Netns
---@param families string[]  "inet", "inet6"
---@return table[] rows  like those of sock_diag, without what the file does not say
function M.list(handle, families)
  local out = {}
  for _, family in ipairs(families) do
    local ok, text = pcall(handle.read, handle, family == "inet" and "/proc/net/raw" or "/proc/net/raw6")
    -- sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode ref pointer drops
    for src, sport, dst, dport, st, tx, rx, uid, inode in (ok and text or ""):gmatch
      "%d+: (%x+):(%x+) (%x+):(%x+) (%x+) (%x+):(%x+) %x+:%x+ %x+ +(%d+) +%d+ (%d+)" do
      local function hex(word)
        return tonumber(word, 16)
      end
      out[#out + 1] = { family = family, proto = "raw", state = names[hex(st)] or "closed", src = address(src), sport = hex(sport),
        dst = address(dst), dport = hex(dport), send_queue = hex(tx), recv_queue = hex(rx),
        uid = math.tointeger(tonumber(uid)), inode = math.tointeger(tonumber(inode)), decode = decode }
    end
  end
  return out
end

return M
