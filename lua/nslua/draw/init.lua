-- What drawings of networks share: where boxes, lines and labels stand, text that may be shown, and pictures in SVG.

local parts = {
  layout = function()
    return require "nslua.draw.layout"
  end,
  plain = function()
    return require "nslua.draw.plain"
  end,
  svg = function()
    return require "nslua.draw.svg"
  end,
}

-- Each is loaded when first asked for: not all who show a text draw.
return setmetatable({}, {
  __index = function(t, key)
    local part = parts[key] and parts[key]()
    rawset(t, key, part)
    return part
  end,
})
