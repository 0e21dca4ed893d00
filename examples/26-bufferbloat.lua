-- Bufferbloat and two cures: a TCP stream fills whatever queue stands before a slow link, and who shares it waits behind that. A shorter queue helps,
-- and so does a congestion control that does not fill it (bbr, where the kernel has it).
--
-- Use:    nslua examples/26-bufferbloat.lua [REPEATS [SECONDS [FILE.svg]]]
-- Prints: the round trip under load and the goodput for each length of the queue, in packets; with a file, a chart into that.
-- Needs:  nothing but user namespaces, or root; REPEATS x SECONDS x 5 seconds on two processors (defaults 3 and 6).

local repeats, seconds, chart = tonumber(arg[1] or 3), tonumber(arg[2] or 6), arg[3]

local controls = { "cubic" }
for word in ns.netns.current():read "/proc/sys/net/ipv4/tcp_available_congestion_control":gmatch "%S+" do
  controls[#controls + 1] = word == "bbr" and word or nil
end

local r = ns.sweep {
  lab = "h1 --5ms, 10mbit, limit $queue-- h2",
  over = { { "congestion", controls }, { "queue", { 10, 30, 100, 300, 1000 } } },
  repeats = math.tointeger(repeats),
  run = function(lab, point)
    local load <close> = ns.fork(function()
      return lab.h1:traffic("h2", { seconds = seconds, congestion = point.congestion }).goodput
    end)
    local ping = lab.h1:ping("h2", { count = math.floor(seconds * 10), interval = 0.1, timeout = 5 })
    return { ["ping under load"] = ping.rtt and ping.rtt.median, goodput = load:result() }
  end,
}
io.write(r:table())

if chart then
  local f <close> = assert(io.open(chart, "w"))
  f:write(r:svg { x = "queue", scale = "even", units = { ["ping under load"] = "s", goodput = "bit/s" },
    title = "A stream and a ping over 10 Mbit/s" })
end
