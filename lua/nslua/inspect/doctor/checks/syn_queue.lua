-- Half-open connections fill what there is for them, and nothing helps without cookies.

return {
  name = "syn_queue",
  why = "A connection that was asked for and whose answer has not been confirmed is half open. A flood of such fills the queue, and the kernel drops "
    .. "whoever comes next; with tcp_syncookies it answers without keeping anything.",
  run = function(target, report)
    local counters = target.counters
    local dropped = counters["TcpExt.TCPReqQFullDrop"] + counters["TcpExt.ListenDrops"]
    if dropped == 0 or target:sysctl "net.ipv4.tcp_syncookies" ~= "0" then
      return
    end
    local count = {}
    for _, row in ipairs(target.handle.sockets:list({ proto = "tcp", state = "syn-recv" }, { brief = true })) do
      count[row.sport] = (count[row.sport] or 0) + 1
    end
    -- the last quarter is for those that were here before: tcp_conn_request() in net/ipv4/tcp_input.c
    local most = (tonumber(target:sysctl "net.ipv4.tcp_max_syn_backlog") or 1024) * 3 // 4
    local seen = {}
    for _, row in ipairs(target:listening()) do
      local n, limit = count[row.sport], math.min(most, row.send_queue or most)
      if row.proto == "tcp" and n and n >= limit and not seen[row.sport] then
        seen[row.sport] = true
        report:found { problem = ("the queue of half-open connections of port %d is full"):format(row.sport), sure = 0.93, evidence = {
          ("%d connections are half open, of about %d (sock_diag; net.ipv4.tcp_max_syn_backlog)"):format(n, limit),
          ("TCPReqQFullDrop is %d, ListenDrops %d (/proc/net/netstat)"):format(counters["TcpExt.TCPReqQFullDrop"], counters["TcpExt.ListenDrops"]),
          "net.ipv4.tcp_syncookies is 0 (sysctl)" }, fix = "sysctl -w net.ipv4.tcp_syncookies=1" }
      end
    end
  end,
}
