-- ethtool's family, with Debian's ethtool(8) as the oracle: what it reads is what it prints, what it sets is what it then prints.

local core = require "nslua.core"
local helper = require "spec.helper"
local ns = require "nslua"
local rtnl = require "spec.rtnl_helper"

local held = helper.held

describe("ethtool's family", function()
  local cannot = rtnl.cannot()
  if cannot then
    return it("reads and sets", function()
      pending(cannot)
    end)
  end
  local a, e
  before_each(function()
    a = held(helper.netns { label = "genl" })
    -- queues: a machine of one processor has one else
    a.link:add { name = "v0", kind = "veth", num_rx_queues = 4, num_tx_queues = 4, peer = { name = "v1", up = true }, up = true }
    e = a:netlink "ethtool"
  end)
  after_each(helper.close_held)

  local function oracle(arguments)
    local out, ok = rtnl.inside(a, "ethtool " .. arguments)
    assert(ok, "ethtool " .. arguments .. ": " .. out)
    return out
  end

  local function oracle_features()
    local out = {}
    for name, state in oracle "-k v0":gmatch "\n%s*([^:\n]+): (%l+)" do
      out[name] = state == "on"
    end
    return out
  end

  local function active()
    local out = e:features_get { dev = "v0" }.active
    return function(name)
      return out[name] or false
    end
  end

  it("reads what ethtool -k prints", function()
    if not helper.has "ethtool" then
      return pending "no ethtool(8)"
    end
    local n, mine = 0, active()
    local want = oracle_features()
    for _, name in ipairs(e:strings "features") do
      if want[name] ~= nil then
        n = n + 1
        assert.equal(want[name], mine(name), name)
      end
    end
    assert.is_true(n > 20)
  end)

  it("sets features that ethtool -k then prints, and says what changed", function()
    local row = e:features_set { dev = "v0", wanted = { ["tx-checksum-ip-generic"] = false, ["rx-gro"] = true } }
    assert.equal("v0", row.dev)
    assert.equal(false, row.active["tx-checksum-ip-generic"])
    assert.is_false(active()("tx-checksum-ip-generic"))
    e:features_set { dev = "v0", wanted = { "tx-checksum-ip-generic" } }
    assert.is_true(active()("tx-checksum-ip-generic"))
    e:features_set { dev = a.link:get("v0"), wanted = { ["tx-scatter-gather"] = false } }
    assert.is_false(active()("tx-scatter-gather"))
    if helper.has "ethtool" then
      local want = oracle_features()
      assert.is_true(want["tx-checksum-ip-generic"])
      assert.is_false(want["tx-scatter-gather"])
      oracle "-K v0 tx-checksum-ip-generic off"
      assert.is_false(active()("tx-checksum-ip-generic"))
    end
  end)

  it("sets channels, and reads them as ethtool -l does", function()
    local c = e:channels_get { dev = "v0" }
    assert.is_true(c.rx_max >= 1)
    assert.is_nil(e:channels_set { dev = c.dev_index, rx_count = c.rx_max, tx_count = c.tx_max })
    c = e:channels_get { dev = "v0" }
    assert.equal(c.rx_max, c.rx_count)
    if helper.has "ethtool" then
      local current = oracle "-l v0":match "Current hardware settings:.*"
      assert.equal(tostring(c.rx_count), current:match "RX:%s+(%d+)")
      assert.equal(tostring(c.tx_count), current:match "TX:%s+(%d+)")
    end
  end)

  it("reads link information, states and modes", function()
    local info, modes = e:linkinfo_get { dev = "v0" }, e:linkmodes_get { dev = "v0" }
    assert.equal("tp", info.port)
    assert.equal("internal", info.transceiver)
    assert.equal("full", modes.duplex)
    assert.equal(10000, modes.speed)
    assert.is_boolean(e:linkstate_get { dev = "v0" }.link)
    if helper.has "ethtool" then
      local out = oracle "v0"
      assert.equal("10000Mb/s", out:match "Speed: (%S+)")
      assert.equal("Full", out:match "Duplex: (%S+)")
    end
    assert.truthy(e:tsinfo_get { dev = "v0" }.timestamping)
  end)

  it("lists every device, and the names of string sets", function()
    local devices = {}
    for row in e:each "features_get" do
      devices[row.dev] = true
    end
    assert.same({ lo = true, v0 = true, v1 = true }, devices)
    assert.equal(2, #e:list "channels_get") -- lo has none
    local names = e:strings("stats", "v0")
    assert.equal("peer_ifindex", names[1])
    assert.same({ "phy", "ucast" }, { e:strings "wol_modes"[1], e:strings "wol_modes"[2] })
  end)

  it("reads bit sets of words as it reads those of names", function()
    local named, words = e:features_get { dev = "v0" }.active, e:features_get { dev = "v0", flags = { compact_bitsets = true } }.active
    local names = e:strings "features"
    local n = 0
    for bit, value in pairs(words) do
      n = n + 1
      assert.equal(named[names[tonumber(bit:match "^#bit(%d+)$") + 1]], value)
    end
    for _ in pairs(named) do
      n = n - 1
    end
    assert.equal(0, n)
  end)

  it("tells what changed", function()
    local other = held(helper.netns {})
    local m, quiet = held(e:monitor "monitor"), held(other:netlink "ethtool":monitor "monitor")
    assert.is_nil(m:next(0))
    e:channels_set { dev = "v0", rx_count = 2, tx_count = 2 }
    e:features_set { dev = "v0", wanted = { ["tx-scatter-gather"] = false } }
    assert.same({ m }, ns.wait({ m }, 5))
    local event = m:next(5)
    assert.equal("event", event.action)
    assert.equal("channels_ntf", event.what)
    assert.equal("v0", event.object.dev)
    assert.equal(2, event.object.rx_count)
    assert.equal("genl", event.netns)
    assert.equal(a.inode, event.inode)
    for ev in m:each(5) do
      if ev.what == "features_ntf" then
        break
      end
    end
    assert.is_nil(quiet:next(0))
    assert.equal("r", m:events())
    assert.equal(m:pollfd(), m:getfd())
    m:close()
    assert.is_true(m:close())
    assert.has_error(function() m:next(0) end)
  end)

  it("names the device, the bit, the number and the key that the kernel or the schema refuses", function()
    local function says(code, text, name, t)
      local message = helper.fails(code, e[name], e, t)
      assert.truthy(message:find(text, 1, true), message)
    end
    says("ENODEV", 'ethtool.channels_get in genl: ENODEV: channels.header.dev_name = v9: no device matches name (dev = "v9")', "channels_get",
      { dev = "v9" })
    says("EOPNOTSUPP", "features.wanted.rx-grow: bit name not found", "features_set", { dev = "v0", wanted = { ["rx-grow"] = true } })
    says("EINVAL", "channels.rx_count = 4000: requested channel count exceeds maximum", "channels_set", { dev = "v0", rx_count = 4000 })
    local function misuse(pattern, name, t)
      local ok, message = pcall(e[name], e, t)
      assert.is_false(ok)
      assert.truthy(message:find(pattern), message)
      assert.truthy(message:find "genl_ethtool_spec", message)
    end
    misuse("ethtool%.features: unknown key 'wnated' %(did you mean 'wanted'%?%)", "features_set", { dev = "v0", wnated = {} })
    misuse("ethtool%.channels%.rx_count: %-1 does not fit in u32", "channels_set", { dev = "v0", rx_count = -1 })
    misuse("dev must be the name or index of a link, or its row, got boolean", "channels_get", { dev = true })
    misuse("unknown flag 'compact' %(did you mean 'compact_bitsets'%?%)", "channels_get", { dev = "v0", flags = { compact = true } })
    misuse("dev and flags are what the header says", "channels_get", { dev = "v0", header = {} })
  end)

  it("queues in a batch with rtnetlink's writes, in order, and reports what failed", function()
    a:batch(function()
      a.link:add { name = "w0", kind = "veth", num_rx_queues = 4, num_tx_queues = 4, peer = { name = "w1" } }
      assert.is_nil(e:channels_set { dev = "w0", rx_count = 2, tx_count = 2 })
      a.link:change("v0", { mtu = 1400 })
    end)
    assert.equal(2, e:channels_get { dev = "w0" }.rx_count)
    assert.equal(1400, a.link:get "v0".mtu)
    local ok, err = pcall(a.batch, a, function()
      e:channels_set { dev = "w0", rx_count = 1, tx_count = 1 }
      a.link:change("v0", { mtu = 1300 })
      e:channels_set { dev = "w0", rx_count = 4000 }
      e:channels_set { dev = "gone", rx_count = 1 }
    end)
    assert.is_false(ok)
    assert.same({ 3, 4 }, { err.errors[1].index, err.errors[2].index })
    assert.equal("channels.rx_count", err.errors[1].error.attribute)
    assert.equal("ENODEV", err.errors[2].error.code)
    assert.equal("ethtool.channels_set", err.errors[2].request.call)
    assert.equal(1, e:channels_get { dev = "w0" }.rx_count)
    assert.equal(1300, a.link:get "v0".mtu)
  end)

  it("stands in a transaction with what takes it back", function()
    local function set(n, options)
      e:channels_set({ dev = "v0", rx_count = n, tx_count = n }, options)
    end
    local ok, err = pcall(a.transaction, a, function()
      a.link:change("v0", { mtu = 1400 })
      set(2, { undo = function()
        set(1)
      end })
      assert.equal(2, e:channels_get { dev = "v0" }.rx_count)
      error "enough"
    end)
    assert.is_false(ok)
    assert.truthy(tostring(err):find "enough")
    assert.equal(1, e:channels_get { dev = "v0" }.rx_count)
    assert.equal(1500, a.link:get "v0".mtu)
    ok, err = pcall(a.transaction, a, function()
      set(2)
    end)
    assert.is_false(ok)
    assert.truthy(tostring(err):find("ethtool.channels_set has no inverse: it cannot stand in a transaction", 1, true), tostring(err))
    assert.equal(1, e:channels_get { dev = "v0" }.rx_count)
  end)

  it("survives decode and encode", function()
    local seen = {}
    core.netlink.record(seen)
    local replies = {}
    for name, command in pairs(ns.netlink.ethtool.commands) do
      if command.listed then
        local from = #seen
        if pcall(e.list, e, name, {}) then
          for i = from + 1, #seen do
            replies[#replies + 1] = { name, command.reply, seen[i][2] }
          end
        end
      end
    end
    core.netlink.record(nil)
    assert.is_true(#replies > 10)
    local same = require("spec.roundtrip").same
    local function no_unknown(t, where)
      for key, value in pairs(t) do
        assert.is_falsy(type(key) == "string" and key:find "^#%d", where .. "." .. tostring(key))
        if type(value) == "table" then
          no_unknown(value, where .. "." .. tostring(key))
        end
      end
    end
    for _, reply in ipairs(replies) do
      local S = ns.netlink.ethtool:compile(reply[2])
      local once = S:decode(reply[3])
      assert.is_true(same(once, S:decode(S:encode(once))), reply[1])
      no_unknown(once.header, reply[1])
    end
  end)
end)
