-- A little of string.pack for every Lua: "<" and ">" (byte order), I1 I2 I4 I8 i1 i2 i4 i8 B x; numbers up to 2^53.

---@param format string
---@return string
return function(format, ...)
  local out, values, n, big = {}, { ... }, 0, false
  for letter, width in format:gmatch "([<>IiBx])(%d?)" do
    if letter == "<" or letter == ">" then
      big = letter == ">"
    elseif letter == "x" then
      out[#out + 1] = "\0"
    else
      n = n + 1
      local v, bytes = values[n], {}
      for i = 1, letter == "B" and 1 or tonumber(width) do
        local low = v % 256
        bytes[i] = string.char(low)
        v = (v - low) / 256
      end
      local text = table.concat(bytes)
      out[#out + 1] = big and text:reverse() or text
    end
  end
  return table.concat(out)
end
