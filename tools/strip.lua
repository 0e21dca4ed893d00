-- Compiled Lua without the names of locals and upvalues, which are half of what there is to load. Sources and lines stay: tracebacks tell them.
-- The form is that of lundump.c and ldump.c of Lua 5.4; what does not read to its end as that is left as it was.

local CONSTANTS = { [0x00] = 0, [0x01] = 0, [0x11] = 0, [0x03] = 8, [0x13] = 8 } -- nil, false, true, integer, float: bytes after the tag
local STRINGS = { [0x04] = true, [0x14] = true }                                 -- short, long
local HEADER = 4 + 1 + 1 + 6 + 3 + 8 + 8 -- signature, version, format, data, three sizes, an integer, a float
local NONE = "\x80" -- the number 0

---@param dump string  what string.dump gives
---@return string
local function strip(dump)
  local at, out, kept = HEADER + 2, {}, 1 -- kept: from here it is not in `out` yet

  local function number() -- 7 bits a byte, the last is marked
    local value = 0
    while true do
      local byte = dump:byte(at)
      at = at + 1
      value = value << 7 | byte & 0x7f
      if byte & 0x80 ~= 0 then
        return value
      end
    end
  end
  local function text() -- its length and 1; 0: none
    local size = number()
    at = at + math.max(size - 1, 0)
  end
  -- What `read` goes over is not kept: it is an empty list instead.
  local function drop(read)
    out[#out + 1] = dump:sub(kept, at - 1)
    for _ = 1, number() do
      read()
    end
    out[#out + 1] = NONE
    kept = at
  end

  local function proto()
    text() -- source
    number() -- first line
    number() -- last line
    at = at + 3 -- parameters, vararg, stack
    at = number() * 4 + at -- code
    for _ = 1, number() do
      local tag = dump:byte(at)
      at = at + 1
      if STRINGS[tag] then
        text()
      else
        at = at + assert(CONSTANTS[tag], "an unknown constant")
      end
    end
    at = number() * 3 + at -- upvalues
    for _ = 1, number() do
      proto()
    end
    at = number() + at -- lines
    for _ = 1, number() do
      number()
      number()
    end
    drop(function() -- locals: a name, from and to
      text()
      number()
      number()
    end)
    drop(text) -- names of upvalues
  end

  proto()
  assert(at == #dump + 1, "a dump of another form")
  out[#out + 1] = dump:sub(kept)
  return table.concat(out)
end

return strip
