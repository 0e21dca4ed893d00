-- Cases of the doctor: programs and their sockets, and what names are asked of.

local function serves(name)
  return function(lab)
    lab.h2:serve(name)
  end
end

local function restart(lab)
  lab.h2.services.http:restart():wait_ready()
end

-- Wait until nothing waits for a program any more.
local function drained(proto)
  return function(lab)
    require("nslua").eventually(function()
      for _, row in ipairs(lab.h2.sockets:list { proto = proto, state = proto == "tcp" and "listen" or nil }) do
        if row.recv_queue > 0 then
          return false
        end
      end
      return true
    end, 20)
  end
end

local function names(lab)
  lab.h2:serve("dns", { resolv_conf = true })
end

-- What the doctor says of a node's file is a line of the script.
local function in_script(lab, finding)
  assert(load(finding.command, "=command", "t", { lab = lab }))()
end

---@type doctor.Case[]
return {
  { check = "not_listening", lab = "h1 -- r1 -- h2", at = "h2", options = { port = 80 }, before = serves "http", by_hand = serves "http" },
  { check = "loopback_only", lab = "h1 -- r1 -- h2", at = "h2", options = { port = 80 }, before = serves "http", nft = true },
  { check = "loopback_only", fault = "v6_only", lab = "h1 -- h2", at = "h2", options = { port = 80 }, before = serves "http", by_hand = restart },
  { check = "not_listening", fault = "wrong_port", lab = "h1 -- r1 -- h2", at = "r1", ask = "h2", before = serves "http", nft = true },
  { check = "accept_queue", lab = "h1 -- h2", at = "h2", before = serves "http", by_hand = drained "tcp" },
  { check = "accept_queue", fault = "small_backlog", lab = "h1 -- h2", at = "h2", before = serves "http", by_hand = restart },
  { check = "syn_queue", lab = "h1 -- h2", at = "h2", before = serves "http", nft = true },
  { check = "port_exhaustion", lab = "h1 -- h2", at = "h2" },
  { check = "socket_drops", lab = "h1 -- h2", at = "h2", before = serves "echo", by_hand = drained "udp" },
  { check = "ping_group_range", lab = "h1 -- h2", at = "h1", options = { checks = { "ping_group_range" } }, before = function(lab)
    lab.h1:sysctl("net.ipv4.ping_group_range", "0 0")
  end, probe = function(ns)
    local lab <close> = ns.lab "a -- b"
    local ok, e = pcall(lab.a.sysctl, lab.a, "net.ipv4.ping_group_range", "1 0")
    return not ok and "a user namespace of one group cannot name another: " .. tostring(e) or nil
  end },
  { check = "dns_config", fault = "dns_empty", lab = "h1 -- r1 -- h2", at = "h1", before = names, by_hand = in_script },
  { check = "dns_config", fault = "dns_stub", lab = "h1 -- r1 -- h2", at = "h1", before = names, by_hand = in_script },
  { check = "dns_config", fault = "dns_no_way", lab = "h1 -- (sw) -- h2", at = "h1", before = names, by_hand = in_script },
  { check = "dns_silent", fault = "dns_no_way", title = "dns_no_way behind a router", lab = "h1 -- r1 -- h2", at = "h1", before = names,
    by_hand = in_script },
  { check = "dns_config", fault = "dns_no_redirect", lab = "h1 -- r1", at = "h1", nft = true },
  { check = "dns_silent", fault = "dns_blocked", lab = "h1 -- r1 -- h2", at = "r1", ask = "h1", before = names, nft = true },
  { check = "dns_silent", fault = "dns_stopped", lab = "h1 -- r1 -- h2", at = "h2", ask = "h1", before = names },
}
