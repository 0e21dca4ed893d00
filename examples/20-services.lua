-- Services in a lab: a web server and a name server that are here already, and a program that is started again when it dies.
--
-- Use:    nslua examples/20-services.lua
-- Prints: a page by its name, what a broken name server does, and how a program that was killed came back.
-- Needs:  nothing: without root it makes a user namespace.

local lab <close> = ns.lab "client -- r1 -- web"

local web = lab.web:serve("http", { files = {
  ["/"] = "hello from web\n",
  ["/you"] = function(request) return "you are " .. request.from .. "\n" end,
} })
lab.r1:serve("dns", { resolv_conf = true }) -- web.lab, client.lab, ...; from now on the nodes ask it
io.write(lab.client:http("http://web.lab/").body, lab.client:http("http://web.lab/you").body, "log: ", web:log(1))

do
  local bad <close> = lab.web:serve("dns", { zone = { ["shop.example"] = "192.0.2.80" }, servfail = { "api.example" }, delay = "20ms" })
  for _, name in ipairs { "shop.example", "api.example", "none.example" } do
    local r = lab.client:resolve(name, { server = lab.web:address_of "client" })
    print(name, r.rcode, r.addresses[1] or "-", r.elapsed >= 0.020 and "late" or "in time")
  end
  io.write("log: ", bad:log(1))
end

local worker = lab.web:service { "sh", "-c", "echo working as $(hostname); exec sleep 60",
  ready = { output = "^working" }, restart = "on_failure", backoff = "10ms" }
worker:wait_ready()
worker:kill "KILL"
ns.eventually(function() return worker.restarts == 1 and worker.state == "running" end, 20)
print(worker, worker.reason)
io.write(worker:log())

local lost = lab.web:service { "sh", "-c", "echo cannot read my configuration; exit 78", restart = "on_failure", max_restarts = 2, backoff = "1ms",
  ready = { tcp = 8080 } }
print(select(2, pcall(lost.wait_ready, lost)))
