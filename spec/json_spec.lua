-- JSON of others, read: beside lua-cjson, and texts that are none.

local cjson = require "cjson"
local core = require "nslua.core"

local decode = core.json.decode

describe("JSON", function()
  it("is read as lua-cjson reads it", function()
    for _, text in ipairs {
      '{"a":1,"b":[1,2,{"c":"d"}],"e":{},"f":[],"g":true,"h":false}', " [ 1 , -2.5e3 , 0.1 , 1e-2, 12345678901234 ] ", '"a\\u00e9\\n\\t\\"\\\\\\/"',
      '["\\ud83d\\ude00", "\\u20ac", "\\u0000x", "é€😀"]', '{"a":{"b":{"c":[[[[1]]]]}},"":0}', '\r\n{"k" :\t"v"\n}\n', "-0", "3", "[[],{},[{}]]",
      ('["%s"]'):format(("x"):rep(5000) .. "\\n" .. ("y"):rep(5000)), '{"same":1,"same":2}',
    } do
      local got, message = decode(text)
      assert.is_nil(message, text)
      assert.same(cjson.decode(text), got, text)
    end
    assert.equal("integer", math.type(decode "12"))
    assert.equal("float", math.type(decode "12.0"))
    assert.same({ b = 2 }, decode '{"a":null,"b":2}')
    assert.same({ "\xef\xbf\xbd", "\xef\xbf\xbdx" }, decode '["\\ud800", "\\udc00x"]')
  end)

  it("is refused where it is none", function()
    for text, message in pairs {
      [""] = "it ends before it is whole at byte 1", ["{"] = "no key at byte 2", ['{"a"}'] = "a colon is missing at byte 5",
      ['{"a":1'] = "an object has no end",
      ["[1"] = "a list has no end", ["[1,]"] = "no value", ["[1 2]"] = "a list has no end", ['"abc'] = "a string has no end",
      ['"a\\'] = "a string has no end",
      ['"\\x"'] = "no escape", ['"\\u12g4"'] = "no escape", ["tru"] = "no value", ["nul"] = "no value", ["{} x"] = "something follows it at byte 4",
      ["1-2"] = "no number", ["--1"] = "no number", ["1e999"] = "no number", ["+"] = "no value", ["'a'"] = "no value", ["{a:1}"] = "no key",
      [("["):rep(200)] = "too many levels", [("1"):rep(100)] = "no value", ["\0"] = "no value",
    } do
      local got, why = decode(text)
      assert.is_nil(got, text)
      assert.is_truthy(why:find(message, 1, true), text .. ": " .. why)
    end
  end)

  it("of an object has those keys that are wanted", function()
    local text = '{"a":{"x":[1,"]}",{}]},"b":"\\"}","c":[1,{"a":2}],"d":5.5,"e":true}'
    assert.same({ c = { 1, { a = 2 } }, e = true }, decode(text, { c = true, e = true }))
    assert.same({}, decode(text, {}))
    assert.same({}, decode("{}", {}))
    for _, cut in ipairs { 3, 10, 20, 30, #text - 1 } do
      assert.is_nil((decode(text:sub(1, cut), { e = true })))
    end
  end)

  it("survives what is cut or turned at random", function()
    local text = '{"State":{"Running":true,"Pid":12},"Config":{"Labels":{"a\\n":"\\u00e9"},"Env":["A=1"]},"n":[1,2.5,-3e2,null]}'
    local seed = 7
    for _ = 1, 3000 do
      seed = (seed * 1103515245 + 12345) % 2147483648
      local at = seed // 65536 % #text + 1
      local turned = text:sub(1, at - 1) .. string.char(seed // 256 % 256) .. text:sub(at + seed % 3)
      decode(turned)
      decode(turned, { State = true })
      decode(text:sub(1, at))
    end
  end)
end)
