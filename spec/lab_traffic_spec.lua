-- Traffic between nodes: that what is said of it is what came, and what the kernel tells of it.

local helper = require "spec.helper"
local ns = require "nslua"
local rtnl = require "spec.rtnl_helper"

describe("traffic", function()
  local why = rtnl.cannot()
  if why then
    return it("", function()
      pending(why)
    end)
  end

  local lab

  setup(function()
    lab = ns.lab "{seed=3}\nh1 -- r1 -- h2\nr1 --0ms-- far"
  end)
  teardown(function()
    lab:close()
  end)

  local function misuse(text, fn, ...)
    local ok, e = pcall(fn, ...)
    assert.is_false(ok)
    assert.truthy(tostring(e):find(text, 1, true), tostring(e))
    assert.matches("lab_traffic_spec.lua:%d+: ", tostring(e))
  end

  it("of so many bytes brings them all, in both families", function()
    for _, family in ipairs { "inet", "inet6" } do
      local r = lab.h1:traffic("h2", { bytes = 3000001, family = family, streams = 2 })
      assert.equal(3000001, r.bytes)
      assert.is_nil(r.timed_out)
      assert.equal(2, #r.streams)
      assert.equal(3000001, r.streams[1].bytes + r.streams[2].bytes)
      assert.is_true(math.abs(r.goodput * r.elapsed - r.bytes * 8) < 1)
      assert.is_true(r.from == lab.h1 and r.to == lab.h2)
    end
  end)

  it("that has come and gone before the sink looks is counted all the same", function()
    local core = require "nslua.core"
    local packet = core.packet
    local function socket()
      return require("nslua.inside").raw_socket(lab.h1, 2, 1 + 0x800, 0)
    end
    local listener, client = socket(), socket()
    local here = core.inet.bytes "127.0.0.1"
    assert(packet.bind(listener, here, 0))
    assert(packet.listen(listener, 1))
    local _, port = packet.name(listener)
    packet.connect(client, here, port)
    assert(packet.send(client, "x"))
    client:close()
    local reader, writer = core.fd.pipe()
    writer:close()
    local out = require("nslua.lab.traffic.tcp").sink({ bytes = 1, streams = 1, timeout = 5 }, listener, reader)
    listener:close()
    reader:close()
    assert.equal(1, out.bytes)
    assert.is_true(out.complete)
  end)

  it("of some time takes that time, and samples what the kernel knows", function()
    local r = lab.h1:traffic("h2", { seconds = 0.2, interval = "50ms" })
    assert.is_true(r.elapsed >= 0.2 and r.bytes > 0)
    assert.is_true(#r.samples >= 1)
    local last = { at = 0, bytes_acked = 0 }
    for _, sample in ipairs(r.samples) do
      assert.is_true(sample.at > last.at and sample.bytes_acked >= last.bytes_acked)
      assert.is_true(sample.rtt > 0 and sample.rtt < 20 and sample.cwnd >= 1 and sample.mss > 500 and (sample.delivery_rate or 0) >= 0)
      last = sample
    end
    assert.matches("^h1 to h2 by tcp: [%d.]+ [GMk]?bit/s in 0%.[%d]+ s, %d+ retransmits$", tostring(r))
    assert.same({}, lab.h1:traffic("h2", { bytes = 1000, interval = 0 }).samples)
  end)

  it("is sent again where packets are lost", function()
    local link = lab:link("r1", "far")
    link:change { delay = "1ms", loss = "5%" }
    local r = lab.r1:traffic("far", { bytes = 500000 }) -- who forwards for others may have many packets in one frame
    assert.equal(500000, r.bytes)
    assert.is_true(r.retransmits > 0)
    assert.equal(r.retransmits, r.streams[1].retransmits)
    link:change { delay = "1ms" }
  end)

  it("has the congestion control that is asked for", function()
    assert.equal("reno", lab.h1:traffic("h2", { bytes = 1000, congestion = "reno" }).congestion)
    local r = lab:traffic { { "h1", "h2", congestion = "reno" }, { "h2", "h1" }, bytes = 200000 }
    assert.equal(200000, r[1].bytes)
    assert.equal(200000, r[2].bytes)
    assert.equal("h2", r[2].from.node_name)
    local text = helper.fails("ENOENT", lab.h1.traffic, lab.h1, "h2", { congestion = "none-such" })
    assert.matches('congestion = "none%-such"%); there are .*reno', text)
  end)

  it("of UDP is counted packet by packet", function()
    local r = lab.h1:traffic("h2", { proto = "udp", rate = "4mbit", size = 1000, seconds = 0.2 })
    assert.is_true(r.sent > 0 and r.sent <= 100) -- fewer, where the machine has no time
    assert.equal(r.sent, r.received + r.lost)
    assert.equal(r.received * 1000, r.bytes)
    assert.is_true(r.jitter >= 0 and r.delay.min <= r.delay.avg and r.delay.avg <= r.delay.max)
    assert.matches("^h1 to h2 by udp: .*, %d+ of %d+ lost, jitter [%d.]+ ms$", tostring(r))
    r = lab.h1:traffic("h2", { proto = "udp", family = "inet6", rate = "1mbit", seconds = 0.05, interval = "10ms" })
    assert.is_true(r.sent > 0 and r.received + r.lost == r.sent)
  end)

  it("of UDP tells what a link does to it", function()
    local link = lab:link("r1", "far")
    link:change { to = { delay = "20ms", loss = "30%", duplicate = "10%" } }
    local r = lab.h1:traffic("far", { proto = "udp", rate = "8mbit", size = 500, seconds = 0.2 })
    assert.is_true(r.loss > 0.1 and r.loss < 0.6, tostring(r))
    assert.equal(r.lost / r.sent, r.loss)
    assert.is_true(r.duplicates > 0)
    assert.is_true(r.delay.min >= 0.0199, tostring(r.delay.min))
    link:change { delay = "0ms" }
  end)

  it("that finds no way is an error that says so", function()
    local link = lab:link("r1", "h2")
    link:down()
    local ok, e = pcall(lab.h1.traffic, lab.h1, "h2", { timeout = 0.1, family = "inet" })
    link:up()
    assert.is_false(ok)
    assert.is_true(ns.error.is(e) and e.code == "ETIMEDOUT" or e.code == "EHOSTUNREACH" or e.code == "ENETUNREACH", tostring(e))
    assert.matches("node.traffic in h1: ", tostring(e))
  end)

  it("is refused where it makes no sense", function()
    misuse("unknown node 'h3'", lab.h1.traffic, lab.h1, "h3")
    misuse("rate is of udp", lab.h1.traffic, lab.h1, "h2", { rate = "1mbit" })
    misuse("streams is of tcp", lab.h1.traffic, lab.h1, "h2", { proto = "udp", streams = 2 })
    misuse("unknown proto 'tpc' (did you mean 'tcp'?)", lab.h1.traffic, lab.h1, "h2", { proto = "tpc" })
    misuse("either seconds or bytes", lab.h1.traffic, lab.h1, "h2", { seconds = 1, bytes = 1 })
    misuse("unknown key 'congestoin' (did you mean 'congestion'?)", lab.traffic, lab, { { "h1", "h2" }, congestoin = "reno" })
    misuse("no flows", lab.traffic, lab, {})
  end)
end)
