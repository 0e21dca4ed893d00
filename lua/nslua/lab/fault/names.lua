-- Faults of names: files that name the wrong server, servers that do not answer, rules that keep questions from them.

local errors = require "nslua.error"
local firewall = require "nslua.lab.firewall"
local programs = require "nslua.lab.fault.programs"
local ways = require "nslua.lab.fault.ways"

-- Name other servers in its file.
local function named(text)
  return function(node)
    local old = node:etc_file "resolv.conf"
    node:set_resolv_conf(text)
    return function()
      node:set_resolv_conf(old)
    end
  end
end

---@type table<string, nslua.lab.fault.Known>
return {
  dns_empty = { why = "no name server is named", run = named "" },
  dns_stub = { why = "the file names 127.0.0.53, as that of a machine with systemd-resolved does", run = named "nameserver 127.0.0.53\n" },
  dns_no_way = { why = "no route leads to the name server", run = named "nameserver 192.0.2.53\n" },
  dns_no_redirect = { why = "the rules that lead to docker's name server at 127.0.0.11 are gone", run = function(node)
    local old = node:etc_file "resolv.conf"
    local service = node:serve("dns", { address = "127.0.0.11", port = 33053 })
    node:set_resolv_conf "nameserver 127.0.0.11\n"
    return function()
      service:close()
      node:set_resolv_conf(old)
      firewall.load(node, "lab.fault", "table ip nslua_dns\ndelete table ip nslua_dns\n") -- what mends it
    end
  end },
  dns_blocked = { why = "a rule drops what is asked of name servers", run = function(node)
    return ways.load(node, "table inet nslua_dns_blocked", [[
  chain output { type filter hook output priority filter; udp dport 53 drop; tcp dport 53 drop; }
  chain forward { type filter hook forward priority filter; udp dport 53 drop; tcp dport 53 drop; }
]])
  end },
  dns_stopped = { why = "the name server is stopped", run = function(node)
    local name, service = programs.served(node)
    if name ~= "dns" then
      errors.misuse('lab.fault: %s serves no names: node:serve("dns") first', node.node_name)
    end
    return programs.stop(service)
  end },
}
