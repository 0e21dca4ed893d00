-- Text in lines that fit a terminal.

---@param text string
---@param indent string  of all lines but the first
---@param width integer
---@return string
return function(text, indent, width)
  local lines, line = {}, ""
  for word in text:gmatch "%S+" do
    if #line + #word + 1 > width and line ~= "" then
      lines[#lines + 1], line = line, ""
    end
    line = line == "" and word or line .. " " .. word
  end
  lines[#lines + 1] = line
  return table.concat(lines, "\n" .. indent)
end
