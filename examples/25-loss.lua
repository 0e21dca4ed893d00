-- How much of 50 Mbit/s a TCP stream gets where packets are lost, with two congestion controls of the kernel: medians of several runs, each in a new
-- network.
--
-- Use:    nslua examples/25-loss.lua [REPEATS [SECONDS [FILE.svg]]]
-- Prints: a table of medians and quarters; with a file, a chart into that.
-- Needs:  nothing but user namespaces, or root; REPEATS x SECONDS x 6 seconds on two processors (defaults 5 and 2).

local repeats, seconds, chart = tonumber(arg[1] or 5), tonumber(arg[2] or 2), arg[3]

local r = ns.sweep {
  lab = "h1 --10ms, 50mbit, >loss $loss-- h2", -- what is lost are data, not acknowledgements
  over = { { "congestion", { "reno", "cubic" } }, { "loss", { "0%", "0.1%", "0.5%", "1%", "2%", "5%" } } },
  repeats = math.tointeger(repeats),
  run = function(lab, point)
    local t = lab.h1:traffic("h2", { seconds = seconds, congestion = point.congestion })
    return { goodput = t.goodput, retransmits = t.retransmits }
  end,
}
io.write(r:table())

if chart then
  local f <close> = assert(io.open(chart, "w"))
  f:write(r:svg { x = "loss", y = "goodput", units = { goodput = "bit/s" }, title = "TCP over 50 Mbit/s, 20 ms, with loss" })
end
