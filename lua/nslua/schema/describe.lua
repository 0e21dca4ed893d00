-- What is declared, for people: messages, sets, structs, unions and families by their path, "link.linkinfo" or "wireguard.set_device.peers".

local check = require "nslua.check"
local plan = require "nslua.schema.plan"

local M = {}

---@class nslua.schema.Node
---@field path string      "link.linkinfo"
---@field book nslua.schema.Book
---@field what "object"|"attributes"|"struct"|"union"|"value"|"family"|"book"
---@field set? string      whose attributes it has
---@field head? string     the struct in front of them, or itself
---@field union? string    the table of its branches
---@field type? nslua.schema.Type  of a value
---@field message? nslua.schema.Message
---@field family? nslua.FamilySchema
---@field command? table   of a family, by whose name it was found

---@class nslua.schema.Entry  one line of a node
---@field number? integer   attribute id; of a struct's member, its offset
---@field key string
---@field type string       as declared
---@field member? boolean   of a struct
---@field flags string[]    multi, nonested, netorder, writeonly
---@field c? string         the C constant of the number
---@field values? { [1]: integer, [2]: string }[]  names of its numbers, ascending
---@field path? string      of what is in it, as for `find`

---What a type is of, below lists and arrays of it.
---@param t nslua.schema.Type
---@return nslua.schema.Type
local function inner(t)
  while t.element do
    t = t.element
  end
  return t
end

local function node_of(book, path, t)
  t = inner(t)
  if t.name == "nest" then
    return { path = path, book = book, what = "attributes", set = t.args[1], head = t.args[2] }
  elseif t.name == "records" then
    return { path = path, book = book, what = "attributes", set = t.args[2], head = t.args[1] }
  elseif t.name == "struct" then
    return { path = path, book = book, what = "struct", head = t.args[1] }
  elseif t.name == "union" then
    return { path = path, book = book, what = "union", union = t.args[2] or t.args[1] }
  end
  return { path = path, book = book, what = "value", type = t }
end

---The declared objects of a book: what rtnetlink's messages are about.
---@param book nslua.schema.Book
---@return table<string, nslua.schema.Node>
function M.objects(book)
  local out = {}
  for name, message in pairs(book.messages) do
    out[name] = { path = name, book = book, what = "object", set = message.attrs, head = message.head, message = message }
  end
  return out
end

---A book as one node: its messages are below it.
---@param name string
---@param book nslua.schema.Book
---@return nslua.schema.Node
function M.book(name, book)
  return { path = name, book = book, what = "book" }
end

---A family as a node: its commands and sets are below it.
---@param family nslua.FamilySchema
---@param name? string  by which it is found, where that is not the kernel's
---@return nslua.schema.Node
function M.family(family, name)
  return { path = name or family.name, book = family.book, what = "family", family = family }
end

local function fields(node)
  local out = {}
  for _, f in ipairs(node.head and node.book.structs[node.head].members or {}) do
    if f.key then
      out[#out + 1] = f
    end
  end
  for _, f in ipairs(node.set and node.book.sets[node.set].fields or {}) do
    if f.key then
      out[#out + 1] = f
    end
  end
  return out
end

-- The branch of a name in a union at or below a node: "link.vxlan" for "link.linkinfo.data.vxlan".
local function branch(node, word, seen)
  if node.what == "book" then
    return nil
  elseif node.what == "union" then
    local found = (node.book.kinds[node.union] or {})[word]
    return found and node_of(node.book, node.path .. "." .. word, found.type)
  elseif node.what == "family" or node.what == "value" or node.set and seen[node.set] then
    return nil
  end
  seen[node.set or ""] = true
  for _, f in ipairs(fields(node)) do
    local found = branch(node_of(node.book, node.path .. "." .. f.key, f.type), word, seen)
    if found then
      return found
    end
  end
end

-- The names of all branches at or below a node.
local function branches(node, seen, out)
  if node.what == "union" then
    for name in pairs(node.book.kinds[node.union] or {}) do
      out[name] = true
    end
  elseif node.what ~= "family" and node.what ~= "value" and not (node.set and seen[node.set]) then
    seen[node.set or ""] = true
    for _, f in ipairs(fields(node)) do
      branches(node_of(node.book, node.path, f.type), seen, out)
    end
  end
end

-- The names a word may be, below a node.
local function below(node)
  local out = {}
  if node.what ~= "book" then
    branches(node, {}, out)
  end
  if node.what == "book" then
    for name in pairs(node.book.messages) do
      out[name] = true
    end
  elseif node.what == "family" then
    for _, list in ipairs { node.family.commands, node.family.events, node.book.sets } do
      for name in pairs(list) do
        out[name] = true
      end
    end
  elseif node.what ~= "value" and node.what ~= "union" then
    for _, f in ipairs(fields(node)) do
      out[f.key] = true
    end
  end
  return out
end

local function step(node, word)
  local path = node.path .. "." .. word
  if node.what == "book" then
    local message = node.book.messages[word]
    return message and { path = path, book = node.book, what = "object", set = message.attrs, head = message.head, message = message }
  elseif node.what == "family" then
    local c = node.family.commands[word] or node.family.events[word]
    local set = c and c.set or not c and node.book.sets[word] and word
    if c or set then
      return { path = path, book = node.book, what = c and "object" or "attributes", set = set or nil, command = c, family = node.family }
    end
    return nil
  end
  for _, f in ipairs(node.what ~= "value" and node.what ~= "union" and fields(node) or {}) do
    if f.key == word then
      local found = node_of(node.book, path, f.type)
      found.type = found.type or f.type
      return found
    end
  end
  return branch(node, word, {})
end

---The node of a path.
---@param roots table<string, nslua.schema.Node>
---@param path string
---@return nslua.schema.Node? node
---@return string? message  what there is not
function M.find(roots, path)
  local node
  for word in path:gmatch "[^.]+" do
    local known = node and below(node) or roots
    local found
    if node then
      found = step(node, word)
    else
      found = roots[word]
    end
    if not found then
      return nil, (node and node.path .. ": " or "") .. check.unknown("name", word, known)
    end
    node = found
  end
  if not node then
    return nil, "no name"
  end
  return node
end

-- Numbers and names of an enum or of flags, ascending.
local function values(book, t)
  local out = {}
  for name, number in pairs(book.enums[t.enum] and book.enums[t.enum].values or {}) do
    out[#out + 1] = { number, name }
  end
  table.sort(out, function(a, b)
    return a[1] < b[1]
  end)
  return out
end

local flag_names = { { 1, "multi" }, { 2, "nonested" }, { 4, "writeonly" }, { 8, "netorder" } }

local function entry(node, f, member, prefix)
  local t = inner(f.type)
  local child = node_of(node.book, node.path .. "." .. f.key, f.type)
  local out = { key = f.key, type = f.type.text, member = member, number = member and f.off or f.id, flags = {},
    path = child.what ~= "value" and child.path or nil }
  for _, flag in ipairs(flag_names) do
    if math.floor((f.flags or 0) / flag[1]) % 2 == 1 then
      out.flags[#out.flags + 1] = flag[2]
    end
  end
  if not member and prefix and f.c ~= "-" then
    out.c = prefix .. f.c
  end
  if t.enum then
    out.values = values(node.book, t)
  end
  return out
end

---The lines of a node: members of its struct, then attributes; the branches of a union; commands of a family.
---@param node nslua.schema.Node
---@return nslua.schema.Entry[]
function M.entries(node)
  local out = {}
  if node.what == "book" then
    for name in pairs(node.book.messages) do
      out[#out + 1] = { key = name, type = "message", flags = {}, path = node.path .. "." .. name }
    end
    table.sort(out, function(a, b)
      return a.key < b.key
    end)
  elseif node.what == "family" then
    for _, list in ipairs { node.family.commands, node.family.events } do
      for name, c in pairs(list) do
        out[#out + 1] = { key = name, number = c.number, type = c.set or "", flags = { c.reply and "reply", c.listed and "dump" or nil },
          path = node.path .. "." .. name, event = list == node.family.events }
        if not c.reply then
          out[#out].flags = { c.listed and "dump" or nil }
        end
      end
    end
    table.sort(out, function(a, b)
      if a.event ~= b.event then
        return b.event
      end
      return a.number < b.number
    end)
  elseif node.what == "union" then
    for value, found in pairs(node.book.kinds[node.union] or {}) do
      local child = node_of(node.book, node.path .. "." .. value, found.type)
      out[#out + 1] = { key = value, type = found.type.text, flags = {}, path = child.what ~= "value" and child.path or nil }
    end
    table.sort(out, function(a, b)
      return a.key < b.key
    end)
  elseif node.what == "value" then
    return { entry(node, { key = node.path:match "[^.]*$", type = node.type }, true) }
  else
    if node.head then
      plan.struct_size(node.book, node.head, node.path) -- its members' offsets
    end
    for _, f in ipairs(node.head and node.book.structs[node.head].members or {}) do
      if f.key then
        out[#out + 1] = entry(node, f, true)
      end
    end
    local set = node.set and node.book.sets[node.set]
    for _, f in ipairs(set and set.fields or {}) do
      if f.key then
        out[#out + 1] = entry(node, f, false, set.options.prefix)
      end
    end
  end
  return out
end

---Where a node's numbers come from: its C header, and what it is called there.
---@param node nslua.schema.Node
---@return string? header
---@return string? c  "struct ifinfomsg", "IFLA_"
function M.source(node)
  local set = node.set and node.book.sets[node.set]
  local struct = node.head and node.book.structs[node.head]
  return set and set.options.header or struct and struct.options.header or node.family and node.family.header,
    set and set.options.prefix or struct and struct.options.c or nil
end

return M
