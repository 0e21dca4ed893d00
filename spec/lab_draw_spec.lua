-- Drawings of labs: everything is in them, they fit, they are the same each time, and hostile names stay text.

local helper = require "spec.helper"
local lab = require "nslua.lab"

local shapes = {
  two = "h1 -- h2",
  design = "h1 --10ms-- r1 --10ms,100mbit-- (sw) -- h2\n(sw) -- h3",
  alone = "h1",
  apart = "h1 -- h2\nx -- y",
  double = "h1 -- h2\nh1 --5ms-- h2",
  star = lab.star(64),
  line = lab.line(30),
  ring = lab.ring(6),
  tree = lab.tree(4, 2),
  mesh = lab.mesh(6),
  fat = lab.fat_tree(4),
  long = "a-very-long-name-of-a-host-indeed --name a-long-name, 10ms, 1gbit, 5%-- another-rather-long-name-of-a-router -- (switch-with-a-name)",
}

local names = {}
for name in pairs(shapes) do
  names[#names + 1] = name
end
table.sort(names)

-- The name, not as part of a longer one.
local function has(text, name)
  return (" " .. text .. " "):find("[^%w_.-]" .. name:gsub("%p", "%%%0") .. "[^%w_.-]") ~= nil
end

describe("a lab as text", function()
  for _, name in ipairs(names) do
    it("has all of its nodes and links, within the columns: " .. name, function()
      local topology = lab.topology(shapes[name])
      for _, options in ipairs { {}, { ascii = true }, { columns = 50 }, { addresses = true, columns = 120 } } do
        local picture = lab.draw(shapes[name], options)
        for _, node in ipairs(topology.nodes) do
          assert.is_true(has(picture, node.name), node.name .. "\n" .. picture)
        end
        for line in picture:gmatch "[^\n]+" do
          local columns = utf8.len(line)
          assert(columns, line)
          if name ~= "long" and not (name == "tree" and options.columns) then
            assert.is_true(columns <= (options.columns or 80), columns .. ": " .. line)
          end
          assert.is_true(not options.ascii or not line:find "[\x80-\xff]", line)
        end
        -- each link is a line once
        local marks = 0
        for _ in picture:gmatch(options.ascii and "%-%-+[^%s]*" or "[─╌][─╌]+[^%s]*") do
          marks = marks + 1
        end
        assert.is_true(marks >= #topology.links, picture)
        assert.equal(picture, lab.draw(shapes[name], options))
      end
    end)
  end

  it("is what it shall look like", function()
    assert.equal([[
h1 ──10ms── r1 ──10ms,100mbit── (sw) ┬─── h2
                                     └─── h3
]], lab.draw(shapes.design))
    assert.equal([[
(s1) ┬─── (s2) ┬─── h1
     │         └─── h2
     └─── (s3) ┬─── h3
               └─── h4
]], lab.draw(lab.tree(2, 2)))
    assert.equal("h1 10.0.1.1 ──10.0.1.0/24── h2 10.0.1.2\n", lab.draw("h1 -- h2", { addresses = true }))
    assert.equal("(s1) +--- (s2) --- (s3)\n", lab.draw("(s1) -- (s2) -- (s3)\n(s1) -- h", { ascii = true }):match "^[^\n]+\n")
  end)

  it("refuses words it does not know", function()
    for _, options in ipairs { { format = "png" }, { colums = 5 } } do
      local ok, e = pcall(lab.draw, "h1 -- h2", options)
      assert.is_true(not ok and tostring(e):find "did you mean" ~= nil or tostring(e):find "format" ~= nil, tostring(e))
    end
  end)
end)

describe("a lab as SVG", function()
  local function parsed(svg)
    local path = os.tmpname()
    local f = assert(io.open(path, "w"))
    f:write(svg)
    f:close()
    local out, ok = helper.sh(("python3 -c 'import sys, xml.dom.minidom as m; d = m.parse(sys.argv[1]); "
      .. "print(\"\\n\".join(t.firstChild.data for t in d.getElementsByTagName(\"text\")))' %s"):format(path))
    os.remove(path)
    assert(ok, out)
    return out
  end

  for _, name in ipairs(names) do
    it("is well-formed, and has all of its nodes: " .. name, function()
      if not helper.has "python3" then
        return pending "no python3 here to read XML"
      end
      local topology = lab.topology(shapes[name])
      local svg = lab.draw(shapes[name], { format = "svg", addresses = true })
      local texts = "\n" .. parsed(svg) .. "\n"
      for _, node in ipairs(topology.nodes) do
        assert.is_truthy(texts:find("\n" .. node.name .. "\n", 1, true), node.name)
      end
      local _, paths = svg:gsub("<path ", "")
      assert.equal(#topology.links, paths)
      assert.equal(svg, lab.draw(shapes[name], { format = "svg", addresses = true }))
      assert.is_nil(svg:find "nan" or svg:find "%-?inf")
    end)
  end

  it("puts no two nodes in one place", function()
    local layout = require "nslua.lab.layout"
    for _, name in ipairs(names) do
      local places = layout.of(lab.topology(shapes[name]))
      local list = {}
      for _, place in pairs(places) do
        for _, other in ipairs(list) do
          assert.is_true((place.x - other.x) ^ 2 + (place.y - other.y) ^ 2 > 0.04, name)
        end
        list[#list + 1] = place
      end
    end
  end)

  it("keeps what is in a name as text", function()
    local topology = lab.topology("h1 --name x-- h2")
    topology.links[1].name = "<script>\"&'\1]]>"
    local svg = require("nslua.lab.svg").draw(topology)
    assert.is_nil(svg:find("<script", 1, true))
    assert.is_truthy(svg:find("&lt;script&gt;&quot;&amp;&apos;]]&gt;", 1, true))
    local graph = require "nslua.lab.graph"
    assert.is_truthy(graph.dot(topology):find('label="<script>\\"&', 1, true), graph.dot(topology))
    assert.is_nil(graph.mermaid(topology):find("<script", 1, true))
  end)
end)

describe("a lab for other tools", function()
  it("is DOT", function()
    local dot = lab.draw(shapes.design, { format = "dot" })
    assert.is_truthy(dot:find('"h1" -- "r1" [label="10ms"];', 1, true))
    assert.is_truthy(dot:find('"sw" [shape=box];', 1, true))
    if helper.has "dot" then
      local path = os.tmpname()
      local f = assert(io.open(path, "w"))
      f:write(dot)
      f:close()
      local out, ok = helper.sh("dot -Tplain " .. path)
      os.remove(path)
      assert(ok, out)
    end
  end)

  it("is Mermaid", function()
    assert.equal([[
flowchart LR
  n1("h1")
  n2(("r1"))
  n3["sw"]
  n1 ---|"10ms"| n2
  n2 --- n3
]], lab.draw("h1 --10ms-- r1 -- (sw)", { format = "mermaid" }))
  end)

  it("is JSON, with the addresses", function()
    local t = require("dkjson").decode(lab.draw(shapes.design, { format = "json" }))
    assert.same({ "h1", "host", "10.0.1.1/24" }, { t.nodes[1].name, t.nodes[1].kind, t.nodes[1].interfaces[1].addresses[1] })
    assert.same({ 0.01, 0.01 }, { t.links[1].to.delay, t.links[1].from.delay })
    assert.same({ node = "h1", dev = "eth0" }, t.links[1].ends[1])
    assert.equal(4, #t.links)
  end)
end)
