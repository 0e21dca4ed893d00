-- ns.netlink.kind: a link kind declared in a script, with enums and nests of its own, in place of one that is known, and what is wrong in one.

local helper = require "spec.helper"
local ns = require "nslua"
local rtnl = require "spec.rtnl_helper"
local schema = require "nslua.schema"

local held = helper.held

local function misuse(pattern, ...)
  local ok, message = pcall(ns.netlink.kind, ...)
  assert.is_false(ok)
  assert.truthy(message:find(pattern), message)
  assert.truthy(message:find "netlink_kind_spec", message)
end

describe("ns.netlink.kind", function()
  after_each(helper.close_held)

  it("takes lines with and without C names, enums, flags, structs, sets and unions", function()
    ns.netlink.kind { kind = "nstest",
      enums = { nstest_mode = "l2 l3 l3s" }, flags = { nstest_flags = "private vepa" }, structs = { nstest_range = "low be16 high be16" },
      sets = { nstest_item = "1 id u8", nstest_a = "1 x u8" }, unions = { nstest_more = { l3 = "nest(nstest_a)", ["*"] = "u8" } },
      attributes = [[
        -- a comment, and an empty line

        1  mode   u16:enum(nstest_mode)
        2  flags  u16:flags(nstest_flags)   -- another
        3  range  struct(nstest_range)
        4  items  list(nest(nstest_item))
        5  more   union(mode, nstest_more)
        6  seconds_ u32
      ]], seconds = { seconds_ = 100 } }
    local S = schema.compile "link"
    local data = { mode = "l3", flags = { vepa = true }, range = { low = 1, high = 65535 }, items = { { id = 1 }, { id = 2 } }, more = { x = 9 } }
    local t = { linkinfo = { kind = "nstest", data = data } }
    assert.same(t.linkinfo, S:decode(S:encode(t)).linkinfo)
    t.linkinfo.data = { mode = "l2", more = 7 }
    assert.same(t.linkinfo, S:decode(S:encode(t)).linkinfo)
  end)

  it("says what is wrong at the line, and changes nothing then", function()
    local before = schema.compile "link"
    misuse("kind nsbad: set attributes line 2: unknown type 'u33' %(did you mean 'u32'%?%)", { kind = "nsbad", attributes = "1 a u32\n2 b u33" })
    misuse("kind nsbad: set attributes line 1: unknown set 'nowhere'", { kind = "nsbad", attributes = "1 a nest(nowhere)" })
    misuse("kind nsbad: enum nsbad_e: 'a' is there twice", { kind = "nsbad", enums = { nsbad_e = "a a" }, attributes = "1 a u32" })
    misuse("'link' is declared twice", { kind = "nsbad", sets = { link = "1 a u32" }, attributes = "1 a u32" })
    misuse("kind is needed", {})
    for _, name in ipairs { "name", "stats", "index", "carrier", "decode" } do
      misuse(('kind "%s": every link has a word of that name'):format(name), { kind = name, attributes = "1 a u32" })
    end
    misuse("kind is needed", { kind = "a b" })
    misuse("unknown key 'atributes' %(did you mean 'attributes'%?%)", { kind = "nsbad", atributes = "" })
    assert.equal(before, schema.compile "link")
    ns.netlink.kind { kind = "nsbad", enums = { nsbad_e = "a b" }, attributes = "1 a u8:enum(nsbad_e)" }
  end)

  it("puts another in place of one", function()
    ns.netlink.kind { kind = "nsreplaced", enums = { nsreplaced_mode = "a" }, attributes = "1 mode u8:enum(nsreplaced_mode)" }
    ns.netlink.kind { kind = "nsreplaced", enums = { nsreplaced_mode = "a b" }, attributes = "1 mode u8:enum(nsreplaced_mode) \n 2 more u8" }
    local S = schema.compile "link"
    local t = { kind = "nsreplaced", data = { mode = "b", more = 3 } }
    assert.same(t, S:decode(S:encode { linkinfo = t }).linkinfo)
  end)

  it("makes links of it", function()
    local cannot = rtnl.cannot()
    if cannot then
      return pending(cannot)
    elseif not rtnl.has_kind "vxlan" then
      return pending "no vxlan in this kernel"
    end
    local a = held(helper.netns { label = "genl" })
    ns.netlink.kind { kind = "vxlan", attributes = "1 vni u32 \n 5 ttl u8 \n 15 udp_port be16" }
    local row = a.link:add { name = "v0", kind = "vxlan", vxlan = { vni = 42, ttl = 7, udp_port = 4789 } }
    assert.same({ 42, 7, 4789 }, { row.vxlan.vni, row.vxlan.ttl, row.vxlan.udp_port })
    local info = rtnl.ip(a, "link show dev v0")[1].linkinfo
    assert.same({ "vxlan", 42, 4789 }, { info.info_kind, info.info_data.id, info.info_data.port })
    local ok, e = pcall(a.link.add, a.link, { name = "v1", kind = "vxlan", vxlan = { vni = 2 ^ 30 } })
    assert.is_false(ok)
    assert.equal("link.linkinfo.data.vni", e.attribute)
    ok, e = pcall(a.link.add, a.link, { name = "v1", kind = "vxlan", vxlan = { id = 7 } })
    assert.is_false(ok)
    assert.truthy(e:find("unknown key 'id'", 1, true), e)
  end)
end)
