-- What the kernel accepts of a family: what is declared has its types, and a declaration drafted from it can be read.

local helper = require "spec.helper"
local ns = require "nslua"
local rtnl = require "spec.rtnl_helper"

local held = helper.held
local load_text = rawget(_G, "loadstring") or load

-- The kernel's types that a declared type may be; bit sets, lists and nests are nested.
local integer = { u8 = "u8", u16 = "u16", u32 = "u32", u64 = "u64", s8 = "s8", s16 = "s16", s32 = "s32", s64 = "s64", be16 = "u16 binary",
  be32 = "u32 binary", be64 = "u64 binary", bool = "u8", uint = "uint u32 u64", sint = "sint s32 s64", flag = "flag", strz = "nul_string string",
  str = "string", ip4 = "u32 binary", nest = "nested", list = "nested nested_array", indexed = "nested nested_array", bitset = "nested",
  array = "binary nested", struct = "binary bitfield32" }

local function compare(set, book, policy, where, count)
  for _, f in ipairs(book.sets[set].fields) do
    local found = f.key and policy[f.key]
    if found then
      count.n = count.n + 1
      local wanted = " " .. (integer[f.type.name] or "binary") .. " "
      -- a u8 that is yes or no may be limited to that, and so on: the type alone is compared
      assert.truthy(wanted:find(" " .. found.type .. " ", 1, true), ("%s.%s is %s, the kernel's %s"):format(where, f.key, f.type.text, found.type))
      local t = f.type
      while t.element do
        t = t.element
      end
      if found.nested and t.name == "nest" and not t.args[2] and f.type.name == "nest" then
        compare(t.args[1], book, found.nested, where .. "." .. f.key, count)
      end
    end
  end
end

describe("the kernel's policy", function()
  local cannot = rtnl.cannot()
  if cannot then
    return it("is that of the declarations", function()
      pending(cannot)
    end)
  end
  after_each(helper.close_held)

  it("has the types of the families that are declared", function()
    local a = held(helper.netns { label = "genl" })
    local total = 0
    for _, name in ipairs(ns.netlink.families) do
      local found, f = pcall(a.netlink, a, name)
      if found then
        for command, c in pairs(f.schema.commands) do
          local policy = c.set and f:policy(command)
          if policy then
            local count = { n = 0 }
            compare(c.set, f.schema.book, policy, name .. "." .. command, count)
            total = total + count.n
          end
        end
      end
    end
    if total == 0 then
      return pending "this kernel tells no policies"
    end
    assert.is_true(total > 100, "only " .. total)
  end)

  it("tells ranges, by the keys of the declaration", function()
    local a = held(helper.netns { label = "genl" })
    local S = ns.netlink.family { name = "nlctrl", id = 16, sets = { f = "1 number u16 \n 2 name strz" },
      commands = { get = { 3, "f" }, none = { 99 } } }
    local policy = a:netlink(S):policy "get"
    assert.same({ type = "u16", min = 0, max = 65535 }, policy.number)
    assert.same({ type = "nul_string", max_length = 15 }, policy.name)
    assert.is_nil(a:netlink(S):policy "none")
    local flags = a:netlink "ethtool":policy "features_set".header.nested.flags
    assert.equal("u32", flags.type)
    assert.is_true(flags.mask >= 3)
  end)

  it("is a declaration to begin with, of every family there is", function()
    local a = held(helper.netns { label = "genl" })
    local policy = require "nslua.genl.policy"
    local n = 0
    for _, row in ipairs(a:netlink "nlctrl":list "getfamily") do
      local text = policy.draft(a:netlink "nlctrl", row.family_name)
      local S = assert(load_text("local ns = ... " .. text))(ns)
      local f = a:netlink(S)
      assert.equal(row.family_id, f.info.family_id)
      n = n + 1
    end
    assert.is_true(n >= 2)
    -- and it works: nlctrl by itself
    local S = assert(load_text("local ns = ... " .. policy.draft(a:netlink "nlctrl", "nlctrl")))(ns)
    local row = a:netlink(S):c3 { a2 = "nlctrl" }
    assert.equal(16, row.a1)
  end)
end)
