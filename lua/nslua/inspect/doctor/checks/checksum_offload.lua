-- A program passes on what the kernel left without checksums, since the device was to fill them in.

local programs = require "nslua.inspect.doctor.programs"
local rules = require "nslua.inspect.doctor.rules"
local sockets = require "nslua.inspect.look.passers"

local words = { "Tcp.InCsumErrors", "Udp.InCsumErrors", "Udp6.InCsumErrors" }

-- What a namespace dropped for its checksum, in words; nil where nothing.
local function errors_of(space)
  local out = {}
  for _, name in ipairs(words) do
    local count = space.counters[name]
    out[#out + 1] = count > 0 and ("%s is %d"):format(name, count) or nil
  end
  return out[1] and table.concat(out, ", ")
end

-- Whether a device leaves checksums to whoever takes its packets: a veth does, and its other end takes them as they are. ethtool(8), tx
local function leaves(space, link)
  if link.kind ~= "veth" then
    return false
  end
  local ok, row = pcall(function()
    return space.handle:netlink("ethtool"):features_get { dev = link.index }
  end)
  return ok and row and row.active and (row.active["tx-checksum-ip-generic"] or row.active["tx-checksum-ipv4"]) or false
end

-- The programs that read a device, or the bridge that it is a port of, and other devices of the same namespace: where they send what they read.
local function passers(target, link)
  local far, out = target:far(link), {}
  for _, row in ipairs(far and far.space.passers or {}) do
    if not sockets.told(row) and (row.dev_index == far.link.index or row.dev_index == far.link.master_index) then
      local name, owners = programs.of(far.space, row)
      local devices = {}
      for _, other in ipairs(owners and far.space.passers or {}) do
        local same = target.examination.owners[other.inode]
        if other.dev_index ~= row.dev_index and same and same[1].pid == owners[1].pid then
          devices[#devices + 1] = far.space.link_of[other.dev_index]
        end
      end
      if devices[1] then
        out[#out + 1] = { name = name, row = row, space = far.space, device = far.space.link_of[row.dev_index], to = devices }
      end
    end
  end
  return out
end

return {
  name = "checksum_offload",
  why = "A veth leaves the checksums of TCP and UDP to be filled in by whoever takes its packets to a wire. The kernel knows which these are; a "
    .. "program that reads them from a packet socket and passes them on (switches and routers of emulators, tunnels in user space) does not, unless "
    .. "it asks (PACKET_VNET_HDR). Pings pass, and whoever gets the rest drops it.",
  run = function(target, report)
    for _, link in ipairs(target.links) do
      for _, passer in ipairs(link.name ~= "lo" and passers(target, link) or {}) do
        local senders, seen, evidence = {}, {}, nil
        for _, from in ipairs { { target, link }, { passer.space, passer.to[1] }, { passer.space, passer.to[2] } } do
          for _, each in ipairs(from[2] and from[1]:segment(from[2]) or {}) do
            local ends = each.space ~= passer.space and not seen[each.space.handle.inode .. ":" .. each.link.index]
            seen[each.space.handle.inode .. ":" .. each.link.index] = true
            if ends and each.space:addresses_of(each.link)[1] then
              senders[#senders + 1] = each
              local errors = errors_of(each.space)
              evidence = evidence or errors and ("%s in %s (/proc/net/snmp)"):format(errors, each.space.title)
            end
          end
        end
        for _, each in ipairs(evidence and senders or {}) do
          if leaves(each.space, each.link) then
            report:found { at = each.space, sure = 0.93,
              problem = ("%s passes on what %s of %s sends, without checksums"):format(passer.name, each.link.name, each.space.title),
              evidence = { evidence, ("it reads %s by a packet socket without PACKET_VNET_HDR, and %s too (sock_diag)"):format(passer.device.name,
                passer.to[1].name), ("tx-checksum-ip-generic of %s is on (ethtool)"):format(each.link.name) },
              fix = ("ethtool -K %s tx off"):format(rules.quoted(each.link.name)) }
          end
        end
      end
    end
  end,
}
