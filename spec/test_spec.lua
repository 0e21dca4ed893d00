-- ns.test: what prove(1) and an XML parser read in its reports, and the exit status of a script that tests.

local helper = require "spec.helper"

describe("ns.test", function()
  local dir

  setup(function()
    dir = os.tmpname()
    os.remove(dir)
    assert(select(2, helper.sh("mkdir " .. dir)))
  end)
  teardown(function()
    helper.sh("rm -r " .. dir)
  end)

  -- Run a script by the host; its output and status.
  local function script(text, more)
    local f = assert(io.open(dir .. "/t.lua", "w"))
    f:write(text)
    f:close()
    local out, _, status = helper.sh(("%s build/bin/nslua %s/t.lua %s 2>/dev/null"):format(more or "", dir, dir))
    return out, status
  end

  local ALL = [=[
    local t <close> = ns.test { name = "all of it", format = arg[2], file = arg[3] }
    t:test("passes", function() end)
    t:test("fails # not a directive", function() assert(1 > 2) end)
    t:test("fails <inside> \"nslua\" & \1\255 \195\169", function() ns.netns.open "/no/such/file" end)
    t:test("raises anything", function() error { 1 } end)
    t:test("skips", function() t:skip "no wine here" end)
    t:skip("is not run", "no time]]>")
    t:note "two\nlines"
  ]=]

  it("prints TAP: each result at once, with the place of what failed, and a plan", function()
    local out, status = script(ALL)
    assert.equal(1, status)
    assert.matches("^TAP version 13\nok 1 %- passes\nnot ok 2 %- fails \\# not a directive\n  %-%-%-\n"
      .. "  message: \"[^\n]*t.lua:3: assertion failed!\"\n", out)
    assert.matches("\n  at: \"[^\n]*/t.lua:3\"\n  stack: |\n    [^\n]*/t.lua:3: in function <", out)
    assert.matches("\n  message: \"[^\n]*t.lua:4: netns.open: ENOENT: [^\n]*\"\n  at: \"[^\n]*/t.lua:4\"\n", out)
    assert.matches("\nnot ok 4 %- raises anything\n  %-%-%-\n  message: \"%[1%]\"\n", out)
    assert.matches("\nok 5 %- skips # SKIP no wine here\nok 6 %- is not run # SKIP no time]]>\n# two\n# lines\n1..6\n"
      .. "# 1 passed, 3 failed, 2 skipped$", out)
  end)

  it("is understood by prove", function()
    if not helper.has "prove" then
      return pending "no prove(1)"
    end
    script(ALL)
    local out, _, status = helper.sh(("prove -v -e build/bin/nslua %s/t.lua"):format(dir))
    assert.equal(1, status, out)
    assert.matches("Failed tests:  2%-4\n", out)
    assert.matches("Tests: 6 Failed: 3", out)
    assert.is_nil(out:find "Parse errors")
    script 'local t <close> = ns.test { plan = 2 }\nt:test("a", function() end)\nt:skip("b", "c")'
    out, _, status = helper.sh(("prove -e build/bin/nslua %s/t.lua"):format(dir))
    assert.equal(0, status, out)
    assert.matches("Result: PASS", out)
  end)

  it("writes JUnit's XML, which a parser reads, and TAP beside it", function()
    if not helper.has "python3" then
      return pending "no python3"
    end
    local report = dir .. "/report.xml"
    script(ALL)
    local out, _, status = helper.sh(("build/bin/nslua %s/t.lua x junit %s"):format(dir, report))
    assert.equal(1, status)
    assert.matches("^TAP version 13\nok 1 %- passes\n", out)
    local told, ok = helper.sh([[python3 - ]] .. report .. [[ <<'END'
import sys, xml.etree.ElementTree as tree
root = tree.parse(sys.argv[1]).getroot()
suite = root.find("testsuite")
print(root.tag, suite.attrib["name"], *(suite.attrib[k] for k in ("tests", "failures", "errors", "skipped")))
for case in suite.findall("testcase"):
    print(case.attrib["classname"], ascii(case.attrib["name"]), case.attrib.get("line"), float(case.attrib["time"]) >= 0,
          *((kind.tag, kind.attrib["message"].split("/")[-1]) for kind in case))
print(repr(suite.find("system-out").text))
END]])
    assert.is_true(ok, told)
    local lines = {}
    for line in told:gmatch "[^\n]+" do
      lines[#lines + 1] = line
    end
    assert.equal("testsuites all of it 6 3 0 2", lines[1])
    assert.equal("all of it 'passes' None True", lines[2])
    assert.equal("all of it 'fails # not a directive' 3 True ('failure', 't.lua:3: assertion failed!')", lines[3])
    assert.equal([[all of it 'fails <inside> "nslua" & ?? \xe9' 4 True ('failure', 'file)')]], lines[4])
    assert.matches("^all of it 'raises anything' .*'failure', '%[1%]", lines[5])
    assert.equal("all of it 'skips' None True ('skipped', 'no wine here')", lines[6])
    assert.equal("all of it 'is not run' None True ('skipped', 'no time]]>')", lines[7])
    assert.equal("'two\\nlines'", lines[8])
    out = helper.sh(("build/bin/nslua %s/t.lua x junit"):format(dir))
    assert.matches("^<%?xml version=\"1.0\" encoding=\"UTF%-8\"%?>\n<testsuites .*</testsuites>$", out)
  end)

  it("ends a script with status 1 where a test failed, however it ends", function()
    local function status_of(text)
      local out, status = script(text)
      return status, out
    end
    assert.equal(0, status_of 'local t = ns.test()\nt:test("a", function() end)')
    assert.equal(1, status_of 'local t = ns.test()\nt:test("a", function() error "x" end)') -- nobody closes it
    assert.equal(1, status_of 'local t = ns.test()\nt:test("a", function() error "x" end)\nos.exit(0)')
    local status, out = status_of 'local t = ns.test()\nt:test("a", function() os.exit(0) end)'
    assert.equal(1, status)
    assert.matches('not ok 1 %- a\n  %-%-%-\n  message: "the script ended in it"\n', out)
    assert.matches("\n1..1\n# 0 passed, 1 failed, 0 skipped$", out)
    status, out = status_of 'local t <close> = ns.test()\nt:test("a", function() end)\nerror "lost"'
    assert.equal(1, status)
    assert.matches("Bail out! [^\n]*t.lua:3: lost$", out)
    assert.is_nil(out:find "1%.%.1")
    status, out = status_of 'local t <close> = ns.test { plan = 2 }\nt:test("a", function() end)'
    assert.equal(1, status)
    assert.matches("^TAP version 13\n1..2\nok 1 %- a\n# 2 tests were planned, 1 run\n", out)
  end)

  it("fails where its report cannot be written", function()
    for _, format in ipairs { "tap", "junit" } do
      local out, status = script(([[
        local t = ns.test { format = "%s", file = "/dev/full" }
        t:test("a", function() end)
        io.stderr:write(tostring(t:close()))]]):format(format))
      assert.equal(1, status, out)
      out = helper.sh(("build/bin/nslua %s/t.lua 2>&1 >/dev/null"):format(dir))
      assert.matches("^nslua: the report of the tests cannot be written: No space left on device\nfalse$", out)
    end
  end)

  it("says so under another interpreter too, and what else fails stays as it is", function()
    local f = assert(io.open(dir .. "/t.lua", "w"))
    f:write 'local t = require("nslua").test()\nt:test("a", function() error "x" end)\n'
    f:close()
    local out, _, status = helper.sh(helper.lua .. " " .. dir .. "/t.lua")
    assert.equal(1, status, out)
    assert.matches("\n1..1\n", out)
    status = select(2, script 'local t <close> = ns.test()\nt:test("a", function() end)\nrequire("nslua.core").process.exit(7)')
    assert.equal(7, status)
  end)

  it("runs the tests behind one that failed, and takes down what it made", function()
    local out = script [[
      local t <close> = ns.test()
      local closed
      print("#", t:test("a", function()
        local x <close> = setmetatable({}, { __close = function() closed = true end })
        error "x"
      end), closed)
      print("#", t:test("b", function() end), t)
      print("#", pcall(t.test, t, "c", function() t:test("d", function() end) end))
      t:close()
      print("#", pcall(t.test, t, "e", function() end))
    ]]
    assert.matches("\n#\tfalse\ttrue\n", out)
    assert.matches("\n#\ttrue\t1 passed, 1 failed, 0 skipped\n", out)
    assert.matches('test: \\"c\\" runs, one is not in the other', out)
    assert.matches("test: it is closed", out)
  end)

  it("refuses what it does not know", function()
    local ns = require "nslua"
    for text, options in pairs { ["unknown format 'jnuit' %(did you mean 'junit'%?%)"] = { format = "jnuit" },
      ["unknown key 'fiel' %(did you mean 'file'%?%)"] = { fiel = "x" } } do
      local ok, e = pcall(ns.test, options)
      assert.is_false(ok)
      assert.matches(text, e)
    end
    helper.fails("ENOENT", ns.test, { file = dir .. "/none/report.xml" })
  end)
end)
