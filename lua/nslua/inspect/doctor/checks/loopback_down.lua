-- The loopback interface is down: nothing reaches 127.0.0.1, and programs that talk to themselves hang.

return {
  name = "loopback_down",
  why = "A new network namespace has its loopback down. Until it is up nothing reaches 127.0.0.1 or ::1, nor an address of the namespace "
    .. "from inside.",
  run = function(target, report)
    local lo = target.link_of.lo
    -- one that only passes frames on has nothing that would talk to itself
    local used = lo and not lo.up and target.sockets[1] ~= nil
    for _, row in ipairs(lo and not lo.up and target.addresses or {}) do
      used = used or row.scope ~= "link" and row.scope ~= "host"
    end
    if used then
      report:found { problem = "lo is down", sure = 0.95, evidence = "the flag UP of lo is missing (rtnetlink link)", fix = "ip link set dev lo up" }
    end
  end,
}
