-- Distributions of netem's jitter: tables of what to add, in 1/8192 of it, each as likely as the other. tc-netem(8).

local errors = require "nslua.error"
local unknown = require("nslua.check").unknown

local M = {}

local SCALE, LONGEST = 8192, 16384 -- NETEM_DIST_SCALE, NETEM_DIST_MAX of linux/pkt_sched.h
local FILES = { normal = true, pareto = true, paretonormal = true, experimental = true }
local NAMES = { "normal", "pareto", "paretonormal", "experimental", "uniform" }

-- Where iproute2 keeps its tables: text of numbers, "#" begins a comment.
local folders = { "/usr/lib/tc/", "/lib/tc/", "/usr/lib64/tc/", "/usr/share/tc/", "/usr/lib/x86_64-linux-gnu/tc/", "/usr/lib/aarch64-linux-gnu/tc/" }

local function from_file(path)
  local file = io.open(path, "r")
  if not file then
    return nil
  end
  local list = {}
  for line in file:lines() do
    for number in line:gsub("#.*", ""):gmatch "%S+" do
      list[#list + 1] = tonumber(number)
    end
  end
  file:close()
  return list[1] and list
end

-- The inverse of the normal distribution at the middles of 4096 equal parts, by adding up its density.
local function normal()
  local list, step = {}, 1 / 4096
  local sum, x, width = 0, -6, 1 / 8192
  local scale = width / math.sqrt(2 * math.pi)
  for i = 1, 4096 do
    while sum < (i - 0.5) * step and x < 6 do
      x = x + width
      sum = sum + scale * math.exp(-(x - width / 2) ^ 2 / 2)
    end
    list[i] = math.max(-32768, math.min(32767, math.floor(x * SCALE + 0.5)))
  end
  return list
end

local function pareto()
  local list = {}
  for i = 1, 4096 do
    list[i] = math.min(32767, math.floor((((1 - (i - 0.5) / 4096) ^ (-1 / 3)) - 1.5) * 4 / 3 * SCALE + 0.5))
  end
  return list
end

local function paretonormal()
  local a, b = normal(), pareto()
  for i = 1, 4096 do
    a[i] = math.floor(0.25 * a[i] + 0.75 * b[i] + 0.5)
  end
  return a
end

-- What they are where there are no such files.
local made = { normal = normal, pareto = pareto, paretonormal = paretonormal }

local function check(list, what)
  if #list == 0 or #list > LONGEST then
    errors.misuse("%s: a distribution has 1 to %d numbers, not %d", what, LONGEST, #list)
  end
  for i, value in ipairs(list) do
    if type(value) ~= "number" or value % 1 ~= 0 or value < -32768 or value > 32767 then
      errors.misuse("%s: [%d] must be a whole number of 16 bits: so many 8192ths of the jitter", what, i)
    end
  end
  return list
end

---The table of a distribution.
---@param value string|integer[]  "normal", "pareto", "paretonormal", "experimental", "uniform"; a path of such a file; or the table itself
---@param what string  for messages
---@return integer[]?  nil for "uniform", which has none
function M.table(value, what)
  if type(value) == "table" then
    return check(value, what)
  elseif value == "uniform" then
    return nil
  elseif type(value) ~= "string" then
    errors.misuse("%s must be a name or a table, got %s", what, type(value))
  end
  if value:find("/", 1, true) then
    return check(from_file(value) or errors.misuse("%s: %s cannot be read", what, value), what)
  elseif not FILES[value] then
    errors.misuse("%s: %s", what, unknown("distribution", value, NAMES))
  end
  local own = os.getenv "TC_LIB_DIR"
  local list = own and from_file(own .. "/" .. value .. ".dist")
  for _, folder in ipairs(folders) do
    list = list or from_file(folder .. value .. ".dist")
  end
  list = list or made[value] and made[value]()
  return check(list or errors.misuse("%s: no %s.dist of iproute2 on this machine: give the table itself", what, value), what)
end

return M
