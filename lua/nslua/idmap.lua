-- Id maps of user namespaces: from words and ranges to the lines of uid_map and gid_map. user_namespaces(7), newuidmap(1), subuid(5).

local check = require "nslua.check"
local core = require "nslua.core"
local errors = require "nslua.error"
local privilege = require "nslua.privilege"

local M = {}

local LAST = 4294967295 -- (uid_t)-1 is no id: ids end below it
local LINES = 340       -- user_namespaces(7), since Linux 4.15

---@class nslua.IdRange
---@field [1] integer  first id inside the new user namespace
---@field [2] integer  first id outside, as the caller sees it
---@field [3] integer  how many

---@class nslua.IdMap
---@field ranges nslua.IdRange[]
---@field helper boolean  newuidmap(1) or newgidmap(1) has to write it

---@class nslua.IdMaps
---@field uid? nslua.IdMap  nil: left unwritten
---@field gid? nslua.IdMap
---@field setgroups? "deny"|"allow"

---@alias nslua.MapWord "root"|"current"|"auto"|"subids"|"all"

local kinds = {
  uid = { own = 1, file = "/etc/subuid", map = "/proc/self/uid_map", capability = "setuid", option = "map_users", tool = "newuidmap" },
  gid = { own = 2, file = "/etc/subgid", map = "/proc/self/gid_map", capability = "setgid", option = "map_groups", tool = "newgidmap" },
}

-- "%d" raises on 1000.0 in some Lua versions and tostring() writes it so in others.
local function id(n)
  return ("%.0f"):format(n)
end

---All that an fd still gives, and close it: a file of /proc is read by the page.
---@param fd nslua.fd
---@return string
function M.read(fd)
  local parts = {}
  repeat
    local bytes = fd:read(65536) or ""
    parts[#parts + 1] = bytes
  until bytes == ""
  fd:close()
  return table.concat(parts)
end

-- "" where there is no such file.
local function read_file(path)
  local fd = core.fd.open(path, "r")
  return fd and M.read(fd) or ""
end

-- The source that /etc/nsswitch.conf names for subordinate ids ("sss"), where that is not the files. There is one at most, and to
-- newuidmap(1) it stands in place of the files: what is written there then grants nothing.
local function source()
  for line in read_file "/etc/nsswitch.conf":gmatch "[^\n]+" do
    local name = line:sub(1, 6):lower() == "subid:" and line:match("%S+", 7)
    if name then
      return name ~= "files" and name or nil
    end
  end
end

local function add_block(blocks, first, count)
  first, count = tonumber(first), tonumber(count)
  if count > 0 and first + count <= LAST then
    blocks[#blocks + 1] = { first, count }
  end
end

-- What getsubids(1) says. It is run for the same reason as newuidmap(1), of whose package it is (4.9): only shadow's own plugins can ask
-- these sources. nil where it is not installed; no blocks, and why, where it fails.
local function ask(kind)
  local uid, _, name = core.idmap.who()
  local argv = { "getsubids", timeout = 10 }
  argv[#argv + 1] = kind == "gid" and "-g" or nil
  argv[#argv + 1] = name or id(uid)
  local ok, r = pcall(require("nslua.process").run, argv)
  if not ok then
    if errors.is(r, "ENOENT") then
      return nil
    end
    error(r, 0)
  elseif not r.ok then
    return {}, r.timed_out and "no answer within 10 s" or r.stderr:match "([^\n]*)%s*$"
  end
  local blocks = {}
  for line in r.stdout:gmatch "[^\n]+" do
    local first, count = line:match "^%d+: .* (%d+) (%d+)$"
    if first then
      add_block(blocks, first, count)
    end
  end
  return blocks, not blocks[1] and "it names none" or nil
end

---The blocks of subordinate ids that a user has: of the source that /etc/nsswitch.conf names, else of /etc/subuid or /etc/subgid. Both
---files are keyed by the *user*; a line counts if its first field is exactly the name or exactly the decimal uid. subuid(5).
---@param kind "uid"|"gid"
---@return { [1]: integer, [2]: integer }[] blocks  { first, count }, in the order of the file
---@return string? why  there are none, where getsubids(1) said
function M.blocks(kind)
  local found, why
  if source() then
    found, why = ask(kind)
  end
  if found then
    return found, why
  end
  local uid, _, name = core.idmap.who()
  local blocks = {}
  for line in read_file(kinds[kind].file):gmatch "[^\n]+" do
    local owner, first, count = line:match "^([^:]*):(%d+):(%d+)%s*$"
    if owner and (owner == name or owner == id(uid)) then
      add_block(blocks, first, count)
    end
  end
  return blocks
end

---What this process may map from: the ids of its own user namespace.
---@param kind "uid"|"gid"
---@return { [1]: integer, [2]: integer }[] blocks  { first, count }
function M.own(kind)
  local blocks = {}
  for first, count in read_file(kinds[kind].map):gmatch "(%d+)%s+%d+%s+(%d+)" do
    blocks[#blocks + 1] = { tonumber(first), tonumber(count) }
  end
  return blocks
end

-- The first block of this user's; raises where there is none.
local function first_block(call, kind)
  local blocks, why = M.blocks(kind)
  if blocks[1] then
    return blocks[1]
  end
  local uid, _, name = core.idmap.who()
  name = name or id(uid)
  local message = ("no line for %s in %s"):format(name, kinds[kind].file)
  local hint = ("usermod --add-sub%ss 100000-165535 %s"):format(kind, name)
  local from = source()
  if from and why then
    message = ("no sub%ss for %s: getsubids: %s"):format(kind, name, why)
    hint = ("/etc/nsswitch.conf says \"subid: %s\": they are given there, not in %s"):format(from, kinds[kind].file)
  elseif from then
    hint = ("/etc/nsswitch.conf says \"subid: %s\", which getsubids(1) would ask, and it is not installed (Debian: apt install uidmap)"):format(from)
  end
  errors.raise { call = call, errno = core.errno.EPERM, message = message, hint = hint }
end

-- Each word gives ranges, and whether they are a single id that goes before the others.
local words = {
  root = function(_, own)
    return { { 0, own, 1 } }
  end,
  current = function(_, own)
    return { { own, own, 1 } }
  end,
  auto = function(kind, _, call)
    local first = first_block(call, kind)
    return { { 0, first[1], first[2] } }
  end,
  subids = function(kind, _, call)
    local first = first_block(call, kind)
    return { { first[1], first[1], first[2] } }
  end,
  all = function(kind)
    local out = {}
    for i, b in ipairs(M.own(kind)) do
      out[i] = { b[1], b[1], b[2] }
    end
    return out
  end,
}

local function check_range(option, range)
  for i = 1, 3 do
    local v = range[i]
    if type(v) ~= "number" or v ~= math.floor(v) or v < 0 or v >= LAST + (i == 3 and 1 or 0) then
      errors.misuse("%s: a range is { inside, outside, count }, ids from 0 to 4294967294", option)
    end
  end
  for k in pairs(range) do
    if k ~= 1 and k ~= 2 and k ~= 3 then
      errors.misuse("%s: a range is { inside, outside, count }", option)
    end
  end
  if range[3] < 1 then
    errors.misuse("%s: a range of no ids", option)
  elseif range[1] + range[3] > LAST or range[2] + range[3] > LAST then
    errors.misuse("%s: a range past id 4294967294", option)
  end
  return { range[1], range[2], range[3] }
end

-- The ids first .. first + count - 1 without those in `holes` (a set), as a list of { first, count }.
local function without(first, count, holes)
  local cuts = {}
  for h in pairs(holes) do
    if h >= first and h < first + count then
      cuts[#cuts + 1] = h
    end
  end
  table.sort(cuts)
  local out, at = {}, first
  for _, h in ipairs(cuts) do
    if h > at then
      out[#out + 1] = { at, h - at }
    end
    at = h + 1
  end
  if at < first + count then
    out[#out + 1] = { at, first + count - at }
  end
  return out
end

-- Punch the single ids out of a range: what is left inside and what is left outside are paired in order. Where only the inside has a hole, ids
-- above it move up by one and the topmost outside id has no place, as with unshare(1).
local function punch(range, inside_holes, outside_holes, out)
  local a = without(range[1], range[3], inside_holes)
  local b = without(range[2], range[3], outside_holes)
  local i, j = 1, 1
  while a[i] and b[j] do
    local n = math.min(a[i][2], b[j][2])
    out[#out + 1] = { a[i][1], b[j][1], n }
    a[i] = { a[i][1] + n, a[i][2] - n }
    b[j] = { b[j][1] + n, b[j][2] - n }
    i = a[i][2] == 0 and i + 1 or i
    j = b[j][2] == 0 and j + 1 or j
  end
end

local function overlap(option, ranges, side, word)
  local sorted = {}
  for i, r in ipairs(ranges) do
    sorted[i] = r
  end
  table.sort(sorted, function(a, b)
    return a[side] < b[side]
  end)
  for i = 2, #sorted do
    local a, b = sorted[i - 1], sorted[i]
    if a[side] + a[3] > b[side] then
      errors.misuse("%s: id %s is mapped twice %s", option, id(b[side]), word)
    end
  end
end

local function ranges_of(kind, spec, own, call)
  local option = kinds[kind].option
  if type(spec) == "string" then
    spec = { spec }
  elseif type(spec) ~= "table" then
    errors.misuse("%s must be a word or a list of words and ranges, got %s", option, type(spec))
  end
  if #spec == 3 and type(spec[1]) == "number" then
    spec = { spec } -- one bare range
  end
  local singles, wide = {}, {}
  local count = 0
  for k, item in pairs(spec) do
    count = count + 1
    if type(k) ~= "number" or k < 1 or k > #spec or k ~= math.floor(k) then
      errors.misuse("%s: a list expected, got key %s", option, tostring(k))
    end
    if type(item) == "string" and not words[item] then
      errors.misuse("%s: %s", option, check.unknown("word", item, words))
    elseif type(item) ~= "string" and type(item) ~= "table" then
      errors.misuse("%s: a word or { inside, outside, count } expected, got %s", option, type(item))
    end
  end
  if count == 0 then
    errors.misuse("%s: an empty map", option)
  end
  for _, item in ipairs(spec) do
    local list = type(item) == "string" and words[item](kind, own, call) or { check_range(option, item) }
    for _, r in ipairs(list) do
      local into = r[3] == 1 and singles or wide
      into[#into + 1] = r
    end
  end
  local inside_holes, outside_holes, out = {}, {}, {}
  for _, r in ipairs(singles) do
    inside_holes[r[1]], outside_holes[r[2]] = true, true
    out[#out + 1] = r
  end
  for _, r in ipairs(wide) do
    punch(r, inside_holes, outside_holes, out)
  end
  overlap(option, out, 1, "inside")
  overlap(option, out, 2, "from outside")
  if #out > LINES then
    errors.misuse("%s: %d lines, and the kernel takes at most %d", option, #out, LINES)
  end
  return out
end

-- Words say the same for groups as for users; numbers do not.
local function only_words(spec)
  if type(spec) == "table" then
    for _, item in ipairs(spec) do
      if type(item) ~= "string" then
        return false
      end
    end
  end
  return true
end

local function is_own(ranges, own)
  return #ranges == 1 and ranges[1][2] == own and ranges[1][3] == 1
end

---The maps of a new user namespace.
---@param map_users? nslua.MapWord|(nslua.MapWord|nslua.IdRange)[]|false   nil: as map_groups where that is of words, else unwritten; false: unwritten
---@param map_groups? nslua.MapWord|(nslua.MapWord|nslua.IdRange)[]|false  nil: as map_users where that is of words, else unwritten; false: unwritten
---@param setgroups? "deny"|"allow"  nil: denied where the kernel asks for it, else left alone
---@param call? string               whose error it is: "userns.new"
---@param trusted? boolean           the writer will have CAP_SETUID and CAP_SETGID over these ids, so no helper is needed
---@param owner? integer[]          { uid, gid }: whose "current" and "root" are meant (default: this process's)
---@return nslua.IdMaps
function M.resolve(map_users, map_groups, setgroups, call, trusted, owner)
  call = call or "idmap"
  if setgroups ~= nil and setgroups ~= "deny" and setgroups ~= "allow" then
    errors.misuse("setgroups must be 'deny' or 'allow', got %s", tostring(setgroups))
  end
  local specs = { uid = map_users, gid = map_groups }
  if specs.gid == nil and specs.uid and only_words(specs.uid) then
    specs.gid = specs.uid
  elseif specs.uid == nil and specs.gid and only_words(specs.gid) then
    specs.uid = specs.gid
  end
  local maps = { setgroups = setgroups }
  local who = owner or { core.idmap.who() }
  for _, kind in ipairs { "uid", "gid" } do
    if specs[kind] then
      local own = who[kinds[kind].own]
      local ranges = ranges_of(kind, specs[kind], own, call)
      local able = trusted or core.idmap.capable(kinds[kind].capability)
      local alone = is_own(ranges, own)
      if kind == "gid" and alone and not able then
        if setgroups == "allow" then
          errors.raise {
            call = call,
            errno = core.errno.EPERM,
            detail = "setgroups = 'allow' with the own group alone",
            hint = "without CAP_SETGID the kernel wants setgroups denied; map_groups = { 'root', 'auto' } goes by newgidmap",
          }
        end
        maps.setgroups = "deny"
      end
      maps[kind] = { ranges = ranges, helper = not able and not alone }
    end
  end
  return maps
end

---Why writing the maps failed, for an error object's hint; nil where nothing is known.
---@param maps nslua.IdMaps
---@param detail string  what nslua_idmap_apply said: "uid_map: ...", "newuidmap: ..."
---@param errno integer
---@return string?
function M.hint(maps, detail, errno)
  local kind = detail:find "gid" and "gid" or "uid"
  local k = kinds[kind]
  if errno == core.errno.ENOENT and detail:match "^[^:]*" == k.tool then
    return ("%s(1) is not installed (Debian: apt install uidmap)"):format(k.tool)
  elseif detail:find(k.tool, 1, true) then
    local from = source()
    return from and ("the subid source of /etc/nsswitch.conf, %s, grants the ranges it may write"):format(from)
      or ("%s grants the ranges it may write"):format(kinds[kind].file)
  elseif errno == core.errno.EACCES then
    return "this process is not dumpable (PR_SET_DUMPABLE): its /proc files belong to root"
  elseif errno == core.errno.EPERM and privilege.apparmor() then
    return privilege.apparmor()
  elseif errno == core.errno.EPERM and maps[kind] then
    for _, r in ipairs(maps[kind].ranges) do
      if kind == "uid" and r[2] == 0 and not core.idmap.capable "setfcap" then
        return "mapping uid 0 from outside needs CAP_SETFCAP (Linux 5.12)"
      end
    end
    if detail:find("setgroups", 1, true) then
      return "setgroups is denied in the parent user namespace, and stays so"
    end
    return ("an id outside is not mapped in the parent user namespace, or %s is missing there"):format("CAP_" .. k.capability:upper())
  end
end

return M
