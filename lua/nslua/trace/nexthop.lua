-- ip nexthop add, replace, delete, get, show. ip-nexthop(8)

local address = require "nslua.trace.address"
local encap = require "nslua.trace.encap"
local names = require "nslua.rtnl.names"

local M = { message = "nexthop" }

local timers = { "idle_timer", "unbalanced_timer" }
local USER_HZ = 100

local function adder(words)
  return function(...)
    for _, word in ipairs { ... } do
      words[#words + 1] = word
    end
  end
end

local function group(members)
  local out = {}
  for i, member in ipairs(members) do
    local weight = (member.weight_high or 0) * 256 + member.weight + 1
    out[i] = weight == 1 and ("%.0f"):format(member.id) or ("%.0f,%.0f"):format(member.id, weight)
  end
  return table.concat(out, "/")
end

function M.write(context, m, bits)
  local words = { "nexthop", address.verb(bits) }
  local add = adder(words)
  if m.family == "inet6" and not m.via then
    table.insert(words, 1, "-6")
  end
  if m.id then
    add("id", m.id)
  end
  if m.members then
    add("group", group(m.members))
  end
  if m.type then
    add("type", m.type)
  end
  local resilient = m.resilient or {}
  if resilient.buckets then
    add("buckets", resilient.buckets)
  end
  for _, word in ipairs(timers) do
    if resilient[word] then
      add(word, ("%g"):format(resilient[word] / USER_HZ))
    end
  end
  if m.blackhole then
    add "blackhole"
  end
  local left = encap.words(add, m, context)
  if m.via then
    add("via", m.via)
  end
  if m.dev_index then
    add("dev", context.link(m.dev_index))
  end
  for _, flag in ipairs { "onlink" } do
    if m.flags and m.flags[flag] then
      add(flag)
    end
  end
  if m.fdb then
    add "fdb"
  end
  if m.proto_number and m.proto_number ~= 0 then
    add("protocol", names.name("proto", m.proto_number))
  end
  return words, left
end

function M.delete(_, m)
  return { "nexthop", "delete", "id", m.id }
end

function M.show(context, m, one)
  local words = { "nexthop", one and "get" or "show" }
  local add = adder(words)
  if m.id then
    add("id", m.id)
  end
  for _, pair in ipairs { { "dev_index", "dev" }, { "master_index", "master" } } do
    if m[pair[1]] then
      add(pair[2], context.link(m[pair[1]]))
    end
  end
  for _, word in ipairs { "groups", "fdb" } do
    if m[word] then
      add(word)
    end
  end
  return words
end

return M
