-- What ICMP says of a packet that did not arrive. RFC 792, RFC 1812 (5.2.7), RFC 4443; linux/icmp.h, linux/icmpv6.h.

local core = require "nslua.core"

local M = {}

local words = {
  inet = {
    [3] = { [0] = "net_unreachable", "host_unreachable", "protocol_unreachable", "port_unreachable", "fragmentation_needed", "source_route_failed",
      "net_unknown", "host_unknown", "host_isolated", "net_prohibited", "host_prohibited", "tos_net_unreachable", "tos_host_unreachable",
      "admin_prohibited", "precedence_violation", "precedence_cutoff" },
    [4] = { [0] = "source_quench" },
    [11] = { [0] = "time_exceeded", "reassembly_timeout" },
    [12] = { [0] = "parameter_problem" },
  },
  inet6 = {
    [1] = { [0] = "no_route", "admin_prohibited", "beyond_scope", "host_unreachable", "port_unreachable", "policy_failed", "reject_route" },
    [2] = { [0] = "packet_too_big" },
    [3] = { [0] = "time_exceeded", "reassembly_timeout" },
    [4] = { [0] = "parameter_problem", "unknown_header", "unknown_option" },
  },
}

---A word for an ICMP error; "type_9_code_1" where none is known.
---@param family "inet"|"inet6"
---@param type integer
---@param code integer
---@return string
function M.word(family, type, code)
  local codes = words[family][type]
  return codes and codes[code] or ("type_%d_code_%d"):format(type, code)
end

---@class nslua.ProbeError
---@field error string     "EHOSTUNREACH": what a program would have seen
---@field icmp? string     "host_unreachable": what was said; nil where it is of this host's own (no route, a firewall, too large)
---@field type? integer    of ICMP
---@field code? integer
---@field from? string     who said it
---@field mtu? integer     of "EMSGSIZE": what would fit

---@param errno integer
---@return string
function M.errno(errno)
  return core.errno[errno] or ("errno %d"):format(errno)
end

---The error object of what packet.receive read from an error queue.
---@param family "inet"|"inet6"
---@param error { errno: integer, origin: string, type: integer, code: integer, info: integer, from: string? }
---@return nslua.ProbeError
function M.error(family, error)
  local said = error.origin == "icmp" or error.origin == "icmp6"
  return {
    error = M.errno(error.errno),
    icmp = said and M.word(error.origin == "icmp" and "inet" or family, error.type, error.code) or nil,
    type = said and error.type or nil,
    code = said and error.code or nil,
    from = error.from and core.inet.text(error.from),
    mtu = error.errno == core.errno.EMSGSIZE and error.info > 0 and error.info or nil,
  }
end

return M
