-- nslua lab: a network from a text, its prompt, and labs that stay.

local helper = require "spec.helper"
local rtnl = require "spec.rtnl_helper"

describe("nslua lab", function()
  local why = rtnl.cannot()
  if why then
    return it("", function()
      pending(why)
    end)
  end

  local function lab(args, input)
    return helper.sh(("printf '%%s' '%s' | build/bin/nslua lab %s"):format((input or ""):gsub("'", "'\\''"), args))
  end

  it("builds what is said, and reads commands and Lua", function()
    local out, ok = lab("-e 'h1 --5ms-- r1 -- h2'", [[
h1 hostname
h1 echo a b | tr a x
nodes
links
pingall 4
link h1 r1 down
link h1 r1 up
link h1 r1 delay 1ms
h1:address_of()
x = lab.h2:ping("h1", { timeout = 5 })
x.loss
h1 sh -c "exit 3"
h9 ping h1
lnk h1 r1 down
link h9 r1 down
foo bar
x = 1
x word
exit
]])
    assert(ok, out)
    assert.equal("h1 10.0.1.1 ──5ms 10.0.1.0/24── r1 ──10.0.2.0/24── h2 10.0.2.2", out:match "^[^\n]+")
    for _, text in ipairs { "lab> h1\n", "lab> x b\n", "h2           host    eth0 10.0.2.2/24 fd00:2::2/64", "5ms",
      "2 of 2 pairs answer, 0 % lost", "(down)",
      "lab> 10.0.1.1\n", "lab> 0.0\n", "(status 3)",
      "lab> no node h9: did you mean h1 or h2?\nlab> no command lnk: did you mean link?\nlab> no node h9: did you mean h1 or h2?\n",
      "h2?\nlab> no node foo; there are h1, r1 and h2\n", "syntax error near 'word'" } do
      assert.is_truthy(out:find(text, 1, true), text .. "\n" .. out)
    end
  end)

  it("moves a host to another switch", function()
    local out, ok = lab("-e 'h1 -- (s1) -- r1 -- (s2) -- h2'", "move h1 s1 s2\nmove h1 s1 s2\nmove h1 s2 s1 10.0.1.9/24\nmove h1 s1 h2\nmove h1\n")
    assert(ok, out)
    for _, text in ipairs { "link h1:eth0 -- s2:h1  10.0.2.1/24 fd00:2::1/64", "no link h1 -- s1", "link h1:eth0 -- s1:h1  10.0.1.9/24 fd00:1::1/64",
      "cannot lead to h2, which is a host and no switch", "usage: move NODE SWITCH SWITCH" } do
      assert.is_truthy(out:find(text, 1, true), text .. "\n" .. out)
    end
  end)

  it("knows what may stand where the cursor is", function()
    local ns = require "nslua"
    local complete = require "nslua.command.lab.complete".complete
    local built <close> = ns.lab "h1 -- r1 -- (s1) -- h2\n(s2) -- r1"
    local nodes = rawget(built, "node")
    local env = setmetatable({ lab = built, ns = ns }, { __index = nodes, __keys = { nodes } })
    for text, wanted in pairs { ["h"] = "h1 h2 help", ["link "] = "h1 h2 r1 s1 s2", ["link r1 "] = "h1 s1 s2",
      ["link r1 h1 c"] = "correlation corrupt",
      ["link r1 h1 delay 20ms l"] = "limit loss", ["move "] = "h2 r1", ["move h2 "] = "s1", ["move h2 s1 "] = "s2", ["move h2 s1 s2 "] = "keep",
      ["pingall "] = "4 6", ["h1 ping h"] = "h1 h2", ["h1:pat"] = "h1:path_mtu", ["lab:ping_"] = "lab:ping_all", ["h1.rou"] = "h1.route",
      ["x = ns.cont"] = "ns.container", ["print(h1:pat"] = "", ["nothing.x"] = "", ["h1:rou"] = "" } do
      local from = #text:match "^(.-)%S*$" + 1
      assert.equal(wanted, table.concat(complete(built, env, text, from, #text + 1), " "), text)
    end
    assert.is_truthy((" " .. table.concat(complete(built, env, "h1 slee", 4, 8), " ") .. " "):find " sleep ")
  end)

  it("says in a line what is wrong with a command, and shows what a table has and what a link is impaired by now", function()
    local out, ok = lab("-q -e 'h1 --5ms-- r1 -- h2'", [[
link h1 r1 dealy 3ms
link h1 r1 delay
link r1 h2 delay 3ms
link h1 r1 delay 20ms loss 0
links
draw
=lab:to_shell():match "netem[^\n]+"
h1:tcp("h2", 80)
link h1 r1 delay off loss off
draw
{ 1, { a = "b" } }
]])
    assert(ok, out)
    assert.is_nil(out:find("traceback", 1, true), out)
    for _, text in ipairs { "lab> link.change: unknown key 'dealy' (did you mean 'delay'?)\nlab> delay has no value: link h1 r1 delay VALUE\nlab> ",
      "begins with --0ms--\n", "10.0.1.0/24  20ms, 0%", "h1 ──20ms,0%── r1 ─── h2", "netem delay 20ms loss 0%", 'error = "ECONNREFUSED"',
      "h1 ──0s── r1 ─── h2", '{ 1, { a = "b" } }' } do
      assert.is_truthy(out:find(text, 1, true), text .. "\n" .. out)
    end
  end)

  it("shows of several links between two which is down", function()
    local out, ok = lab("-e 'h1 -- r1\nh1 -- r1'", 'lab:link("h1", "r1", 2):down()\nlinks\n')
    assert(ok, out)
    local first, second = out:match "\nlab> (h1:eth0 [^\n]+)\n(h1:eth1 [^\n]+)"
    assert.is_nil(assert(first, out):find("down", 1, true), out)
    assert.is_truthy(second:find("down", 1, true), out)
  end)

  it("reads files, of text and of Lua, and draws without building", function()
    local path = os.tmpname()
    local function write(name, text)
      local f = assert(io.open(name, "w"))
      f:write(text)
      f:close()
    end
    write(path, "h1 -- (sw) -- h2\n")
    write(path .. ".lua", "return ns.lab.star(2)\n")
    assert.equal("h1 ─── (sw) ─── h2", (lab("-d " .. path)))
    assert.is_truthy(lab("-d -f svg " .. path):find("^<svg"))
    assert.is_truthy(lab("-d -f dot " .. path .. ".lua"):find('"h1" -- "sw"', 1, true))
    assert.is_truthy(lab("-f shell " .. path):find("\nip netns add h1\n", 1, true))
    assert.is_truthy(lab("-q " .. path, "h1 hostname\n"):find("lab> h1\n", 1, true))
    os.remove(path)
    os.remove(path .. ".lua")
  end)

  it("keeps a lab, lists, uses and ends it", function()
    local name = "spec" .. io.open("/proc/self/stat"):read "n"
    local out, ok = lab(("--keep %s -q -e 'h1 -- h2'"):format(name))
    assert(ok, out)
    assert.is_truthy(lab("list"):find(name .. " +2 ", 1))
    assert.is_truthy(lab("list -j"):find('"name":"' .. name .. '"', 1, true))
    assert.equal("h2", (lab(("exec %s h2 hostname"):format(name))))
    assert.equal(7, select(3, lab(("exec %s h1 sh -c \"exit 7\""):format(name))))
    assert.equal("h2 --", (lab(("exec %s h2 -- sh -c 'echo $(hostname) $0' --"):format(name))))
    assert.is_truthy(lab(("exec %s h2 --"):format(name)):find("a program is missing", 1, true))
    out, ok = lab(("--keep %s -q -e 'h1 -- h2'"):format(name))
    assert.is_false(ok)
    assert.is_truthy(out:find(name, 1, true), out)
    out, ok = lab("destroy " .. name)
    assert(ok, out)
    assert.is_nil(lab("list"):find(name, 1, true))
    out, ok = lab("destroy " .. name)
    assert.is_true(not ok and out:find(name, 1, true) ~= nil, out)
  end)

  it("says what is wrong with a text, and how it is used", function()
    assert.matches("cannot open destory %(did you mean the command 'destroy'%?%)", (lab "destory x 2>&1"))
    local out, ok = lab("-e 'h1 --10xs-- h2'")
    assert.is_false(ok)
    assert.is_truthy(out:find("line 1, column 6", 1, true) and out:find("\n       ^", 1, true), out)
    assert.equal("nslua lab: unknown format 'svk' (did you mean 'svg'?); there are text, svg, dot, mermaid, json, shell",
      (lab "-f svk -e 'h1 -- h2'"))
    assert.is_truthy(lab(""):find("a file, -e <text>, or one of list", 1, true))
    assert.is_truthy(lab("enter"):find("the name of a lab is missing", 1, true))
    assert.is_truthy(lab("--help"):find("destroy", 1, true))
  end)
end)
