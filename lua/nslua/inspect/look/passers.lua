-- Packet sockets of programs that may pass on what comes by a device: switches and routers in user space, wires. packet(7)

local M = {}

---Those of a namespace that take all that comes by one device each. Those who capture have a ring to receive alone, or a filter.
---@param handle nslua.Netns
---@return nslua.Socket[]
function M.of(handle)
  local out = {}
  for _, row in ipairs(handle.sockets:list { family = "packet" }) do
    local all = row.protocol == "all" or row.protocol == 3 -- ETH_P_ALL
    if row.type == "raw" and all and row.dev_index ~= 0 and not row.filter and (row.tx_ring or not row.rx_ring) then
      out[#out + 1] = row
    end
  end
  return out
end

---Whether the program of such a socket learns what the kernel left to do: checksums to be filled in.
---@param row nslua.Socket
---@return boolean
function M.told(row)
  return row.flags and row.flags.vnethdr or false
end

return M
