-- Generic netlink: families declared in Lua, resolved in a namespace, their commands, lists, events, batches and errors.

local core = require "nslua.core"
local helper = require "spec.helper"
local ns = require "nslua"
local rtnl = require "spec.rtnl_helper"

local held = helper.held

local function misuse(pattern, fn, ...)
  local ok, message = pcall(fn, ...)
  assert.is_false(ok)
  assert.is_truthy(tostring(message):find(pattern), tostring(message))
  assert.is_truthy(tostring(message):find "genl_spec", "at the caller's line: " .. tostring(message))
end

describe("a family's declaration", function()
  local family = ns.netlink.family

  it("is data: no socket, no right", function()
    local S = family { name = "nslua_no_such", sets = { x = "1 a u32" }, commands = { get = { 1, "x", reply = "x" } } }
    assert.equal("netlink family nslua_no_such", tostring(S))
  end)

  it("names the line that is wrong", function()
    misuse("family f: set a line 2: unknown type 'u33' %(did you mean 'u32'%?%)", family, { name = "f", sets = { a = "1 x u32\n2 y u33" } })
    misuse("family f: set a line 1: 'ID key type %[flags%]' expected, got '1 x'", family, { name = "f", sets = { a = "1 x" } })
    misuse("family f: set a line 1: unknown set 'b'", family, { name = "f", sets = { a = "1 x nest(b)" }, commands = { get = { 1, "a" } } })
    misuse("family f: command get: unknown set 'b'", family, { name = "f", sets = { a = "1 x u32" }, commands = { get = { 1, "b" } } })
    misuse("family f: struct s line 1: unknown type 'u9'", family, { name = "f", structs = { s = "a u9" } })
    misuse("family f: enum e: 'b=c' is no NAME", family, { name = "f", enums = { e = "a b=c" } })
    misuse("family f: enum e: 'a' is there twice", family, { name = "f", enums = { e = "a a" } })
    misuse("family f: command list: every family has a method of that name", family, { name = "f", commands = { list = { 1 } } })
    misuse("family f: command a: its number is needed", family, { name = "f", commands = { a = { nil, "x" } } })
    misuse("b and a are the same number", family, { name = "f", commands = { a = { 1 }, b = { 1 } } })
    misuse("unknown key 'dmup' %(did you mean 'dump'%?%)", family, { name = "f", commands = { a = { 1, dmup = true } } })
    misuse("unknown key 'comands' %(did you mean 'commands'%?%)", family, { name = "f", comands = {} })
    misuse("name is needed", family, {})
    misuse("front: unknown struct 'h'", family, { name = "f", front = "h" })
    misuse("padding is written 'ID %- pad'", family, { name = "f", sets = { a = "1 x pad" } })
  end)

  it("has names and numbers as text, list and table", function()
    local S = family { name = "f", enums = { e = "a b c=7 d", t = { x = 3 } }, flags = { f = "up down=#5 more odd=128" },
      sets = { s = "1 e u8:enum(e)  \n 2 t u8:enum(t)  \n 3 f u32:flags(f) \n 4 - pad" }, commands = { get = { 1, "s" } } }
    local values = S.book:names "e"
    assert.same({ a = 0, b = 1, c = 7, d = 8 }, values)
    assert.same({ up = 1, down = 32, more = 64, odd = 128 }, (S.book:names "f"))
    local schema = S:compile "s"
    local t = { e = "d", t = "x", f = { up = true, odd = true } }
    assert.same(t, schema:decode(schema:encode(t)))
    -- padding is not read, and does not keep what is behind it from being read
    assert.same({ e = "d" }, schema:decode("\0\0\0\0" .. "\4\0\4\0" .. "\5\0\1\0\8\0\0\0"))
  end)

  it("may have a struct in front of the attributes", function()
    local S = family { name = "f", structs = { h = "index s32" }, front = "h", sets = { s = "1 a u8" }, commands = { get = { 1, "s" } } }
    local schema = S:compile "s"
    assert.equal("\0\0\0\0\7\0\0\0\5\0\1\0\9\0\0\0", schema:encode { index = 7, a = 9 })
    assert.same({ index = 7, a = 9 }, schema:decode(schema:encode { index = 7, a = 9 }))
  end)

  it("does not know another's sets", function()
    family { name = "f", sets = { mine = "1 a u8" } }
    misuse("unknown set 'mine'", family, { name = "g", sets = { b = "1 a nest(mine)" }, commands = { get = { 1, "b" } } })
  end)
end)

describe("numbers of the families that are declared", function()
  it("are those of <linux/*.h>", function()
    if not helper.has "cc" then
      return pending "no C compiler here"
    end
    for _, name in ipairs(ns.netlink.families) do
      local headers, lines = {}, {}
      local constants = ns.netlink[name]:constants()
      assert.is_true(#constants > 10, name)
      for _, c in ipairs(constants) do
        headers[#headers + 1] = ("#include <%s>"):format(c.header)
        lines[#lines + 1] = ("_Static_assert((unsigned long)(%s) == %.0fUL, \"%s\");"):format(c.expression, c.value, c.where)
      end
      local path = os.tmpname()
      local f = assert(io.open(path .. ".c", "w"))
      f:write("#include <stddef.h>\n#include <sys/socket.h>\n", table.concat(headers, "\n"), "\n", table.concat(lines, "\n"), "\n")
      f:close()
      local out, ok = helper.sh("cc -std=gnu11 -fsyntax-only " .. path .. ".c")
      os.remove(path)
      os.remove(path .. ".c")
      assert(ok, name .. ": " .. out)
    end
  end)
end)

describe("generic netlink", function()
  local cannot = rtnl.cannot()
  if cannot then
    return it("works in a namespace", function()
      pending(cannot)
    end)
  end
  local a
  before_each(function()
    a = held(helper.netns { label = "genl" })
  end)
  after_each(helper.close_held)

  it("lists the families that genl(8) lists", function()
    if not helper.has "genl" then
      return pending "no genl(8)"
    end
    local want, mine = {}, {}
    local name
    for line in rtnl.inside(a, "genl ctrl list"):gmatch "[^\n]+" do
      name = line:match "^Name: (%S+)" or name
      local id, version = line:match "^%s+ID: (%S+)%s+Version: (%S+)"
      if id then
        want[name] = ("%d %d"):format(tonumber(id), tonumber(version))
      end
    end
    for row in a:netlink "nlctrl":each "getfamily" do
      mine[row.family_name] = ("%d %d"):format(row.family_id, row.version)
    end
    assert.same(want, mine)
    assert.truthy(mine.nlctrl)
  end)

  it("answers with rows, and json", function()
    local control = a:netlink(ns.netlink.nlctrl)
    assert.equal("netlink family nlctrl of genl", tostring(control))
    local row = control:getfamily { family_name = "nlctrl" }
    assert.equal(16, row.family_id)
    assert.equal("notify", row.mcast_groups[1].name)
    assert.equal("nlctrl", row:decode().family_name)
    assert.truthy(row:json():find('"family_name":"nlctrl"', 1, true))
    assert.truthy(row == control:call("getfamily", { family_id = 16 }))
    for _, op in ipairs(row.ops) do
      if op.id == 3 then
        assert.same({ do_ = true, dump = true, policy = true }, op.flags)
      end
    end
    local rows = control:list "getfamily"
    assert.is_true(#rows >= 1)
    assert.has_error(function()
      local kept
      for r in control:each "getfamily" do
        kept = kept or r
      end
      return kept.family_name
    end)
  end)

  it("reads the kernel's own policy of a command", function()
    local range
    for row in a:netlink "nlctrl":each("getpolicy", { family_name = "nlctrl" }) do
      for _, attributes in pairs(row.policy or {}) do
        range = range or attributes[2]
      end
    end
    assert.equal("nul_string", range.type)
    assert.equal(15, range.max_length)
  end)

  it("says which key, command, family and group there is not", function()
    local control = a:netlink "nlctrl"
    misuse("nlctrl%.family: unknown key 'family_nmae' %(did you mean 'family_name'%?%)", control.getfamily, control, { family_nmae = "x" })
    misuse("unknown command 'getfamly' %(did you mean 'getfamily'%?%)", function() return control.getfamly end)
    misuse("unknown command 'x'", control.call, control, "x")
    misuse("unknown family 'nlctl' %(did you mean 'nlctrl'%?%)", a.netlink, a, "nlctl")
    misuse("a family .* expected, got number", a.netlink, a, 3)
    misuse("unknown group 'notfy' %(did you mean 'notify'%?%)", control.monitor, control, "notfy")
    misuse("newfamily is not declared to be listed", control.list, control, "newfamily")
    misuse("a table expected, got string", control.getfamily, control, "nlctrl")
    misuse("with a colon", control.getfamily, { family_name = "x" })
    misuse("unknown key 'ehco' %(did you mean 'echo'%?%)", control.getfamily, control, {}, { ehco = true })
  end)

  it("fails with an error object: what the kernel says, to what", function()
    local control = a:netlink "nlctrl"
    local text = helper.fails("ENOENT", control.getfamily, control, { family_name = "nslua" })
    assert.truthy(text:find('nlctrl.getfamily in genl: ENOENT: No such file or directory (family_name = "nslua")', 1, true), text)
    local ok, e = pcall(control.getfamily, control, { family_name = ("x"):rep(40) })
    assert.is_false(ok)
    assert.equal("family.family_name", e.attribute)
    assert.equal("at most 15 bytes", e.range)
    text = helper.fails("EOPNOTSUPP", control.newfamily, control)
    assert.truthy(text:find("this kernel's family nlctrl has no command newfamily (1)", 1, true), text)
  end)

  it("says why a family is not there", function()
    local S = ns.netlink.family { name = "nslua_none", module = "nslua-module" }
    local text = helper.fails("ENOENT", a.netlink, a, S)
    assert.truthy(text:find('this kernel has no generic netlink family "nslua_none" (it may be in a module that is not there: modprobe nslua-module)',
      1, true), text)
    local here = held(ns.netns.current())
    local first
    for row in here:netlink "nlctrl":each "getfamily" do
      first = first or row.family_name == "thermal"
    end
    if not first then
      return pending "this kernel has no family thermal, or this is not the first network namespace"
    end
    text = helper.fails("ENOENT", a.netlink, a, ns.netlink.family { name = "thermal" })
    assert.truthy(text:find("in the first network namespace only", 1, true), text)
  end)

  it("says which right is missing, and where", function()
    local there, S = nil, ns.netlink.family { name = "tcp_metrics", sets = { metrics = "1 ip4 ip4" }, commands = { delete = { 2, "metrics" } } }
    for row in a:netlink "nlctrl":each "getfamily" do
      there = there or row.family_name == "tcp_metrics"
    end
    if helper.is_root() then
      return pending "root may do all of it"
    elseif there then
      -- root of this namespace is not enough for what only the first user namespace's may do
      local f = a:netlink(S)
      local text = helper.fails("EPERM", f.delete, f, { ip4 = "1.2.3.4" })
      assert.truthy(text:find("CAP_NET_ADMIN", 1, true), text)
      assert.truthy(text:find("the first user namespace's root alone may do this", 1, true), text)
    end
    local ethtool = held(ns.netns.current()):netlink "ethtool"
    local text = helper.fails("EPERM", ethtool.features_set, ethtool, { dev = "lo", wanted = { ["tx-scatter-gather"] = true } })
    assert.truthy(text:find("this process has no CAP_NET_ADMIN in user:", 1, true), text)
  end)

  it("is closed with its handle", function()
    local n = helper.fd_count()
    local b = helper.netns {}
    b:netlink "nlctrl":getfamily { family_id = 16 }
    local control = b:netlink "nlctrl"
    b:close()
    misuse("closed", control.getfamily, control, { family_id = 16 })
    misuse("closed", b.netlink, b, "nlctrl")
    assert.equal(n, helper.fd_count())
  end)

  it("survives decode and encode", function()
    local seen = {}
    local control = a:netlink "nlctrl"
    core.netlink.record(seen)
    control:list "getfamily"
    control:list("getpolicy", { family_name = "nlctrl" })
    core.netlink.record(nil)
    assert.is_true(#seen > 3)
    local S = ns.netlink.nlctrl:compile "family"
    local same = require("spec.roundtrip").same
    for _, m in ipairs(seen) do
      local once = S:decode(m[2])
      assert.is_true(same(once, S:decode(S:encode(once))))
      for key in pairs(once) do
        assert.is_nil(key:find "^#", key)
      end
    end
  end)
end)
