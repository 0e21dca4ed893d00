-- Connections wait to be accepted, and the queue is full, or nobody will come.

local programs = require "nslua.inspect.doctor.programs"

return {
  name = "accept_queue",
  why = "The kernel opens connections for a program and keeps them until it takes them by accept(). As many wait as listen() was told, but no more "
    .. "than net.core.somaxconn; when they are that many, new ones are dropped, and clients hang until they time out.",
  run = function(target, report)
    for _, row in ipairs(target:listening()) do
      local waiting, most = row.recv_queue or 0, row.send_queue or 0
      local full = row.proto == "tcp" and waiting > most
      if full or row.proto == "tcp" and waiting > 0 and not target.quick then
        local program, owners = programs.of(target, row)
        local seen, fix = programs.stopped(target, owners)
        if full or seen then
          local evidence = { ("connections that wait at %s port %d: %d, of at most %d (sock_diag)"):format(row.src, row.sport, waiting, most), seen }
          local overflows = target.counters["TcpExt.ListenOverflows"]
          if overflows > 0 then
            evidence[#evidence + 1] = ("ListenOverflows is %d, ListenDrops %d (/proc/net/netstat)"):format(overflows,
              target.counters["TcpExt.ListenDrops"])
          end
          local somaxconn = tonumber(target:sysctl "net.core.somaxconn" or "")
          if not seen and somaxconn and most >= somaxconn then
            evidence[#evidence + 1] = ("net.core.somaxconn is %d (sysctl): the program may have asked for more; it has to be started again"):format(
              somaxconn)
            fix = somaxconn < 4096 and "sysctl -w net.core.somaxconn=4096" or nil
          end
          report:found { problem = ("%s takes no connections at port %d"):format(program or "the program", row.sport), evidence = evidence, fix = fix,
            here = seen ~= nil, sure = seen and 0.96 or full and 0.9 }
        end
      end
    end
  end,
}
