-- ip address add, change, replace, delete, show. ip-address(8)

local names = require "nslua.rtnl.names"

local CREATE, REPLACE = 0x400, 0x100
local FOREVER = 4294967295

local M = { message = "address" }

local function has(bits, bit)
  return math.floor(bits / bit) % 2 == 1
end

local function verb_of(bits)
  return has(bits, REPLACE) and (has(bits, CREATE) and "replace" or "change") or "add"
end
M.verb, M.has = verb_of, has

local function which(context, m, words)
  local own, other = m.local_address or m.prefix_address, m.prefix_address
  if own then
    if other and other ~= own then
      words[#words + 1] = own
      words[#words + 1] = "peer"
      own = other
    end
    words[#words + 1] = ("%s/%d"):format(own, m.prefixlen)
  end
  if m.dev_index and m.dev_index ~= 0 then
    words[#words + 1] = "dev"
    words[#words + 1] = context.link(m.dev_index)
  end
  return words
end

local function life(seconds)
  return seconds == FOREVER and "forever" or seconds
end

local protos = { unspec = 0, kernel_lo = 1, kernel_ra = 2, kernel_ll = 3 }

function M.write(context, m, bits)
  local words = which(context, m, { "address", verb_of(bits) })
  local function add(...)
    for _, word in ipairs { ... } do
      words[#words + 1] = word
    end
  end
  for _, word in ipairs { "broadcast", "anycast", "label", "metric" } do
    if m[word] ~= nil then
      add(word, m[word])
    end
  end
  local own = m.local_address or m.prefix_address or ""
  -- ip(8) chooses host for 127.0.0.0/8 itself
  if m.scope_number and m.scope_number ~= (m.family == "inet" and own:find "^127%." and 254 or 0) then
    add("scope", names.name("scope", m.scope_number))
  end
  if m.cacheinfo then
    add("valid_lft", life(m.cacheinfo.valid), "preferred_lft", life(m.cacheinfo.preferred))
  end
  local set, left = m.flags or {}, nil
  for _, flag in ipairs { "home", "nodad", "mngtmpaddr", "noprefixroute", "autojoin", "optimistic" } do
    if set[flag] then
      add(flag)
    end
  end
  if m.proto then
    left = ("proto %s"):format(tostring(protos[m.proto] or m.proto)) -- ip(8) has no word before 6.4
  end
  return words, left
end

function M.delete(context, m)
  return which(context, m, { "address", "delete" })
end

function M.show(context, m)
  local words = { "address", "show" }
  if m.family == "inet6" then
    table.insert(words, 1, "-6")
  elseif m.family == "inet" then
    table.insert(words, 1, "-4")
  end
  return which(context, m, words)
end

return M
