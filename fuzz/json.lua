-- What json.c checks of any bytes: what is read is read again from how it is written, and what only some keys are wanted of says the same of these.

local json = ...

-- Called by make with a folder: what the fuzzer starts from.
if type(json) == "string" then
  for i, text in ipairs {
    [[{"State":{"Running":true,"Pid":812,"StartedAt":"2026-01-02T03:04:06Z"},"Config":{"Labels":{"a":"b\u00e9\n"}},"Name":"/web","Created":null}]],
    [[ [ {"id":"a1b2","names":["web"],"metadata":"{\"pod-id\":\"x\"}"} , [], {}, [null,1], 1.5e3, -0, 123456789012345678901 ] ]],
    [["\ud83d\ude00\ud83d\"\\\/\b\f\r\t"]], ("["):rep(101), [[{"a":{"b":[1,"}\"",{"c":2}]},"Name":"x","b":"]","State":[false]}]], "{}", "[1,2", "-",
  } do
    local f = assert(io.open(("%s/%d"):format(json, i), "wb"))
    f:write(text)
    f:close()
  end
  return
end

local write

local function quoted(text)
  return '"' .. text:gsub('[%c"\\]', function(c)
    return ("\\u%04x"):format(c:byte())
  end) .. '"'
end

local function list(t)
  local most, out = 0, {}
  for i in pairs(t) do
    most = math.max(most, i)
  end
  for i = 1, most do
    out[i] = write(t[i])
  end
  return "[" .. table.concat(out, ",") .. "]"
end

local function object(t)
  local out = {}
  for key, value in pairs(t) do
    out[#out + 1] = quoted(key) .. ":" .. write(value)
  end
  return "{" .. table.concat(out, ",") .. "}"
end

function write(value)
  if type(value) == "table" then
    return type(next(value)) == "number" and list(value) or object(value)
  elseif type(value) == "string" then
    return quoted(value)
  end
  return value == nil and "null" or math.type(value) == "float" and ("%.17g"):format(value) or tostring(value)
end

local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then
    return a == b
  end
  for key, value in pairs(a) do
    if not same(value, b[key]) then
      return false
    end
  end
  for key in pairs(b) do
    if a[key] == nil then
      return false
    end
  end
  return true
end

local keys = { State = true, Name = true, a = true, [""] = true }

---@param text string
return function(text)
  local value, message = json.decode(text)
  local some, wrong = json.decode(text, keys)
  if message then
    local at = math.tointeger(message:match "^no JSON: .* at byte (%d+)$")
    assert(value == nil and at >= 1 and at <= #text + 1, message)
  else
    assert(not wrong, wrong)
    assert(same(value, (json.decode(write(value)))), "what was written is read as something else")
  end
  if wrong then
    local at = math.tointeger(wrong:match "^no JSON: .* at byte (%d+)$")
    assert(some == nil and at >= 1 and at <= #text + 1, wrong)
  elseif not message and text:find "^[ \n\t\r]*{" then
    for key in pairs(value) do
      assert(same(some[key], keys[key] and value[key] or nil), key)
    end
    for key in pairs(some) do
      assert(keys[key] and value[key] ~= nil, key)
    end
  elseif not message then
    assert(same(some, value), "keys are of an outermost object alone")
  end
end
