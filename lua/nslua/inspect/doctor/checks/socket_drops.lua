-- Datagrams come faster than their program reads them.

local programs = require "nslua.inspect.doctor.programs"

return {
  name = "socket_drops",
  why = "What comes by UDP waits in the buffer of its socket; when that is full, the kernel drops what comes, and nobody is told. The program is "
    .. "stopped, too slow, or needs a larger buffer (SO_RCVBUF, up to net.core.rmem_max).",
  run = function(target, report)
    local counters = target.counters
    local dropped = counters["Udp.RcvbufErrors"] + counters["Udp6.RcvbufErrors"]
    if dropped == 0 then
      return
    end
    for _, row in ipairs(target.handle.sockets:list { proto = "udp" }) do
      local memory = row.memory
      if memory and (memory.sock_drop or 0) > 0 and memory.rmem_alloc * 2 >= memory.rcv_buf then
        local program, owners = programs.of(target, row)
        local seen, fix = programs.stopped(target, owners)
        report:found { problem = ("%s loses what comes to UDP port %d"):format(program or "a program", row.sport), sure = seen and 0.96 or 0.85,
          here = seen ~= nil, fix = fix, evidence = {
            ("%d datagrams were dropped, %d of %d bytes of its buffer are taken (sock_diag)"):format(memory.sock_drop, memory.rmem_alloc,
              memory.rcv_buf), ("RcvbufErrors is %d (/proc/net/snmp)"):format(dropped), seen } }
      end
    end
  end,
}
