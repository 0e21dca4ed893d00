-- What the kernel accepts of a family's commands: its own policy, by nlctrl. linux/genetlink.h CTRL_CMD_GETPOLICY, Linux 5.10

local errors = require "nslua.error"

local M = {}

---@class nslua.FamilyPolicy  of one attribute
---@field type string        "u32", "nul_string", "binary", "nested", "flag" ...
---@field min? integer       of a number
---@field max? integer
---@field min_length? integer  in bytes
---@field max_length? integer
---@field mask? integer      bits that may be set
---@field nested? table<string, nslua.FamilyPolicy>  of the attributes in it

---Every policy of a family or of one command as the kernel numbers them, and which a command has.
---@param control nslua.Family  nlctrl
---@param id integer            of the family
---@param op? integer           a command
---@return table<integer, table<integer, table>> policies  number -> attribute -> what it accepts
---@return table<integer, { do_: integer?, dump: integer? }> commands
function M.raw(control, id, op)
  local policies, commands = {}, {}
  local ok, rows = pcall(control.list, control, "getpolicy", { family_id = id, op = op })
  if not ok then
    if errors.is(rows, "ENODATA") or errors.is(rows, "EOPNOTSUPP") or op and errors.is(rows, "ENOENT") then
      return policies, commands -- the family has none, the kernel does not tell, or it has no such command
    end
    error(rows, 0)
  end
  for _, row in ipairs(rows) do
    for command, numbers in pairs(row.op_policy or {}) do
      commands[command] = numbers
    end
    for number, attributes in pairs(row.policy or {}) do
      policies[number] = policies[number] or {}
      for attribute, what in pairs(attributes) do
        policies[number][attribute] = what
      end
    end
  end
  return policies, commands
end

-- The set in a nest of any depth of lists.
local function set_in(t)
  while t and t.element do
    t = t.element
  end
  return t and t.name == "nest" and t.args[1] or nil
end

local function build(book, policies, number, set, above)
  local out, keys = {}, {}
  for _, f in ipairs(set and book.sets[set].fields or {}) do
    if f.key and not (keys[f.id] and f.flags >= 4) then
      keys[f.id] = f
    end
  end
  above[number] = true
  for id, what in pairs(policies[number] or {}) do
    local f = keys[id]
    local one = { type = what.type, min = what.min_value_u or what.min_value_s, max = what.max_value_u or what.max_value_s,
      min_length = what.min_length, max_length = what.max_length, mask = what.mask or what.bitfield32_mask }
    if what.policy_idx and not above[what.policy_idx] then
      one.nested = build(book, policies, what.policy_idx, f and set_in(f.type), above)
    end
    out[f and f.key or "#" .. id] = one
  end
  above[number] = nil
  return out
end

---What this kernel accepts of a command: by the keys of its set; "#9" for what the declaration does not know.
---@param family nslua.Family
---@param control nslua.Family  nlctrl
---@param command table         of the family's commands
---@return table<string, nslua.FamilyPolicy>? policy  nil: the kernel tells none
function M.of(family, control, command)
  local policies, commands = M.raw(control, family.info.family_id, command.number)
  local numbers = commands[command.number] or {}
  local number = numbers.do_ or numbers.dump
  return number and build(family.schema.book, policies, number, command.set, {}) or nil
end

local integers = { u8 = true, u16 = true, u32 = true, u64 = true, s8 = true, s16 = true, s32 = true, s64 = true, sint = true, uint = true }

local function type_of(what)
  local t = what.type
  if integers[t] or t == "flag" then
    return t
  elseif t == "nul_string" then
    return what.max_length and ("strz(%d)"):format(what.max_length) or "strz"
  elseif t == "string" then
    return "str"
  elseif t == "nested" then
    return what.policy_idx and ("nest(s%d)"):format(what.policy_idx) or "bin"
  elseif t == "nested_array" then
    return what.policy_idx and ("list(nest(s%d))"):format(what.policy_idx) or "bin"
  elseif t == "bitfield32" then
    return "bytes(8)"
  elseif what.min_length and what.min_length == what.max_length and what.min_length > 0 then
    return ("bytes(%d)"):format(what.min_length)
  end
  return "bin"
end

local function sorted(t)
  local keys = {}
  for key in pairs(t) do
    keys[#keys + 1] = key
  end
  table.sort(keys)
  return keys
end

---A declaration to begin with, of a family that no header is at hand for: numbers and types as this kernel says them, without names.
---@param control nslua.Family  nlctrl
---@param name string
---@return string text  for ns.netlink.family
function M.draft(control, name)
  local info = control:getfamily { family_name = name }
  local policies, commands = M.raw(control, info.family_id)
  local out = { ("return ns.netlink.family{\n  name = %q, version = %d,"):format(name, info.version), "  sets = {" }
  local function add(...)
    out[#out + 1] = (...):format(select(2, ...))
  end
  for _, number in ipairs(sorted(policies)) do
    add("    s%d = [[", number)
    for _, id in ipairs(sorted(policies[number])) do
      add("      %-4d a%-4d %s", id, id, type_of(policies[number][id]))
    end
    add "    ]],"
  end
  add "  },\n  commands = {"
  for _, op in ipairs(info.ops or {}) do
    local numbers = commands[op.id] or {}
    local function set(number)
      return number and policies[number] and ("%q"):format("s" .. number) or nil
    end
    local request, dump = set(numbers.do_) or set(numbers.dump), set(numbers.dump)
    local flags = op.flags
    add("    c%d = { %d%s%s%s },", op.id, op.id, request and ", " .. request or "",
      not flags.uns_admin_perm and not flags.admin_perm and request and ", reply = " .. request or "",
      flags.dump and ", dump = " .. (dump and dump ~= request and dump or "true") or "")
  end
  add "  },"
  local groups = {}
  for i, group in ipairs(info.mcast_groups or {}) do
    groups[i] = ("%q"):format(group.name)
  end
  if groups[1] then
    add("  groups = { %s },", table.concat(groups, ", "))
  end
  add "}"
  return table.concat(out, "\n") .. "\n"
end

return M
