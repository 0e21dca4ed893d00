-- Tracked connections: conntrack(8) is the oracle, or /proc/net/nf_conntrack; nft(8) has the kernel track.

local helper = require "spec.helper"
local rtnl = require "spec.rtnl_helper"

local PROGRAM = [[
import socket
l = socket.create_server(("127.0.0.1", 8080))
c = socket.create_connection(("127.0.0.1", 8080))
d, _ = l.accept()
c.send(b"abc")
d.recv(3)
u = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
u.connect(("::1", 53))
u.send(b"x")
]]

describe("conntrack", function()
  local why = rtnl.cannot()
    or not (helper.has "nft" and helper.has "conntrack" and helper.has "python3") and "needs nft(8), conntrack(8) and python3" or nil
  local a
  local function track()
    a = rtnl.netns "a"
    return a:run { "nft", "-f", "-", input = "table inet t { chain c { type filter hook output priority 0; ct state new ct mark set 7; }; }\n" }
  end
  if not why then
    local r = track()
    why = not r.ok and "no connection tracking in nftables here: " .. r.stderr or nil
    rtnl.close()
  end
  if why then
    return it("", function()
      pending(why)
    end)
  end

  before_each(track)
  after_each(rtnl.close)

  local function traffic()
    assert(a:run { "python3", "-c", PROGRAM, check = true }.ok)
  end

  it("lists what conntrack -L does", function()
    traffic()
    local n = 0
    for _, family in ipairs { "ipv4", "ipv6" } do
      local out = rtnl.inside(a, "conntrack -L -f " .. family .. " -o extended,id 2>/dev/null")
      for line in out:gmatch "[^\n]+" do
        local id = tonumber(line:match "id=(%d+)")
        if id then
          local row = a.conntrack:list({ id = id })[1]
          local src, dst, sport, dport = line:match "src=(%S+) dst=(%S+) sport=(%d+) dport=(%d+)"
          assert.same({ src, dst, tonumber(sport), tonumber(dport) }, { row.orig.src, row.orig.dst, row.orig.sport, row.orig.dport })
          src, dst, sport, dport = line:match "sport=.* src=(%S+) dst=(%S+) sport=(%d+) dport=(%d+)"
          assert.same({ src, dst, tonumber(sport), tonumber(dport) }, { row.reply.src, row.reply.dst, row.reply.sport, row.reply.dport })
          assert.truthy(line:find(" " .. row.proto .. " ", 1, true))
          assert.equal(line:match " ([%u_]+) src=", row.state and row.state:upper())
          assert.equal(line:find "%[ASSURED%]" ~= nil, row.status.assured == true)
          assert.equal(line:find "%[UNREPLIED%]" == nil, row.status.seen_reply == true)
          assert.equal(tonumber(line:match "mark=(%d+)"), row.mark)
          n = n + 1
        end
      end
    end
    assert.equal(2, n)
    assert.equal(2, #a.conntrack:list())
    assert.equal(2, #a.conntrack:list { mark = 7 })
    assert.equal(0, #a.conntrack:list { mark = 8 })
    assert.equal(1, #a.conntrack:list { family = "inet6" })
    assert.equal(1, #a.conntrack:list { proto = "tcp", dport = 8080, src = "127.0.0.0/8", status = "assured" })
    assert.equal(0, #a.conntrack:list { dst = "10.0.0.0/8" })
  end)

  it("tells what begins and changes", function()
    local monitor = a.conntrack:monitor { proto = "tcp" }
    traffic()
    local first, second = monitor:next(5), monitor:next(5)
    assert.same({ "new", 8080, "syn_sent" }, { first.action, first.object.orig.dport, first.object.state })
    assert.same({ "update", first.object.id }, { second.action, second.object.id })
    monitor:close()
    assert.is_false((pcall(monitor.next, monitor, 0)))
  end)

  it("teaches", function()
    local ok, e = pcall(a.conntrack.list, a.conntrack, { dprt = 1 })
    assert.is_false(ok)
    assert.matches("did you mean 'dport'", tostring(e))
    ok, e = pcall(a.conntrack.list, a.conntrack, { status = "asured" })
    assert.is_false(ok)
    assert.matches("did you mean 'assured'", tostring(e))
    for key, says in pairs { dport = "dport must be a port from 0 to 65535, got string", mark = "mark must be a number, got string",
      proto = "unknown proto '80'" } do
      ok, e = pcall(a.conntrack.list, a.conntrack, { [key] = "80" }) -- it would find nothing
      assert.is_false(ok)
      assert.truthy(tostring(e):find(says, 1, true), tostring(e))
    end
  end)
end)

describe("numbers of the schema of conntrack", function()
  it("are those of <linux/netfilter/*.h>", function()
    if not helper.has "cc" then
      return pending "no C compiler here"
    end
    local out, ok = require "spec.headers".check(require "nslua.netfilter.conntrackschema", {})
    assert(ok, out)
  end)
end)
