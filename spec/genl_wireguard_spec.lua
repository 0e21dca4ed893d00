-- WireGuard: what wg(8) sends and what nslua sends are the same bytes, what wg prints of an answer is what a row says (spec/wg_kernel.c plays
-- the kernel); and where the kernel has it, a tunnel.

local helper = require "spec.helper"
local ns = require "nslua"
local pack = require "spec.pack"
local rtnl = require "spec.rtnl_helper"

local held = helper.held
local KEY = "aOhL7TkL8txmF3pbjcnw3ZAMASdbPg9W33s3Gm1wIW0="
local PEER = "MIZqWSLTnSgE4eVStI3RuYehqdVUrwcDxFxzbDTQb24="
local OTHER = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
local PSK = "FpCyhws9cxwWoV4xELtfJvjJN+zQVRPISllRWgeopVE="

local S = ns.netlink.wireguard
local device = S:compile "device"

-- What a request of these words is, as the kernel gets it.
local function encoded(t)
  local copy = {}
  for k, v in pairs(t) do
    copy[k] = v
  end
  S.writes.device(copy, "wireguard.set_device")
  return "\1\1\0\0" .. device:encode(copy):sub(5)
end

local function read(path)
  local f = assert(io.open(path, "rb"))
  local text = f:read "*a"
  f:close()
  return text
end

local function write(path, text)
  local f = assert(io.open(path, "wb"))
  f:write(text)
  f:close()
end

describe("wireguard's family", function()
  local folder, preload
  setup(function()
    if helper.has "cc" and helper.has "wg" then
      folder = helper.sh "mktemp -d"
      local out, ok = helper.sh(("cc -shared -fPIC -o %s/kernel.so spec/wg_kernel.c"):format(folder))
      assert(ok, out)
      write(folder .. "/key", KEY .. "\n")
      write(folder .. "/psk", PSK .. "\n")
      preload = ("WG_SENT=%s/sent WG_ANSWER=%s/answer LD_PRELOAD=%s/kernel.so "):format(folder, folder, folder)
    end
  end)
  teardown(function()
    if folder then
      helper.sh("rm -r " .. folder)
    end
  end)

  local function sent(arguments)
    os.remove(folder .. "/sent")
    local out, ok = helper.sh(preload .. "wg " .. arguments)
    assert(ok, out)
    return read(folder .. "/sent")
  end

  it("sends what wg(8) sends", function()
    if not preload then
      return pending "no C compiler or no wg(8)"
    end
    local function same(arguments, t)
      local want, mine = sent(("set wg0 " .. arguments):gsub("%$", folder)), encoded(t)
      assert.same(device:decode(want), device:decode(mine))
      assert.equal(#want, #mine)
      assert.equal(want:sub(1, 4), mine:sub(1, 4))
    end
    same("private-key $/key listen-port 51820 fwmark 7", { dev = "wg0", private_key = KEY, listen_port = 51820, fwmark = 7 })
    same("private-key /dev/null fwmark off", { dev = "wg0", private_key = false, fwmark = 0 })
    same(("peer %s endpoint 10.0.0.1:51820 allowed-ips 10.0.0.0/8,fd00::/64,1.2.3.4 persistent-keepalive 25"):format(PEER), { dev = "wg0",
      peers = { { public_key = PEER, endpoint = "10.0.0.1:51820", allowed_ips = { "10.0.0.0/8", "fd00::/64", "1.2.3.4" },
        persistent_keepalive = "25s", replace_allowed_ips = true } } })
    same(("peer %s preshared-key $/psk endpoint [2001:db8::7]:1 peer %s remove"):format(PEER, OTHER), { dev = "wg0",
      peers = { { public_key = PEER, preshared_key = PSK, endpoint = "[2001:db8::7]:1" }, { public_key = OTHER, remove = true } } })
    same(("peer %s persistent-keepalive off preshared-key /dev/null allowed-ips ''"):format(PEER), { dev = "wg0",
      peers = { { public_key = PEER, persistent_keepalive = 0, preshared_key = false, allowed_ips = {}, replace_allowed_ips = true } } })
    -- what wg takes from a file replaces everything
    write(folder .. "/conf", ("[Interface]\nPrivateKey = %s\n[Peer]\nPublicKey = %s\nAllowedIPs = 0.0.0.0/0, ::/0\n"):format(KEY, PEER))
    local conf = device:decode(sent("setconf wg0 " .. folder .. "/conf"))
    local mine = device:decode(encoded { dev = "wg0", private_key = KEY, listen_port = 0, fwmark = 0, replace_peers = true,
      peers = { { public_key = PEER, allowed_ips = { "0.0.0.0/0", "::/0" }, replace_allowed_ips = true } } })
    assert.same(conf, mine)
  end)

  -- An answer of the kernel in two messages; the second goes on with the peer that the first ended with.
  local function answers()
    local function time(sec, nsec)
      return { sec = sec, nsec = nsec }
    end
    local first = device:encode { ifindex = 7, ifname = "wg0", private_key = KEY, public_key = OTHER, listen_port = 51820, fwmark = 7, peers = {
      { public_key = PEER, preshared_key = PSK, endpoint = "[fe80::1%1]:51820", persistent_keepalive_interval = 25, rx_bytes = 2 ^ 40, tx_bytes = 5,
        last_handshake_time = time(1700000000, 500000000), protocol_version = 1,
        allowedips = { { family = 2, ipaddr = "10.0.0.0", cidr_mask = 8 } } },
      { public_key = OTHER, preshared_key = ("A"):rep(43) .. "=", persistent_keepalive_interval = 0, rx_bytes = 0, tx_bytes = 0,
        last_handshake_time = time(0, 0), protocol_version = 1, allowedips = { { family = 10, ipaddr = "fd00::", cidr_mask = 64 } } } } }
    local second = device:encode { ifindex = 7, ifname = "wg0", peers = {
      { public_key = OTHER, allowedips = { { family = 2, ipaddr = "10.9.0.0", cidr_mask = 16 } } }, { public_key = KEY } } }
    return { "\0\1\0\0" .. first:sub(5), "\0\1\0\0" .. second:sub(5) }
  end

  it("reads an answer as wg(8) does", function()
    local list = answers()
    local f = { each = function(_, name, t)
      assert.equal("get_device", name)
      assert.same({ dev = "wg0" }, t)
      local i = 0
      return function()
        i = i + 1
        return list[i] and device:row(list[i], S.classes.device)
      end
    end }
    local wg0 = S.methods.device(f, "wg0")
    assert.same({
      dev = "wg0", index = 7, private_key = KEY, public_key = OTHER, listen_port = 51820, fwmark = 7, peers = {
        { public_key = PEER, preshared_key = PSK, endpoint = "[fe80::1%1]:51820", persistent_keepalive = 25, latest_handshake = 1700000000.5,
          rx_bytes = 1099511627776, tx_bytes = 5, allowed_ips = { "10.0.0.0/8" }, protocol_version = 1 },
        { public_key = OTHER, rx_bytes = 0, tx_bytes = 0, allowed_ips = { "fd00::/64", "10.9.0.0/16" }, protocol_version = 1 },
        { public_key = KEY, allowed_ips = {} } },
    }, wg0)
    if not preload then
      return pending "no C compiler or no wg(8)"
    end
    local out = ""
    for _, bytes in ipairs(list) do
      out = out .. pack("<I4", #bytes) .. bytes
    end
    write(folder .. "/answer", out)
    local dump, ok = helper.sh(preload .. "wg show wg0 dump")
    assert(ok, dump)
    local lines = { ("%s\t%s\t%d\t0x%x"):format(wg0.private_key, wg0.public_key, wg0.listen_port, wg0.fwmark) }
    for _, p in ipairs(wg0.peers) do
      lines[#lines + 1] = table.concat({ p.public_key, p.preshared_key or "(none)", (p.endpoint or "(none)"):gsub("%%1%]", "%%lo]"),
        p.allowed_ips[1] and table.concat(p.allowed_ips, ",") or "(none)", ("%d"):format(math.floor(p.latest_handshake or 0)),
        ("%.0f"):format(p.rx_bytes or 0), ("%.0f"):format(p.tx_bytes or 0), p.persistent_keepalive or "off" }, "\t")
    end
    assert.equal(table.concat(lines, "\n"), dump)
  end)

  it("sends many peers and addresses in several messages", function()
    local ips, peers = {}, {}
    for i = 0, 2999 do
      ips[i + 1] = ("10.%d.%d.0/24"):format(math.floor(i / 256), i % 256)
    end
    for i = 1, 600 do
      peers[i] = { public_key = PEER, allowed_ips = { "10.0.0.1" } }
    end
    peers[301] = { public_key = OTHER, replace_allowed_ips = true, allowed_ips = ips }
    local sizes, seen, of_other = {}, 0, {}
    local f = { set_device = function(_, t)
      local bytes = encoded(t)
      sizes[#sizes + 1] = #bytes
      local m = device:decode(bytes)
      assert.equal(#sizes == 1 and KEY or nil, m.private_key)
      assert.same(#sizes == 1 and { replace_peers = true } or nil, m.flags)
      assert.equal("wg0", m.ifname)
      for _, p in ipairs(m.peers) do
        if p.public_key == OTHER then
          assert.same(#of_other == 0 and { replace_allowedips = true } or nil, p.flags)
          for _, ip in ipairs(p.allowedips) do
            of_other[#of_other + 1] = ip.ipaddr .. "/" .. ip.cidr_mask
          end
        else
          seen = seen + 1
        end
      end
    end }
    S.methods.set(f, { dev = "wg0", private_key = KEY, replace_peers = true, peers = peers })
    assert.is_true(#sizes > 2)
    assert.equal(599, seen)
    assert.same(ips, of_other)
    assert.equal(600, #peers)
    assert.equal(3000, #peers[301].allowed_ips)
  end)

  it("has the path of what the kernel refuses", function()
    local bytes = encoded { dev = "wg0", private_key = KEY, peers = { { public_key = PEER }, { public_key = OTHER, endpoint = "10.0.0.1:1",
      allowed_ips = { "10.0.0.0/8", "10.1.0.0/16" } } } }
    local at = {}
    for offset = 4, #bytes - 1 do
      local path, value = device:path(bytes, offset)
      at[path or ""] = value
    end
    assert.equal(KEY, at.private_key)
    assert.equal(OTHER, at["peers[2].public_key"])
    assert.equal("10.0.0.1:1", at["peers[2].endpoint"])
    assert.equal(16, at["peers[2].allowedips[2].cidr_mask"])
  end)

  it("makes keys", function()
    local one, two = S.methods.genkey { schema = S }, S.methods.genkey { schema = S }
    assert.equal(44, #one)
    assert.not_equal(one, two)
    local bytes = device:encode { private_key = one }:sub(-32)
    assert.equal(0, bytes:byte(1) % 8)
    assert.equal(1, math.floor(bytes:byte(32) / 64))
    assert.not_equal(S.methods.genpsk { schema = S }, S.methods.genpsk { schema = S })
    if helper.has "wg" then
      local out, ok = helper.sh(("echo %s | wg pubkey"):format(one))
      assert(ok, out)
    end
  end)

  it("says what is wrong, without the key", function()
    local function says(pattern, t)
      local ok, e = pcall(encoded, t)
      assert.is_false(ok)
      assert.truthy(e:find(pattern), e)
      assert.falsy(e:find("secret", 1, true), e)
      assert.truthy(e:find "genl_wireguard_spec", e)
    end
    says("wireguard%.device%.private_key: base64 text expected", { dev = "wg0", private_key = "secret!" })
    says("wireguard%.device%.peers%[2%]%.public_key: 32 bytes expected, got 3",
      { dev = "wg0", peers = { { public_key = PEER }, { public_key = "AAAA" } } })
    says("wireguard.set_device: unknown key 'privat_key' %(did you mean 'private_key'%?%)", { dev = "wg0", privat_key = KEY })
    says("peers%[1%]: unknown key 'allowed_ip' %(did you mean 'allowed_ips'%?%)", { dev = "wg0", peers = { { public_key = PEER, allowed_ip = {} } } })
    says('allowed_ips: "10.0.0/8" is no address', { dev = "wg0", peers = { { public_key = PEER, allowed_ips = { "10.0.0/8" } } } })
    says("allowed_ips must be a list", { dev = "wg0", peers = { { public_key = PEER, allowed_ips = "10.0.0.0/8" } } })
    says("endpoint: \"ADDRESS:PORT\" expected, got '10.0.0.1'", { dev = "wg0", peers = { { public_key = PEER, endpoint = "10.0.0.1" } } })
    says("remove must be true or false", { dev = "wg0", peers = { { public_key = PEER, remove = "yes" } } })
    says("dev must be the name or index of a link", {})
    says("peers%[1%]: table expected", { dev = "wg0", peers = { PEER } })
  end)

  it("is not there, or carries packets between two namespaces", function()
    local cannot = rtnl.cannot()
    if cannot then
      return pending(cannot)
    end
    finally(helper.close_held)
    local a, b = held(helper.netns { lo = true, label = "a" }), held(helper.netns { lo = true, label = "b" })
    local found, wg = pcall(a.netlink, a, "wireguard")
    if not found then
      assert.equal("ENOENT", wg.code)
      assert.truthy(wg.message:find("modprobe wireguard", 1, true))
      return pending(tostring(wg))
    end
    ns.connect(a, b, { "192.0.2.1/24", "192.0.2.2/24" })
    ns.netlink.kind { kind = "wireguard" }
    local ends = {}
    for i, handle in ipairs { a, b } do
      handle.link:add { name = "wg0", kind = "wireguard" }
      handle.address:add { ("10.7.0.%d/24"):format(i), dev = "wg0" }
      ends[i] = handle:netlink "wireguard"
      ends[i]:set { dev = "wg0", private_key = ends[i]:genkey(), listen_port = 51820 }
    end
    for i, f in ipairs(ends) do
      f:set { dev = "wg0", peers = { { public_key = ends[3 - i]:device "wg0".public_key, endpoint = ("192.0.2.%d:51820"):format(3 - i),
        allowed_ips = { ("10.7.0.%d"):format(3 - i) } } } }
      local handle = i == 1 and a or b
      handle.link:change("wg0", { up = true })
    end
    a:run { "ping", "-c1", "-W5", "10.7.0.2" }:check()
    local peer = ends[1]:device "wg0".peers[1]
    assert.is_true(peer.rx_bytes > 0 and peer.tx_bytes > 0)
    assert.truthy(peer.latest_handshake)
    assert.same({ "10.7.0.2/32" }, peer.allowed_ips)
    local text = helper.fails("ENODEV", ends[1].device, ends[1], "wg9")
    assert.truthy(text:find('wireguard.get_device in a: ENODEV', 1, true), text)
    ends[1]:set { dev = "wg0", peers = { { public_key = peer.public_key, remove = true } } }
    assert.same({}, ends[1]:device "wg0".peers)
  end)
end)
