-- What the pictures in SVG share: escapes, colours for light and dark, the paper. Without variables: not every viewer knows them.

local plain = require "nslua.draw.plain"

local M = {}

M.margin = 24 -- around the picture, in pixels

---Text of others as text of SVG.
---@param s string
---@return string
function M.escape(s)
  return (plain.text(s):gsub("[&<>\"']", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&apos;" }))
end

local RULES = [[
.paper { fill: $paper }
text { font: 13px system-ui, sans-serif; fill: $ink; text-anchor: middle }
.name { font-weight: 600 }
.small { font-size: 11px; fill: $soft }
.plate { fill: $paper }
.link { stroke: $line; stroke-width: 1.6px; fill: none }
]]

local colours = {
  light = { ink = "#1d2733", soft = "#4d5c6b", line = "#8795a5", paper = "#ffffff", bad = "#c0392b" },
  dark = { ink = "#e8edf2", soft = "#b3bfca", line = "#7b8a99", paper = "#151b21", bad = "#ff7b6b" },
}

---The style sheet: what all pictures have, and rules of one, whose $words are colours.
---@param rules string
---@param light table<string, string>  "host" -> "#e3f0fb"
---@param dark table<string, string>
---@return string
function M.styles(rules, light, dark)
  local function of(name, own)
    return ((RULES .. rules):gsub("%$(%a+)", function(word)
      return own[word] or colours[name][word]
    end))
  end
  return of("light", light) .. "@media (prefers-color-scheme: dark) {\n" .. of("dark", dark) .. "}\n"
end

---Begin a picture.
---@param w number       without the margins
---@param h number
---@param title string
---@param styles string
---@return string[] out
---@return fun(format: string, ...) add
function M.open(w, h, title, styles)
  w, h = w + 2 * M.margin, h + 2 * M.margin
  local out = { ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" role="img">'):format(w, h, w, h),
    "<title>" .. M.escape(title) .. "</title>", "<style>" .. styles .. "</style>",
    ('<rect class="paper" width="%.0f" height="%.0f"/>'):format(w, h), ('<g transform="translate(%d %d)">'):format(M.margin, M.margin) }
  return out, function(format, ...)
    out[#out + 1] = format:format(...)
  end
end

---@param out string[]
---@return string
function M.close(out)
  out[#out + 1] = "</g>\n</svg>\n"
  return table.concat(out, "\n")
end

return M
