-- A journal of what happened in network namespaces, read: what was at a time, what changed between two.

local core = require "nslua.core"
local diff = require "nslua.inspect.record.diff"
local errors = require "nslua.error"
local objects = require "nslua.inspect.record.objects"
local snapshot = require "nslua.inspect.record.snapshot"

local M = {}

---@class nslua.Journal
---@field first number  seconds since 1970: when the state it began with was written; `last`: of its last line
---@field last number
---@field torn boolean  its last line was not written to the end: the recorder was killed
---@field bad integer   lines that cannot be read, of a file that was damaged: left out
local Journal = { __name = "nslua.Journal" }
Journal.__index = Journal

---@class nslua.JournalEntry
---@field time number       seconds since 1970
---@field action string     "existing", "new", "delete", "netns_new", "netns_gone", "overrun"; "named": what the namespace is called was found out;
---"begin": a recorder began, with the state that follows
---@field what? string      "link", "address", ...
---@field object? table
---@field netns? string
---@field inode? integer
---@field container? string
---@field silent? boolean   the kernel told nothing of it: found by looking (IPv4 routes go so with their link)

local function fail(path, message, hint)
  errors.raise { call = "journal.open", message = message, detail = path, hint = hint }
end

local function decoder()
  local ok, dkjson = pcall(require, "dkjson")
  if not ok then
    fail(nil, "a journal is JSON, and the Lua module dkjson that reads it is missing", "apt-get install lua-dkjson, or luarocks install dkjson")
  end
  return dkjson.decode
end

-- Whether what is told of an object says which it is.
local function identified(entry)
  local ok, key = pcall(objects.identity[entry.what] or error, entry.object)
  return ok and key ~= nil and (entry.what ~= "link" or entry.object.index ~= nil)
end

-- dkjson has floats where the text has integers beyond its liking; keys of what we wrote are integers again.
local function lines_of(path, out)
  local f <close>, message = io.open(path, "rb")
  if not f then
    fail(nil, message)
  end
  local decode, torn, n, bad = decoder(), false, 0, 0
  for line in f:lines "L" do
    n = n + 1
    if line:sub(-1) ~= "\n" then
      torn = true
      break
    end
    local ok, entry = pcall(decode, line, 1, nil)
    local whole = ok and type(entry) == "table" and type(entry.time) == "number" and type(entry.action) == "string"
      and (entry.object == nil or identified(entry))
      and (entry.action == "begin" or math.type(entry.inode) == "integer")
    if n == 1 and not (whole and entry.action == "begin") then
      fail(path, "the file is no journal of nslua record")
    elseif whole then
      -- a clock that was set back does not change what came first
      local before = out[#out]
      entry.at = before and math.max(before.at, entry.time) or entry.time
      out[#out + 1] = entry
    else
      bad = bad + 1
    end
  end
  return torn, bad
end

---Read a journal that `nslua record -o FILE` wrote, and FILE.1 before it, where there is one.
---@param path string
---@return nslua.Journal
function M.open(path)
  if type(path) ~= "string" then
    errors.misuse("journal.open: the path of a file expected, got %s", type(path))
  end
  local self = setmetatable({ path = path, entries = {} }, Journal)
  if core.file.stat(path) and core.file.stat(path .. ".1") then
    self.bad = select(2, lines_of(path .. ".1", self.entries))
  end
  local torn, bad = lines_of(path, self.entries)
  self.torn, self.bad = torn, (self.bad or 0) + bad
  local first, last = self.entries[1], self.entries[#self.entries]
  if not first then
    fail(path, "the file is empty")
  end
  self.first, self.last = first.at, last.at
  for _, e in ipairs(self.entries) do -- what was there when it began is of its begin
    if e.action ~= "begin" and e.action ~= "existing" and e.action ~= "named" then
      break
    end
    self.first = e.at
  end
  return self
end

-- Objects by namespace; an entry changes them.
local function apply(state, e)
  if e.action == "begin" then
    state.spaces, state.order = {}, {}
    return
  end
  local space = state.spaces[e.inode]
  if e.action == "netns_gone" then
    state.spaces[e.inode] = nil
    return
  elseif not space then
    space = { inode = e.inode, objects = {} }
    state.spaces[e.inode] = space
    state.order[#state.order + 1] = space
  end
  space.netns, space.container = e.netns or space.netns, e.container or space.container
  if e.action == "overrun" then
    space.objects = {}
  elseif e.what and e.object then
    local of = space.objects[e.what] or {}
    space.objects[e.what] = of
    local key = objects.identity[e.what](e.object)
    if e.action == "delete" then
      of[key] = nil
    else
      of[key] = { at = of[key] and of[key].at or state.count, object = e.object }
      state.count = state.count + 1
    end
  end
end

-- Names of links as they are at that time: an event tells those of its own.
local named
function named(object, names)
  local out = {}
  for key, value in pairs(object) do
    out[key] = value
  end
  if out.dev_index then
    out.dev = names[out.dev_index] or out.dev
  end
  if out.master_index then
    out.master = names[out.master_index] or out.master
  end
  local hops = out.nexthops and {}
  for i, hop in ipairs(out.nexthops or {}) do
    hops[i] = named(hop, names)
  end
  out.nexthops = hops
  return out
end

local function state_of(state, time)
  local out = {}
  for _, space in ipairs(state.order) do
    if state.spaces[space.inode] == space then
      local t = { netns = space.netns, inode = space.inode, container = space.container }
      local names = {}
      for _, entry in pairs(space.objects.link or {}) do
        names[entry.object.index] = entry.object.name
      end
      for _, what in ipairs(objects.all) do
        local list = {}
        for _, entry in pairs(space.objects[what] or {}) do
          list[#list + 1] = entry
        end
        table.sort(list, function(a, b)
          return a.at < b.at
        end)
        for i, entry in ipairs(list) do
          list[i] = named(entry.object, names)
        end
        t[what] = list
      end
      out[#out + 1] = t
    end
  end
  table.sort(out, function(a, b)
    local one, other = tostring(a.netns), tostring(b.netns)
    return one < other or one == other and a.inode < b.inode
  end)
  return snapshot.new(time, out)
end

---The state at a time: what had been told until then.
---@param time number  seconds since 1970
---@return nslua.Snapshot
function Journal:at(time)
  local state = { spaces = {}, order = {}, count = 0 }
  for _, e in ipairs(self.entries) do
    if e.at > time then
      break
    end
    apply(state, e)
  end
  return state_of(state, time)
end

---What changed from one time to another.
---@param from number
---@param to number
---@return nslua.Diff
function Journal:diff(from, to)
  return diff.diff(self:at(from), self:at(to))
end

---Entries from one time to another, without the states that recorders began with.
---@param from? number
---@param to? number
---@return fun(): nslua.JournalEntry?
function Journal:events(from, to)
  local i, known = 0, {}
  return function()
    while true do
      i = i + 1
      local e = self.entries[i]
      if not e or to and e.at > to then
        return nil
      end
      local space = e.inode and (known[e.inode] or {})
      if space then -- the name that was known last
        known[e.inode] = space
        space.netns, space.container = e.netns or space.netns, e.container or space.container
      end
      if e.action ~= "existing" and e.action ~= "begin" and e.action ~= "named" and not (from and e.at < from) then
        return setmetatable({ netns = space.netns, container = space.container }, { __index = e })
      end
    end
  end
end

---When a time is, in seconds since 1970: "14:03", "14:03:22.5" (of the day of the journal's end), "2026-11-26 14:03", "@1764165802",
---"+10s" after its begin, "-5m" before its end, "begin", "end". Times of day are local.
---@param text string|number
---@return number
function Journal:time(text)
  if type(text) == "number" then
    return text
  end
  local units = require "nslua.units"
  local word = tostring(text)
  if word == "begin" or word == "start" then
    return self.first
  elseif word == "end" then
    return self.last
  elseif word:find "^@%d+%.?%d*$" then
    return tonumber(word:sub(2)) --[[@as number]]
  elseif word:find "^[+-]" then
    local seconds = units.duration(tonumber(word:sub(2)) or word:sub(2), "time")
    return word:sub(1, 1) == "+" and self.first + seconds or self.last - seconds
  end
  local date, clock = word:match "^(%d+%-%d+%-%d+)[T ](.+)$"
  local hour, minute, rest = (clock or word):match "^(%d%d?):(%d%d)(.*)$"
  local second = rest == "" and "0" or rest and rest:match "^:(%d%d?%.?%d*)$"
  local day = os.date("*t", math.floor(self.last))
  if date then
    local y, m, d = date:match "^(%d%d%d%d)%-(%d%d?)%-(%d%d?)$"
    day.year, day.month, day.day = tonumber(y), tonumber(m), tonumber(d)
  end
  if not second or not day.year or tonumber(hour) > 23 or tonumber(minute) > 59 or tonumber(second) >= 61 then
    errors.misuse("%q is no time: 14:03, 14:03:22.5, 2026-11-26T14:03, @SECONDS, +10s (after the begin), -5m (before the end), begin or end", word)
  end
  local whole = math.floor(tonumber(second) --[[@as number]])
  return os.time { year = day.year, month = day.month, day = day.day, hour = tonumber(hour), min = tonumber(minute), sec = whole }
    + (tonumber(second) - whole)
end

return M
