-- nslua capture: lines, files, pipes, JSON, Ctrl-C, and what it says of wrong words.

local helper = require "spec.helper"
local json = require "cjson"
local ns = require "nslua"

local HOST = "./build/bin/nslua"
local folder

setup(function()
  folder = helper.sh "mktemp -d"
end)
teardown(function()
  helper.sh("rm -rf " .. folder)
end)
after_each(helper.close_held)

-- A lab that the command can find, and whoever listens in it.
local function lab()
  return helper.held(ns.lab("h1 -- h2", { name = "capture-spec-" .. helper.sh "echo $PPID" }))
end

-- The command, once it listens.
local function begin(...)
  local plan = table.pack(HOST, "capture", ...)
  plan.n, plan.stdout, plan.stderr, plan.timeout = nil, "pipe", "pipe", 60
  local p = helper.held(ns.spawn(plan))
  local said = p.stderr:read "l"
  assert(said and said:find "listening on", said)
  return p, said
end

local function finish(p)
  p:kill "INT"
  local out, err = p.stdout:read "a", p.stderr:read "a"
  return out, err, p:wait()
end

describe("nslua capture", function()
  it("prints a line for each packet until Ctrl-C, then the counts", function()
    local l = lab()
    local p, said = begin("lab:" .. l.name, "icmp")
    assert.matches("listening on h1:lo, h1:eth0, h2:lo, h2:eth0 %(4 interfaces, 2 namespaces%)", said)
    l.h1:ping("h2", { family = "inet" })
    local lines = {}
    for i = 1, 4 do
      lines[i] = p.stdout:read "l"
    end
    assert.matches("^%d%d:%d%d:%d%d%.%d%d%d%d%d%d h1:eth0 > IP 10%.%S+ > 10%.%S+: ICMP echo request, id %d+, seq %d+, 98 bytes$", lines[1])
    assert.matches("h2:eth0 < IP .*echo request", lines[2])
    assert.matches("h1:eth0 < IP .*echo reply", lines[4])
    local out, err, r = finish(p)
    assert.equal("", out)
    assert.equal("4 packets captured\n0 packets dropped by kernel\n", err)
    assert.same({ true, 0 }, { r.ok, r.status })
  end)

  it("ends after so many packets, of one interface, as JSON", function()
    local l = lab()
    local p = begin("-j", "-c2", "-i", "eth0", "-s", "100", "lab:" .. l.name, "udp", "and", "port", "4711")
    l.h1:udp("h2", 4711, { send = ("x"):rep(500), timeout = 0.1 })
    local first = json.decode(p.stdout:read "l")
    assert.same({ "h1:eth0", "h1", "eth0", "out", 542, 100, 4711 }, { first.interface, first.netns, first.dev, first.direction, first.length,
      first.captured, first.udp.dport })
    assert.matches("UDP, length 500$", first.summary)
    p.stdout:read "a"
    assert.equal(0, p:wait().status)
    p = helper.held(l.h1:spawn { HOST, "capture", "-c1", ".", "udp", "and", "port", "4712", stdout = "pipe", stderr = "pipe" })
    assert.matches("listening on this namespace:lo", p.stderr:read "l")
    l.h1:udp("h2", 4712, { send = "x", timeout = 0.1 })
    assert.matches("^%S+ this namespace:eth0 > ", p.stdout:read "l")
    assert.equal(0, p:wait().status)
  end)

  it("writes a file, and reads it", function()
    local l = lab()
    local file = folder .. "/x.pcapng"
    local p = begin("-w", file, "lab:" .. l.name, "icmp6")
    l.h1:ping("h2", { family = "inet6" })
    local _, err, r = finish(p)
    assert.equal(0, r.status)
    assert.is_true(tonumber(err:match "^(%d+) packets captured") >= 4)
    local out, ok = helper.sh(HOST .. " capture -c 1 -r " .. file)
    assert.is_true(ok)
    assert.matches("IP6 .*ICMP6", out)
    local text = helper.sh(HOST .. " capture -j -r " .. file)
    assert.matches('"name":"echo request"', text)
    if helper.has "tshark" then
      assert.matches("h2:eth0", (helper.sh(("HOME=%s tshark -r %s -T fields -e frame.interface_name 2>/dev/null"):format(folder, file))))
    end
  end)

  it("writes into a pipe as packets come, and ends with its reader", function()
    local l = lab()
    if not helper.has "tcpdump" then
      pending "tcpdump is not installed"
    end
    local script = ("%s capture -w - lab:%s icmp | tcpdump -n -l -c 2 -r - 2>/dev/null"):format(HOST, l.name)
    local p = helper.held(ns.spawn { "sh", "-c", script, stdout = "pipe", stderr = "pipe", timeout = 60 })
    assert.matches("listening on", p.stderr:read "l")
    l.h1:ping("h2", { family = "inet" })
    assert.matches("ICMP echo request", p.stdout:read "l")
    assert.matches("ICMP echo request", p.stdout:read "l")
    assert(require("spec.wire_helper").eventually(function()
      l.h1:ping("h2", { family = "inet" }) -- the end of the reader is seen with the next packet
      return not p:running()
    end))
  end)

  it("takes names of ip netns, and all", function()
    helper.needs_root(pending)
    local name = "nslua-capture-" .. helper.sh "echo $PPID"
    local a = helper.held(ns.netns.add(name))
    helper.held { close = function() ns.netns.delete(name) end }
    a:lo_up()
    local p, said = begin(name .. "," .. name) -- once
    assert.matches("listening on " .. name:gsub("%-", "%%-") .. ":lo %(1 interface, 1 namespace%)", said)
    a:ping "127.0.0.1"
    assert.matches(name:gsub("%-", "%%-") .. ":lo < IP 127.0.0.1 > 127.0.0.1: ICMP echo request", p.stdout:read "l")
    assert.matches("echo reply", p.stdout:read "l")
    assert.matches("captured", select(2, finish(p)))
  end)

  it("shows what others wrote, and obeys none of it", function()
    local pcapng = require "nslua.inspect.capture.pcapng"
    local frame = ("\255"):rep(6) .. ("\2"):rep(6) .. "\x88\xb5" .. "\27[31m"
    local body = string.pack("=I4I4I4I4I4", 0, 0, 0, #frame, #frame) .. frame .. ("\0"):rep(-#frame % 4)
      .. string.pack("=I2I2", 1, 8) .. "\27]0;x\7\n!" .. "\0\0\0\0"
    local f = assert(io.open(folder .. "/evil.pcapng", "wb"))
    f:write(pcapng.section(), pcapng.interface { name = "\27[2J:e\nth", snaplen = 1000 }, string.pack("=I4I4", 6, #body + 12), body,
      string.pack("=I4", #body + 12))
    f:close()
    local out = helper.sh(HOST .. " capture -r " .. folder .. "/evil.pcapng")
    assert.is_nil(out:find "[%c]")
    assert.matches("\\x1b%[2J:e\\x0ath %- 02:02:02:02:02:02 > ff:ff:ff:ff:ff:ff, type 0x88b5, 19 bytes  # \\x1b%]0;x\\x07\\x0a!", out)
    local text = helper.sh(HOST .. " capture -j -r - <" .. folder .. "/evil.pcapng")
    assert.matches("^{.*}$", text)
    assert.is_nil(text:find "[%c]")
  end)

  it("says what is wrong with its words", function()
    local function fails(words, text)
      local out, ok, status = helper.sh(HOST .. " capture " .. words)
      assert.same({ false, 1 }, { ok, status })
      assert.matches(text, out)
      assert.is_nil(out:find "traceback")
    end
    assert.matches("where%?", (helper.sh(HOST .. " capture , 2>&1")))
    fails("", "^nslua capture: where%? A container, a namespace, lab:name or all is needed$")
    fails("-c 0 x", "invalid argument of %-c: '0' %(a whole number, 1 or more%)")
    fails("no-such-thing-here", "^nslua capture: .*no%-such%-thing%-here")
    fails("-W 3 -w x y", "%-W needs %-C")
    fails("-r /nonexistent", "^nslua capture: capture.read: ENOENT: No such file or directory %(/nonexistent%)$")
    fails("-r /etc/passwd", "^nslua capture: capture.read: EBADMSG: no pcapng that can be read: its first bytes are others$")
    local l = lab()
    fails("lab:" .. l.name .. " tcp prot 80", 'filter "tcp prot 80": ')
    fails("-i eth7 lab:" .. l.name, "unknown dev 'eth7'")
    for _, huge in ipairs { "9999999999", "999999999999999999" } do
      fails(("-B %s lab:%s"):format(huge, l.name), "buffer must be at most 256 MB for each interface")
    end
  end)
end)
