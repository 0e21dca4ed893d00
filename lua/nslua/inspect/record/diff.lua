-- What is different between two states of namespaces: ns.diff(before, after).

local errors = require "nslua.error"
local objects = require "nslua.inspect.record.objects"

local M = {}

---@class nslua.Change
---@field action "added"|"removed"|"changed"
---@field what string          "link", "address", "route", "rule", "neighbour", "conntrack"; "netns": the namespace itself
---@field name string          what it is called: "eth0", "10.0.0.0/24"
---@field netns string         the namespace it is in; `container` likewise, where it is one's
---@field before? table        as it was
---@field after? table         as it is
---@field fields? table<string, { before: any, after: any }>  of what changed: what of it

---@class nslua.Diff
---@field [integer] nslua.Change
local Diff = { __name = "nslua.Diff" }
Diff.__index = Diff

local sign = { added = "+", removed = "-", changed = "~" }

local function text(value)
  return value == nil and "none" or tostring(value)
end

---A change in a line: "~ link eth0: mtu 1500 -> 1400".
---@param change nslua.Change
---@return string
function M.line(change)
  local head = sign[change.action] .. " "
  if change.what == "netns" then
    return head .. "namespace " .. change.name
  elseif change.action ~= "changed" then
    return head .. objects.line(change.what, change.after or change.before)
  end
  local names, out = {}, {}
  for name in pairs(change.fields) do
    names[#names + 1] = name
  end
  table.sort(names)
  for i, name in ipairs(names) do
    out[i] = ("%s %s -> %s"):format(name, text(change.fields[name].before), text(change.fields[name].after))
  end
  return ("%s%s %s: %s"):format(head, change.what, change.name, table.concat(out, ", "))
end

---The changes as text, below the names of their namespaces.
---@return string
function Diff:text()
  local out, last = {}, nil
  for _, change in ipairs(self) do
    if change.what ~= "netns" and change.netns ~= last then
      last = change.netns
      out[#out + 1] = last .. (change.container and " (" .. change.container .. ")" or "") .. ":"
    end
    out[#out + 1] = (change.what == "netns" and "" or "  ") .. M.line(change)
  end
  return table.concat(out, "\n")
end
Diff.__tostring = Diff.text

-- The objects of one kind in one namespace. What is found by a surer key is not looked for by the next.
local function compare(out, what, before, after, about, same)
  local left, right = {}, {}
  for i, object in ipairs(before) do
    left[i] = object
  end
  for i, object in ipairs(after) do
    right[i] = object
  end
  local pairs_of = {}
  for _, key in ipairs(objects.matches(what, same)) do
    local at = {}
    for j = 1, #after do
      if right[j] then
        local k = key(right[j])
        at[k] = at[k] or {}
        table.insert(at[k], j)
      end
    end
    for i = 1, #before do
      local list = left[i] and at[key(left[i])]
      if list and list[1] then
        local j = table.remove(list, 1)
        pairs_of[j] = { left[i], right[j] }
        left[i], right[j] = false, false
      end
    end
  end
  local function change(action, was, is, fields)
    out[#out + 1] = { action = action, what = what, name = objects.name(what, is or was), netns = about.netns, container = about.container,
      before = was or nil, after = is or nil, fields = fields }
  end
  for i = 1, #before do
    if left[i] and not objects.implied(what, left[i]) then
      change("removed", left[i])
    end
  end
  for j = 1, #after do
    local pair = pairs_of[j]
    local fields = pair and objects.changed(what, pair[1], pair[2], not same)
    if fields then
      change("changed", pair[1], pair[2], fields)
    elseif right[j] and not objects.implied(what, right[j]) then
      change("added", nil, right[j])
    end
  end
end

local function is_snapshot(value)
  return type(value) == "table" and type(value.namespaces) == "table"
end

---Compare two snapshots (`ns.snapshot`), or two times of a journal: a list of changes, whose tostring() is text for people. What moves by itself
---(counters, timers, a neighbour that is reachable or stale), or follows from
---another (the kernel's routes of an address), is no change. Namespaces are the same by inode, else by name; two snapshots of one
---namespace each are compared with one another in any case: what makes db different from web.
---@param before nslua.Snapshot
---@param after nslua.Snapshot
---@return nslua.Diff  empty: nothing changed
function M.diff(before, after)
  if not is_snapshot(before) or not is_snapshot(after) then
    errors.misuse("diff: two snapshots expected (ns.snapshot), got %s and %s", type(before), type(after))
  end
  local out = setmetatable({}, Diff)
  local found, partner = {}, {}
  for _, key in ipairs { "inode", "container", "netns" } do
    for i, one in ipairs(before.namespaces) do
      for j, other in ipairs(after.namespaces) do
        if not partner[i] and not found[j] and one[key] ~= nil and one[key] == other[key] then
          partner[i], found[j] = j, i
        end
      end
    end
  end
  if #before.namespaces == 1 and #after.namespaces == 1 then
    partner[1], found[1] = 1, 1
  end
  local function whole(action, space)
    out[#out + 1] = { action = action, what = "netns", name = space.netns .. (space.container and " (" .. space.container .. ")" or ""),
      netns = space.netns, container = space.container }
  end
  for i, space in ipairs(before.namespaces) do
    if not partner[i] then
      whole("removed", space)
    end
  end
  for j, space in ipairs(after.namespaces) do
    local i = found[j]
    if not i then
      whole("added", space)
    else
      local was = before.namespaces[i]
      for _, what in ipairs(objects.all) do
        if was[what] and space[what] then
          compare(out, what, was[what], space[what], space, was.inode == space.inode)
        end
      end
    end
  end
  return out
end

return M
