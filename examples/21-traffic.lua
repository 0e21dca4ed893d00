-- Traffic through a bottleneck: how much comes through, and what the kernel's TCP does meanwhile; then packets of UDP at a rate.
--
-- Use:    nslua examples/21-traffic.lua [CONGESTION]
-- Prints: goodput and retransmissions, window and round trip as they grow, and loss and jitter of UDP.
-- Needs:  nothing: without root it makes a user namespace.

local lab <close> = ns.lab "left -- r1 --5ms, 10mbit, limit 40-- right"

local r = lab.left:traffic("right", { seconds = 0.5, interval = "100ms", congestion = arg[1] or "reno" })
print(r)
for _, s in ipairs(r.samples) do
  print(("%.1f s  rtt %5.1f ms  cwnd %3d  %5.1f Mbit/s  %d retransmitted"):format(s.at, s.rtt * 1000, s.cwnd, (s.goodput or 0) / 1e6, s.retransmits))
end

for _, rate in ipairs { "2mbit", "20mbit" } do
  local u = lab.left:traffic("right", { proto = "udp", rate = rate, seconds = 0.3 })
  print(("%s of UDP: %s; one way %.0f to %.0f ms"):format(rate, u.loss > 0.2 and "much is lost" or "it fits", u.delay.min * 1000, u.delay.max * 1000))
end

local two = lab:traffic { { "left", "right" }, { "r1", "right" }, seconds = 0.5, interval = 0 }
print(("two at once share %.0f Mbit/s"):format((two[1].goodput + two[2].goodput) / 1e6))
