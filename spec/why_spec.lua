-- ns.why: what it says of healthy and broken labs, and that the kernel does what it predicts.

local cjson = require "cjson"
local helper = require "spec.helper"
local ns = require "nslua"
local random = require "spec.why_random"

local cannot = require("spec.rtnl_helper").cannot()
if cannot then
  return it("why", function()
    pending(cannot)
  end)
end

after_each(helper.close_held)

local function lab(text)
  return helper.held(ns.lab(text))
end

local TEXT = [[
  h1 -- r1 -- (sw) -- h2
              (sw) -- h3
]]

local predict = { probe = false }

describe("why", function()
  it("goes hop by hop to who listens, and back", function()
    local l = lab(TEXT)
    l.h2:serve "echo"
    for _, family in ipairs { "inet", "inet6" } do
      local w = ns.why(l.h1, l.h2, 7, { probe = false, family = family })
      assert.is_true(w.ok, tostring(w))
      local kinds = {}
      for _, step in ipairs(w.prediction.forward) do
        kinds[#kinds + 1] = step.kind == "space" and step.space.label or not step.arrives and step.kind or nil
      end
      assert.equal("h1 route neighbour link r1 route neighbour link bridge link h2 route socket", table.concat(kinds, " "))
      local plain = cjson.decode(w:json())
      assert.is_true(plain.ok)
      assert.equal("h2", plain.prediction.forward[#plain.prediction.forward].netns)
    end
  end)

  it("says where it ends, why, and what mends it, which it does", function()
    local l = lab(TEXT)
    l.h2:serve "echo"
    local r1, h1, h2, sw = l.r1, l.h1, l.h2, l.sw
    local cases = {
      { "no_forwarding", "r1", function() r1:sysctl("net.ipv4.ip_forward", 0) end },
      { "no_route", "h1", function() h1.route:delete { "default", family = "inet" } end, function()
        h1.route:add { "default", via = l.r1:address_of "h1" } end },
      { "blackhole", "r1", function() r1.route:add { h2:address_of() .. "/32", type = "blackhole" } end },
      { "rule_prohibit", "r1", function() r1.rule:add { from = h1:address_of(), action = "prohibit", priority = 9 } end },
      { "link_down", "sw", function() sw.link:change("h2", { up = false }) end },
      { "wrong_neighbour", "r1", function() r1.neighbour:replace { h2:address_of(), dev = "eth1", lladdr = "02:ff:ff:ff:ff:ff" } end },
    }
    for _, case in ipairs(cases) do
      case[3]()
      local w = ns.why(h1, h2, 7, predict)
      assert.is_false(w.ok)
      local code = w.code == "neighbour" and w.prediction.finding.because and w.prediction.finding.because.code or w.code
      assert.equal(case[1], code == "port_state" and "link_down" or code, tostring(w))
      assert.is_string(w.why)
      if case[4] then
        case[4]()
      else
        local where, fix = w.fix:match "^in (%S+): (.*)$"
        local r = l.node[where]:run { "sh", "-c", fix }
        assert(r.ok, fix .. ": " .. r.stderr)
      end
      local now = ns.why(h1, h2, 7, predict)
      assert.is_true(now.ok, case[1] .. "\n" .. tostring(now))
    end
  end)

  it("knows who does not listen, and who listens elsewhere", function()
    local l = lab(TEXT)
    l.h3:serve "echo"
    local w = ns.why(l.h1, l.h2, 7, predict)
    assert.same({ "refused", "no_listener", "h2", "ECONNREFUSED" }, { w.verdict, w.code, w.where, w.error })
    assert.matches("nothing listens on tcp port 7 in h2", w:text(), 1, true)
  end)

  it("refuses what it has no sense for", function()
    local l = lab "h1 -- h2"
    assert.error_matches(function() ns.why(l.h1, l.h2, 70000) end, "port")
    assert.error_matches(function() ns.why(l.h1, l.h2, 7, { prot = "udp" }) end, "proto")
    assert.error_matches(function() ns.why(l.h1, l.h2, 7, { proto = "icmp" }) end, "no port")
    assert.error_matches(function() ns.why(l.h1, 12, 7) end, "expected")
  end)
end)

-- What the kernel does with it.
local function really(t, timeout)
  if t.proto == "icmp" then
    local r = t.from:ping(t.address, { count = 1, timeout = timeout })
    return r.received == 1, r.received == 0 and (r.errors[1] and r.errors[1].error or "ETIMEDOUT") or nil
  end
  local r = t.from[t.proto](t.from, t.address, t.port, { timeout = timeout, send = t.proto == "udp" and "x" or nil })
  return r.ok, r.error
end

describe("predictions", function()
  -- NSLUA_WHY_LABS=500: so many; NSLUA_WHY_FROM: from this seed on
  local count, first = tonumber(os.getenv "NSLUA_WHY_LABS" or "") or 40, tonumber(os.getenv "NSLUA_WHY_FROM" or "") or 1
  local probed = lab and helper.has "nft"
  it(("are what the kernel does, in %d random labs"):format(count), function()
    local wrong = {}
    for seed = first, first + count - 1 do
      local l <close>, t, faults = random.make(seed, probed)
      local w = ns.why(t.from, t.address, t.port, { proto = t.proto, probe = false })
      assert.is_truthy(l)
      -- what is predicted to be lost is not waited for: should it come after all, it comes at once
      local ok, e = really(t, w.error == "ETIMEDOUT" and 0.1 or 10)
      if #w.prediction.doubts == 0 and (ok ~= w.ok or e ~= w.error) then
        wrong[#wrong + 1] = ("seed %d (%s): %s\nkernel: %s %s\n%s"):format(seed, t.shape, table.concat(faults, "; "), tostring(ok), tostring(e),
          tostring(w))
      end
    end
    assert.equal("", table.concat(wrong, "\n"))
  end)
end)
