-- What leaves by a device goes to another one instead, and what comes in by that goes out by the first: rules of nf_tables at the egress of the one
-- and the ingress of the other. The kernel takes a table away with the socket that owns it, however its process ends. linux/netfilter/nf_tables.h

local core = require "nslua.core"
local errors = require "nslua.error"

local M = {}

local AF_NETLINK, SOCK_RAW, NETFILTER = 16, 3, 12
local NETDEV = 5 -- NFPROTO_NETDEV
local NEW_TABLE, NEW_CHAIN, NEW_RULE, BEGIN, END = 0xa00, 0xa03, 0xa06, 0x10, 0x11
local REQUEST, ACK, CREATE, EXCL, APPEND = 0x1, 0x4, 0x400, 0x200, 0x800
local ERROR = 2
local INGRESS, EGRESS = 0, 1
local MARK = 0x6e736c75 -- of what has been seen

local function attribute(kind, data)
  return string.pack("=I2I2", #data + 4, kind) .. data .. ("\0"):rep(-#data % 4)
end

local function nest(kind, ...)
  return attribute(kind | 0x8000, table.concat { ... })
end

local function be32(kind, n)
  return attribute(kind, string.pack(">I4", n))
end

local function text(kind, s)
  return attribute(kind, s .. "\0")
end

local function message(kind, flags, ...)
  local general = kind < 0x20 -- of the batch itself
  local body = string.pack("=I1I1>I2", general and 0 or NETDEV, 0, general and 10 or 0) .. table.concat { ... }
  return string.pack("=I4I2I2I4I4", #body + 16, kind, REQUEST | flags, kind, 0) .. body
end

local function expression(name, ...)
  return nest(1, text(1, name), nest(2, ...))
end

local mark = string.pack("=I4", MARK)
local load_mark = expression("meta", be32(2, 3), be32(1, 1))
local is_mark = expression("cmp", be32(1, 1), be32(2, 0), nest(3, attribute(1, mark)))
local accept = expression("immediate", be32(1, 0), nest(2, nest(2, be32(1, 1))))
local put_mark = expression("immediate", be32(1, 1), nest(2, attribute(1, mark)))
local set_mark = expression("meta", be32(2, 3), be32(3, 1))

local function forward(index)
  return expression("immediate", be32(1, 1), nest(2, attribute(1, string.pack("=I4", index)))) .. expression("fwd", be32(1, 1))
end

local function chain(name, hook, dev)
  return message(NEW_CHAIN, ACK | CREATE | EXCL, text(1, name), text(3, "each"), nest(4, be32(1, hook), be32(2, 0), text(3, dev)), be32(5, 1),
    text(7, "filter"))
end

local function rule(name, ...)
  return message(NEW_RULE, ACK | CREATE | APPEND, text(1, name), text(2, "each"), nest(4, ...))
end

local old = "packets are handed over by nf_tables at the egress of a device: Linux 5.16 with CONFIG_NETFILTER_EGRESS and CONFIG_NFT_FWD_NETDEV"

-- One table with one chain and its rules; the socket it ends with.
local function install(handle, name, hook, dev, rules)
  local call = "link.each_packet"
  local where = { netns = handle:describe(), hint = old }
  local fd = handle:raw_socket(AF_NETLINK, SOCK_RAW, NETFILTER)
  local parts = { message(BEGIN, 0), message(NEW_TABLE, ACK | CREATE | EXCL, text(1, name), be32(2, 2)), chain(name, hook, dev) }
  for _, each in ipairs(rules) do
    parts[#parts + 1] = rule(name, each)
  end
  parts[#parts + 1] = message(END, 0)
  local ok, err = pcall(function()
    errors.check(call, where, fd:write(table.concat(parts)))
    local acks = 0
    while acks < 2 + #rules do
      errors.check(call, where, core.fd.poll({ { fd, "r" } }, 10) or nil, "nf_tables does not answer", core.errno.ETIMEDOUT)
      local answer, reason, errno = fd:read()
      errors.check(call, where, answer, reason, errno)
      local at = 1
      while at + 19 <= #answer do
        local length, kind, _, _, _, code = string.unpack("=I4I2I2I4I4i4", answer, at)
        if kind == ERROR and code ~= 0 then
          errors.check(call, where, nil, "nf_tables", -code)
        end
        acks = acks + (kind == ERROR and 1 or 0)
        at = at + (length + 3) // 4 * 4
      end
    end
  end)
  if not ok then
    fd:close()
    error(err, 0)
  end
  return fd
end

---What comes in by `from` goes out by `dev`, and is known there from now on.
---@param handle nslua.Netns
---@param from string
---@param dev string
---@return nslua.fd  that keeps it so
function M.back(handle, from, dev)
  return install(handle, "nslua back " .. dev, INGRESS, from, { put_mark .. set_mark, forward(handle.link:get(dev).index) })
end

---What leaves by `dev` goes to `to` instead, but for what comes from there.
---@param handle nslua.Netns
---@param dev string
---@param to string
---@return nslua.fd  that keeps it so
function M.away(handle, dev, to)
  return install(handle, "nslua away " .. dev, EGRESS, dev, { load_mark .. is_mark .. accept, forward(handle.link:get(to).index) })
end

return M
