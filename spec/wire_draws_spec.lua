-- What becomes of frames, in numbers: the chances are what was said, hang on nothing but seed, flow and count, and frames of no sense do no harm.

local core = require "nslua.core"
local impairment = require "nslua.impairment"
local pack = require "spec.pack"

local COUNT = 20000

-- Fates of frames of one flow.
local function forecast(words, options)
  options = options or {}
  local numbers = impairment.numbers("spec", words)
  numbers.seed, numbers.stream = options.seed or 1, options.stream or 0
  return core.wire.forecast(numbers, options.count or COUNT, options.size or 1000, options.gap or 1000000, options.frame)
end

local function part(fates, what)
  local n = 0
  for _, fate in ipairs(fates) do
    n = n + (what(fate) and 1 or 0)
  end
  return n / #fates
end

local function is_lost(fate)
  return fate.lost
end

local function lost(fates)
  local out = {}
  for i, fate in ipairs(fates) do
    out[i] = fate.lost and 1 or 0
  end
  return table.concat(out)
end

-- Within five deviations of what a chance gives; the seed is fixed, so this holds or does not.
local function near(expected, got, n)
  local deviation = math.sqrt(expected * (1 - expected) / (n or COUNT))
  assert.is_true(math.abs(got - expected) <= 5 * deviation, ("%g, not %g"):format(got, expected))
end

describe("draws", function()
  it("lose as many as said", function()
    for _, chance in ipairs { 0.001, 0.01, 0.1, 0.5, 0.9 } do
      near(chance, part(forecast { loss = chance }, is_lost))
    end
    assert.equal(1, part(forecast { loss = 1 }, is_lost))
    assert.equal(0, part(forecast { loss = 0 }, is_lost))
  end)

  it("hang on the seed and on the stream", function()
    local words = { loss = "50%" }
    local first = lost(forecast(words))
    assert.equal(first, lost(forecast(words)))
    for _, other in ipairs { { seed = 2 }, { stream = 1 }, { seed = 4611686018427387904 } } do
      local second = lost(forecast(words, other))
      -- Half of the fates are the same by chance.
      local same = 0
      for i = 1, COUNT do
        same = same + (first:byte(i) == second:byte(i) and 1 or 0)
      end
      near(0.5, same / COUNT)
    end
  end)

  it("are independent of each other: one more chance does not move the others", function()
    local first = lost(forecast { loss = "20%" })
    local fates = forecast { loss = "20%", corrupt = "30%", reorder = "10%", delay = 0.01, jitter = 0.005, duplicate = 0 }
    assert.equal(first, lost(fates))
    near(0.3, part(fates, function(fate)
      return fate[1] and fate[1].corrupted
    end) / 0.8, COUNT * 0.8)
    local both = part(fates, function(fate)
      return fate[1] and fate[1].corrupted and fate[1].first
    end)
    near(0.8 * 0.3 * 0.1, both)
  end)

  it("do not follow one another, unless they are to", function()
    local function repeats(fates)
      local n = 0
      for i = 2, #fates do
        n = n + (fates[i].lost and fates[i - 1].lost and 1 or 0)
      end
      return n / (#fates - 1)
    end
    near(0.01, repeats(forecast { loss = "10%" }))
    local fates = forecast { loss = "10%", loss_correlation = "80%" }
    -- As many are lost, but in runs: after a lost one 0.8 + 0.2 * 0.1 are. The deviation of such a mean is sqrt((1 + c) / (1 - c)) times as wide.
    local rate = part(fates, is_lost)
    near(0.1, rate, COUNT / 9)
    near(0.82, repeats(fates) / rate, COUNT * 0.1)
  end)

  it("lose in bursts", function()
    local fates = forecast { loss = { gemodel = { p = "1%", r = "10%" } } }
    local rate, bursts, inside = part(fates, is_lost), 0, false
    for _, fate in ipairs(fates) do
      bursts = bursts + (fate.lost and not inside and 1 or 0)
      inside = fate.lost
    end
    assert.is_true(math.abs(rate - 1 / 11) < 0.02, rate) -- p / (p + r)
    local length = rate * #fates / bursts -- 1 / r
    assert.is_true(length > 8.5 and length < 11.5, length)
    near(0.25, part(forecast { loss = { gemodel = { p = 0, k = 0.75 } } }, is_lost))
    near(0.6, part(forecast { loss = { gemodel = { p = 1, r = 0, h = "40%" } } }, is_lost))
  end)

  it("duplicate, reorder in turns, and flip bits evenly", function()
    near(0.05, part(forecast { duplicate = "5%" }, function(fate)
      return fate[2]
    end))
    -- Of two copies one is lost: what gets through is the sum.
    local fates = forecast { loss = "50%", duplicate = "50%" }
    local copies = 0
    for _, fate in ipairs(fates) do
      copies = copies + #fate
    end
    assert.is_true(math.abs(copies / COUNT - 1) < 0.03)
    local last
    for i, fate in ipairs(forecast { delay = 1, reorder = 1, gap = 4 }) do
      assert.equal(i % 4 == 0, fate[1].first)
      assert.equal(fate[1].first and 0 or 1e9, fate[1].after)
    end
    near(0.25, part(forecast { delay = 1, reorder = "25%" }, function(fate)
      last = fate[1]
      return last.first
    end))
  end)

  it("jitter evenly, around the delay", function()
    local sum, low, high, quarter = 0, math.huge, 0, 0
    for _, fate in ipairs(forecast { delay = "10ms", jitter = "4ms" }) do
      local ms = fate[1].after / 1e6
      sum, low, high = sum + ms, math.min(low, ms), math.max(high, ms)
      quarter = quarter + (ms < 8 and 1 or 0)
    end
    assert.is_true(math.abs(sum / COUNT - 10) < 0.1, sum / COUNT)
    assert.is_true(low >= 6 and low < 6.01 and high <= 14 and high > 13.99)
    near(0.25, quarter / COUNT)
    for _, fate in ipairs(forecast({ delay = "1ms", jitter = "5ms" }, { count = 1000 })) do
      assert.is_true(fate[1].after >= 0 and fate[1].after <= 6e6)
    end
    local fates = forecast { delay = "10ms", jitter = "4ms", correlation = "90%" }
    local same = 0
    for i = 2, #fates do
      same = same + (fates[i][1].after == fates[i - 1][1].after and 1 or 0)
    end
    near(0.9, same / (COUNT - 1))
  end)

  it("jitter as netem's distributions do", function()
    -- Mean, deviation and quantiles of iproute2's tables.
    local known = {
      normal = { 0, 1, -1.645, -0.674, 0, 0.675, 1.645 },
      pareto = { -0.0335, 0.8197, -0.644, -0.532, -0.32, 0.117, 1.618 },
      paretonormal = { -0.0253, 0.8339, -0.894, -0.568, -0.24, 0.256, 1.625 },
    }
    for name, want in pairs(known) do
      local function late(options)
        local out, sum, squares = {}, 0, 0
        for i, fate in ipairs(forecast({ delay = 100, jitter = 1, distribution = name, correlation = options.correlation }, options)) do
          out[i] = fate[1].after / 1e9 - 100
          sum, squares = sum + out[i], squares + out[i] ^ 2
        end
        return out, sum / #out, math.sqrt(squares / #out - (sum / #out) ^ 2)
      end
      local list, mean, deviation = late {}
      table.sort(list)
      local got = { mean, deviation }
      for i, q in ipairs { 0.05, 0.25, 0.5, 0.75, 0.95 } do
        got[i + 2] = list[math.floor(COUNT * q)]
      end
      for i, value in ipairs(want) do
        assert.is_true(math.abs(got[i] - value) < 0.06, ("%s %d: %g, not %g"):format(name, i, got[i], value))
      end
      assert.is_true(list[1] >= -4 and list[COUNT] <= 4)
      local once, again = late { correlation = "50%", count = 500 }, late { correlation = "50%", count = 500 }
      assert.same(once, again)
      local same = 0
      for i = 2, #once do
        same = same + (once[i] == once[i - 1] and 1 or 0)
      end
      near(0.5, same / (#once - 1), 500)
      assert.are_not.same(once, (late { correlation = "50%", count = 500, seed = 2 }))
    end
    for text, words in pairs { ["did you mean 'pareto'"] = { delay = 1, jitter = 1, distribution = "paretto" },
      ["distribution is of jitter"] = { delay = 1, distribution = "normal" } } do
      local ok, e = pcall(forecast, words)
      assert.is_false(ok)
      assert.is_true(tostring(e):find(text, 1, true) ~= nil, tostring(e))
    end
  end)

  it("send one after the other at a rate, and the delay comes on top", function()
    -- 1000 bytes at 8 Mbit/s take 1 ms; they come every 0.1 ms.
    local fates = forecast({ rate = "8mbit", delay = "5ms" }, { count = 100, gap = 100000 })
    for i, fate in ipairs(fates) do
      assert.equal(5e6 + i * 1e6 - (i - 1) * 1e5, fate[1].after)
    end
    for _, fate in ipairs(forecast({ rate = "8mbit" }, { count = 100, gap = 2000000 })) do
      assert.equal(1e6, fate[1].after)
    end
  end)

  it("turn segmentation off, but for a delay alone", function()
    for _, words in ipairs { {}, { delay = "10ms" }, { delay = 1, seed = 3 }, { loss = 0 } } do
      assert.is_false(impairment.numbers("spec", words).each_packet)
    end
    for _, words in ipairs { { loss = "1%" }, { rate = 1e6 }, { limit = 100 }, { delay = 1, jitter = 0.1 }, { each_packet = true },
      { loss = { gemodel = { p = 1 } } } } do
      assert.is_true(impairment.numbers("spec", words).each_packet)
    end
  end)
end)

-- Frames ------------------------------------------------------------------------------------------------------------------------------

local function be16(n)
  return string.char(math.floor(n / 256), n % 256)
end

local ETHER = ("\2\0\0\0\0\1"):rep(2)

local function ipv4(protocol, payload, options)
  options = options or {}
  return ETHER .. (options.tag or "") .. "\8\0\69\0" .. be16(20 + #payload) .. "\0\0" .. be16(options.fragment or 0) .. "\64"
    .. string.char(protocol) .. "\0\0" .. (options.src or "\10\0\0\1") .. "\10\0\0\2" .. payload
end

local function ipv6(next_header, payload)
  return ETHER .. "\134\221\96\0\0\0" .. be16(#payload) .. string.char(next_header) .. "\64" .. ("\253" .. ("\0"):rep(15)):rep(2) .. payload
end

local function ports(from, to)
  return be16(from) .. be16(to) .. ("\0"):rep(16)
end

describe("flows", function()
  local function sequence(frame)
    return lost(forecast({ loss = "50%" }, { count = 200, frame = frame }))
  end

  it("are of addresses, protocol and service", function()
    local udp = sequence(ipv4(17, ports(40000, 53)))
    assert.equal(udp, sequence(ipv4(17, ports(50000, 53)))) -- the port that a client is given by chance
    assert.equal(udp, sequence(ipv4(17, ports(53, 40000))))
    for _, other in ipairs { ipv4(6, ports(40000, 53)), ipv4(17, ports(40000, 54)), ipv4(17, ports(40000, 53), { src = "\10\0\0\3" }),
      ipv4(17, ports(40000, 53), { tag = "\129\0\0\7" }), ipv4(1, "\8\0"), ipv4(17, ports(40000, 53), { fragment = 0x2000 }),
      ipv6(17, ports(40000, 53)), ETHER .. "\8\6" .. ("\0"):rep(28) } do
      assert.are_not.equal(udp, sequence(other))
    end
    assert.equal(sequence(ipv4(17, ports(1, 2), { fragment = 0x2000 })), sequence(ipv4(17, ports(3, 4), { fragment = 0x00b9 })))
    assert.equal(sequence(ipv4(1, "\8\0\1\1\7\7\0\1")), sequence(ipv4(1, "\8\0\1\1\8\8\0\2"))) -- the number of a ping
    assert.are_not.equal(sequence(ipv4(1, "\8\0\1\1")), sequence(ipv4(1, "\0\0\1\1")))
    local through = ipv6(0, "\17\0" .. ("\0"):rep(6) .. ports(40000, 53))
    assert.equal(sequence(ipv6(17, ports(40000, 53))), sequence(through))
  end)

  it("are found in anything, without harm", function()
    local frames = { ipv4(17, ports(40000, 53)), ipv4(17, "", { tag = ("\129\0\0\7"):rep(40) }), ipv6(17, ports(1, 2)),
      ipv6(0, "\60\255" .. ("\0"):rep(20)), ipv6(0, ("\0"):rep(600)), ipv6(44, ("\255"):rep(8)), ("\255"):rep(64), "" }
    for _, frame in ipairs(frames) do
      for n = 0, #frame do
        assert.equal(1, #core.wire.forecast({ loss = 0.5, each_packet = true, limit = 1 }, 1, 100, 1, frame:sub(1, n)))
      end
    end
  end)
end)

describe("a corrupted frame", function()
  local function sum(text)
    local total = 0
    for i = 1, #text, 2 do
      total = total + text:byte(i) * 256 + (text:byte(i + 1) or 0)
    end
    while total > 65535 do
      total = total % 65536 + math.floor(total / 65536)
    end
    return total
  end

  -- struct virtio_net_hdr
  local function header(flags, gso, start, offset)
    return pack("<BBI2I2I2I2", flags, gso, 0, 0, start, offset)
  end

  local function pseudo(payload)
    return "\10\0\0\1\10\0\0\2" .. be16(17) .. be16(#payload)
  end

  it("had a checksum made first", function()
    for _, text in ipairs { "hello", "hell", "" } do
      local udp = be16(40000) .. be16(53) .. be16(8 + #text) .. "\0\0" .. text
      local partial = udp:sub(1, 6) .. be16(sum(pseudo(udp))) .. udp:sub(9)
      local frame = ipv4(17, partial)
      -- The bit is the first of the destination address: the datagram is as it was.
      local out = core.wire.corrupt(header(1, 0, 34, 6) .. frame, 0)
      assert.equal(("\0"):rep(10), out:sub(1, 10))
      assert.equal(frame:byte(1) + 1, out:byte(11))
      assert.equal(65535, sum(pseudo(udp) .. out:sub(11 + 34)))
      assert.equal(frame:sub(2, 40), out:sub(12, 50))
    end
  end)

  it("differs in one bit, anywhere", function()
    local frame = ipv4(17, ports(1, 2))
    for bit = 0, #frame * 8 + 7 do
      local out = core.wire.corrupt(header(0, 0, 0, 0) .. frame, bit):sub(11)
      local differ = 0
      for i = 1, #frame do
        local a, b = frame:byte(i), out:byte(i)
        while a + b > 0 do
          differ = differ + (a % 2 ~= b % 2 and 1 or 0)
          a, b = math.floor(a / 2), math.floor(b / 2)
        end
      end
      assert.equal(1, differ)
    end
  end)

  it("is left alone where its header says nonsense", function()
    for _, where in ipairs { { 65535, 65535 }, { 34, 65535 }, { 200, 0 }, { 53, 0 }, { 0, 0 } } do
      for n = 0, 30 do
        local data = header(1, 0, where[1], where[2]) .. ("x"):rep(n)
        assert.equal(#data, #core.wire.corrupt(data, 7))
      end
    end
    assert.equal("abc", core.wire.corrupt("abc", 1))
  end)
end)
