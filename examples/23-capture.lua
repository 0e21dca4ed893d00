-- Packets of a lab: into one file for Wireshark, as lines, as values, and as an expectation that says what went wrong.
--
-- Use:    nslua examples/23-capture.lua [FILE]
-- Prints: what was captured, a TCP connection packet by packet, and a failed expectation.
-- Needs:  nothing: without root it makes a user namespace. As root the last part knows why packets were dropped.

local lab <close> = ns.lab "h1 -- r1 --5ms-- h2"

local file = arg[1] or os.tmpname()
local c = lab:capture { file = file, comment = "examples/23-capture.lua" }
c:comment "three pings"
lab.h1:ping("h2", { count = 3, interval = 0.01, family = "inet" })
local r = c:stop()
print(("%d packets at %d interfaces, %d dropped"):format(r.packets, #r.interfaces, r.dropped))
if not arg[1] then
  os.remove(file)
end

local link = lab:link("h1", "r1"):capture { filter = "tcp" }
lab.h1:tcp("h2", 80)
for _, p in ipairs(link:packets()) do
  print(p)
end
link:close()

local syn = lab:expect { link = { "r1", "h2" }, from = "h1", tcp = { flags = "S", dport = 443 }, when = function()
  lab.h1:tcp("h2", 443)
end }
print("a SYN to port 443 arrived with a TTL of " .. syn.ip.ttl)

lab:link("r1", "h2"):down()
print(select(2, pcall(lab.expect, lab, { link = { "h1", "r1" }, from = "h2", icmp = true, within = "100ms", when = function()
  lab.h1:ping("h2", { timeout = 0.1, family = "inet" })
end })))
