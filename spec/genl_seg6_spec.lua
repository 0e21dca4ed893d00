-- Keys of segment routing: what ip(8) sends and what nslua sends are the same, and each shows what the other set.

local helper = require "spec.helper"
local ns = require "nslua"
local rtnl = require "spec.rtnl_helper"
local sent = require "spec.sent"

describe("seg6's family", function()
  local why = rtnl.cannot()
  if why then
    return it("", function()
      pending(why)
    end)
  end

  local a
  before_each(function()
    a = rtnl.netns "a"
  end)
  after_each(rtnl.close)
  teardown(sent.close)

  -- The family, and why it cannot be asked about keys.
  local function family(pending)
    local found, sr = pcall(a.netlink, a, "seg6")
    if not found then
      pending "this kernel has no segment routing (CONFIG_IPV6_SEG6_LWTUNNEL)"
    end
    if not pcall(sr.list, sr, "hmac") then
      pending "this kernel signs no segment routing headers (CONFIG_IPV6_SEG6_HMAC)"
    end
    return sr
  end

  -- What ip says to this, when it is asked for the secret; it reads a terminal where it has one.
  local function asked(arguments, secret)
    return ("sh -c 'echo %s | setsid -w ip sr hmac set %s'"):format(secret, arguments)
  end
  local function shown(what)
    return (rtnl.inside(a, "ip sr " .. what .. " show"))
  end

  it("sends what ip(8) sends", function()
    local sr, cannot = family(pending), sent.cannot()
    if cannot or not helper.has "setsid" then
      return pending(cannot or "needs setsid(1)")
    end
    sent.same(a, asked("7 sha256", "geheim"), 4, function()
      sr:set_hmac { keyid = 7, algo = "sha256", secret = "geheim" }
    end)
    sent.same(a, asked("4294967295 sha1", ("x"):rep(64)), 4, function()
      sr:set_hmac { keyid = 4294967295, algo = "sha1", secret = ("x"):rep(64) }
    end)
    sent.same(a, asked("7 sha1", ""), 4, function()
      sr:set_hmac { keyid = 7, algo = "sha1", secret = false }
    end)
    sent.same(a, "ip sr tunsrc set 2001:db8::1", 4, function()
      sr:set_tunsrc { addr = "2001:db8::1" }
    end)
  end)

  it("sets, lists and takes away keys, as ip(8) shows them", function()
    local sr = family(pending)
    assert.same({}, sr:list "hmac")
    sr:set_hmac { keyid = 7, algo = "sha256", secret = "geheim" }
    assert.equal('hmac 7 algo sha256 secret "geheim"', shown "hmac")
    sr:set_hmac { keyid = 7, algo = "sha1", secret = "anders" }
    assert.equal('hmac 7 algo sha1 secret "anders"', shown "hmac")
    assert.same({ keyid = 7, algo = "sha1", secret = "anders" }, sr:list("hmac")[1]:decode())
    a:batch(function()
      for i = 8, 20 do
        sr:set_hmac { keyid = i, algo = "sha256", secret = ("k%d"):format(i) }
      end
    end)
    local sum = 0
    for row in sr:each "hmac" do
      assert.equal(row.keyid == 7 and "anders" or "k" .. ("%d"):format(row.keyid), row.secret)
      sum = sum + row.keyid
    end
    assert.equal(7 + (8 + 20) * 13 / 2, sum)
    sr:set_hmac { keyid = 7, secret = false }
    assert.equal(13, #sr:list "hmac")
    assert.matches("keyid = 7", helper.fails("ENOENT", sr.set_hmac, sr, { keyid = 7, secret = false }))
    assert.equal("SEG6.set_hmac", select(2, pcall(sr.set_hmac, sr, { keyid = 7, secret = false })).call)
  end)

  it("has the source of tunnels", function()
    local sr = family(pending)
    assert.equal("::", sr:tunsrc().addr)
    sr:set_tunsrc { addr = "2001:db8::1" }
    assert.equal("2001:db8::1", sr:tunsrc().addr)
    assert.equal("tunsrc addr 2001:db8::1", shown "tunsrc")
    rtnl.inside(a, "ip sr tunsrc set 2001:db8::2")
    assert.equal("2001:db8::2", sr:tunsrc().addr)
  end)

  it("says what is wrong", function()
    local sr = family(pending)
    for message, t in pairs {
      ["unknown key 'kyid' (did you mean 'keyid'?)"] = { kyid = 1 },
      ["keyid must be a number from 1, got nil"] = { algo = "sha1", secret = "x" },
      ["keyid must be a number from 1, got 0"] = { keyid = 0, algo = "sha1", secret = "x" },
      ["secret must be text of 1 to 64 bytes, or false, got nil"] = { keyid = 1, algo = "sha1" },
      ["got 65 bytes"] = { keyid = 1, algo = "sha1", secret = ("x"):rep(65) },
      ["algo is needed"] = { keyid = 1, secret = "x" },
      ["did you mean 'sha1'"] = { keyid = 1, algo = "sha2", secret = "x" },
    } do
      local ok, e = pcall(sr.set_hmac, sr, t)
      assert.is_false(ok)
      assert.is_truthy(tostring(e):find(message, 1, true), tostring(e))
    end
  end)

  it("is declared without a socket", function()
    assert.equal("netlink family SEG6", tostring(ns.netlink.seg6))
  end)
end)
