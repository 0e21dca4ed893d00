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
  parallel = "a --10ms-- b -- c -- a\na --20ms-- b\na --1%, 10mbit-- b\nb -- c",
  spine = "(s1) -- l1 -- h1\n(s1) -- l2 -- h2\n(s2) -- l1\n(s2) --5ms-- l2\n(s1) --1gbit-- l3 -- h3\n(s2) -- l3",
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
      for _, options in ipairs { {}, { ascii = true }, { columns = 52 }, { addresses = true, columns = 120 } } do
        local picture = lab.draw(shapes[name], options)
        for _, node in ipairs(topology.nodes) do
          assert.is_true(has(picture, node.name), node.name .. "\n" .. picture)
        end
        for line in picture:gmatch "[^\n]+" do
          local columns = utf8.len(line)
          assert(columns, line)
          assert.is_true(columns <= (options.columns or 80), columns .. ": " .. line)
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

  it("goes on below where there is no room, and tells at the end what is long", function()
    assert.equal([[
r1 ┬─── r2 ┬─── r3 ┬─── r4 ┬─── r5
   │       │       │       │   ├─── r6 ▸
   │       │       │       │   └─── h5
   │       │       │       └─── h4
   │       │       └─── h3
   │       └─── h2
   └─── h1
r6 ┬─── r7
   └─── h6
]], lab.draw("r1 -- r2 -- r3 -- r4 -- r5 -- r6 -- r7\nr1 -- h1\nr2 -- h2\nr3 -- h3\nr4 -- h4\nr5 -- h5\nr6 -- h6", { columns = 40 }))
    assert.equal([[
a ──[1]── b ─── c ─── d ─── e ▸
╰▸ ─── f

[1] a-long-name 10ms, jitter 2ms,
    1%
]], lab.draw("a --name a-long-name, 10ms±2ms, 1%-- b -- c -- d -- e -- f", { columns = 34 }))
  end)

  it("has every network in 40 columns and more, whole: 300 of them", function()
    local state = 42
    local function random(n)
      state = (state * 1103515245 + 12345) & 0x7fffffff
      return (state >> 8) % n + 1
    end
    for round = 1, 300 do
      local t = { links = {} }
      local n, rings = random(30) + 1, random(4) - 1
      local chains = random(3) == 1 -- or bushes
      local function name(i)
        return ("x"):rep(i % 3 == 0 and round % 9 or 1) .. i
      end
      for i = 2, n do
        t.links[#t.links + 1] = { name(chains and math.max(1, i - random(2)) or random(i - 1)), name(i), delay = random(3) == 1 and "10ms" or nil,
          name = random(6) == 1 and "link-" .. ("y"):rep(random(60)) or random(9) == 1 and "\u{65e5}\u{672c}\27[1m" or nil }
      end
      for _ = 1, n > 2 and rings or 0 do
        local a = random(n - 1)
        t.links[#t.links + 1] = { name(a), name(a + 1), rate = "1gbit" }
      end
      local columns, ascii = 39 + random(60), random(4) == 1
      local picture = lab.draw(t, { columns = columns, addresses = random(2) == 1, ascii = ascii })
      assert.is_nil(picture:gsub("\n", ""):find "%c")
      for line in picture:gmatch "[^\n]+" do
        assert.is_true(utf8.len(line) + select(2, line:gsub("[\xe6]", "")) <= columns, columns .. "\n" .. picture)
      end
      for i = 1, n do
        assert.is_true(has(picture, name(i)), name(i) .. "\n" .. picture)
      end
      local rest, bare = picture:gsub("─", "\1"):gsub("\1\1\1", "")
      local _, words = rest:gsub("\1\1[^\1\n]+\1\1", "")
      assert.is_true(ascii or bare + words == #t.links, picture)
    end
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
      local _, paths = svg:gsub('<path class="link', "")
      assert.equal(#topology.links, paths)
      assert.equal(svg, lab.draw(shapes[name], { format = "svg", addresses = true }))
      assert.is_nil(svg:find "nan" or svg:find "%-?inf")
    end)
  end

  -- Middles and sizes of nodes and labels, and of the picture.
  local function boxes_of(svg)
    local out = {}
    local function add(class, x, y, w, h)
      out[#out + 1] = { class = class, x = x + w / 2, y = y + h / 2, w = tonumber(w), h = tonumber(h) }
    end
    for class, x, y, w, h in svg:gmatch '<rect class="([%a ]+)" x="([-%d.]+)" y="([-%d.]+)" width="([%d.]+)" height="([%d.]+)"' do
      add(class, x, y, w, h)
    end
    for x, y, inner, right, corner, bottom in svg:gmatch
      '<path class="node switch" d="M([-%d.]+) ([-%d.]+) H([-%d.]+) L([-%d.]+) ([-%d.]+) V([-%d.]+)' do
      local cut = right - inner
      assert.equal(tostring(corner - y), tostring(cut))
      add("node switch", x - cut, y, right - x + cut, bottom + cut - y)
    end
    return out, svg:match 'viewBox="0 0 (%d+) (%d+)"'
  end

  for _, name in ipairs(names) do
    it("has nothing that covers something else, nor lies outside: " .. name, function()
      local topology = lab.topology(shapes[name])
      for _, addresses in ipairs { true, false } do
        local boxes, width, height = boxes_of(lab.draw(shapes[name], { format = "svg", addresses = addresses }))
        local nodes = 0
        for i, box in ipairs(boxes) do
          nodes = nodes + (box.class:find "^node" and 1 or 0)
          assert.is_true(box.x - box.w / 2 >= -1 and box.y - box.h / 2 >= -1, name)
          assert.is_true(box.x + box.w / 2 <= width + 1 - 48 and box.y + box.h / 2 <= height + 1 - 48, name) -- within the margins
          for k = 1, i - 1 do
            local other = boxes[k]
            local apart = math.abs(box.x - other.x) > (box.w + other.w) / 2 - 0.2 or math.abs(box.y - other.y) > (box.h + other.h) / 2 - 0.2
            assert(apart, ("%s %d and %s %d of %s"):format(box.class, i, other.class, k, name))
          end
        end
        assert.equal(#topology.nodes, nodes)
      end
    end)
  end

  it("has room for what stands in a box", function()
    for _, name in ipairs { "long", "design", "ring" } do
      local svg = lab.draw(shapes[name], { format = "svg", addresses = true })
      for _, box in ipairs((boxes_of(svg))) do
        for class, x, y, text in svg:gmatch '<text class="(%a+)" x="([-%d.]+)" y="([-%d.]+)">([^<]*)</text>' do
          if math.abs(x - box.x) < 0.2 and math.abs(y - box.y) < box.h / 2 then
            assert.is_true(box.w >= #text * (class == "name" and 7.8 or 6.3), text)
          end
        end
      end
    end
  end)

  it("turns long chains, and draws all links of large networks", function()
    local _, width, height = boxes_of(lab.draw(lab.line(60), { format = "svg" }))
    assert.is_true(tonumber(width) < 1400 and tonumber(height) > 300)
    local large = { links = {} }
    for i = 1, 999 do
      large.links[i] = { "r" .. i + 1, "r" .. i // 3 + 1, delay = "1ms" }
      large.links[999 + i] = i % 9 == 0 and { "r" .. i, "r" .. 1000 - i } or { "r" .. i + 1, "r" .. i // 3 + 1, rate = "1gbit" }
    end
    local _, paths = lab.draw(large, { format = "svg" }):gsub('<path class="link', "")
    assert.equal(#large.links, paths)
  end)

  it("shows what is down", function()
    local topology = lab.topology "h1 --10ms-- h2\nh2 -- h3"
    local svg = require("nslua.lab.svg").draw(topology, { down = { [2] = true } })
    local _, down = svg:gsub('class="link[^"]* down"', "")
    assert.equal(1, down)
    assert.is_truthy(svg:find('class="small bad"[^>]*>down<'))
  end)

  it("shows in every form what a link was told to do later", function()
    local agenda = require "nslua.lab.agenda"
    local topology = lab.topology "h1 --10ms-- h2\nh2 -- h3"
    local plan = require("nslua.lab.addressing").plan(topology)
    local list = { agenda.flap { down = 2, up = "1s" },
      agenda.at("500ms", { to = { loss = "10%", delay = false }, from = { loss = "10%" }, up = false }),
      agenda.at(0, { to = false, from = false }), agenda.flap { down = 0, count = 1 },
      agenda.replay { rate = { { 0, "10mbit" }, { 2, "1mbit" } }, to = { delay = { { 0, 0.1 }, { 3, 0.2 } } }, loop = true } }
    local words = { "flap 2s/1s", "at 500ms: down, >no delay, loss 10%", "at 0s: nothing", "replay >delay, rate again and again" }
    local options = { plan = plan, agenda = { list } }
    assert.same(words, agenda.texts(list)) -- what has come to its end and left nothing is left out
    local graph, all = require "nslua.lab.graph", table.concat(words, "; ")
    local picture = require("nslua.lab.picture").draw(topology, options):gsub("\n *", " ")
    assert.is_truthy(picture:find("[1] 10ms; " .. all, 1, true), picture)
    assert.is_truthy(graph.dot(topology, options):find('"h1" -- "h2" [label="10ms; ' .. all .. '"];', 1, true))
    assert.is_truthy(graph.mermaid(topology, options):find("10ms#59; flap 2s/1s#59; at 500ms: down, #62;no delay", 1, true))
    local svg = require("nslua.lab.svg").draw(topology, options)
    for _, text in ipairs(words) do
      assert.is_truthy(svg:find(">" .. text:gsub(">", "&gt;") .. "<", 1, true), svg)
    end
    local told = require("dkjson").decode(graph.json(topology, plan, options)).links
    assert.is_nil(told[2].schedule)
    assert.same({ kind = "flap", down = 2, up = 1, after = 0, done = false }, told[1].schedule[1])
    assert.same({ kind = "at", after = 0.5, lasts = 0.5, to = { loss = 0.1, delay = false }, from = { loss = 0.1 }, up = false, done = false },
      told[1].schedule[2])
    assert.same({ { 0, "10mbit" }, { 2, "1mbit" } }, told[1].schedule[5].from.rate)
  end)

  it("keeps what is in a name as text", function()
    local topology = lab.topology("h1 --name x-- h2")
    topology.links[1].name = "<script>\"&'\1]]>"
    local svg = require("nslua.lab.svg").draw(topology)
    assert.is_nil(svg:find("<script", 1, true))
    assert.is_truthy(svg:find("&lt;script&gt;&quot;&amp;&apos;?]]&gt;", 1, true))
    local graph = require "nslua.lab.graph"
    assert.is_truthy(graph.dot(topology):find('label="<script>\\"&', 1, true), graph.dot(topology))
    assert.is_nil(graph.mermaid(topology):find("<script", 1, true))
  end)

  -- an escape of a terminal, no UTF-8, a mark of direction, a C1 control, no character; what ends texts in DOT, Mermaid and XML
  for _, name in ipairs { "\27[31mred\7", "\xff\xfe", "a\u{202e}b", "a\u{9b}31m", "\u{ffff}", 'x"; h1 -- h9; "', "x\\", 'x\\"', '|"]; click n1',
    "`*b*`", "]]><!--", "&#0;", "%d%s%1", "\0", "\n}\n" } do
    it(("is what it was, with a link named %q"):format(name), function()
      local said = { links = { { "h1", "h2", name = name, delay = "1ms" } } }
      for _, format in ipairs { "text", "svg", "dot", "mermaid", "json" } do
        local out = lab.draw(said, { format = format })
        assert.is_truthy(utf8.len(out), format)
        assert.is_nil(out:gsub("\n", ""):find "%c", format)
        assert.is_true(format == "json" or not out:find "\u{9b}" and not out:find "\u{202e}", format)
      end
      local _, lines = lab.draw(said, { format = "mermaid" }):gsub("\n", "")
      assert.equal(4, lines)
      assert.is_nil(lab.draw(said, { format = "mermaid" }):match '|"(.*)"|':find '["`<>\\]')
      _, lines = lab.draw(said, { format = "dot" }):gsub("\n", "")
      assert.equal(6, lines)
      local label = lab.draw(said, { format = "dot" }):match "%[label=(.*)%];\n}"
      assert.is_truthy(label:find '^"' and label:sub(2):gsub("\\.", ""):find '^[^"]*"$', label)
      if helper.has "python3" then
        assert.equal(5, select(2, (parsed(lab.draw(said, { format = "svg" })) .. "\n"):gsub("\n", ""))) -- nodes, name, delay, subnet
      end
      if helper.has "dot" then
        local path = os.tmpname()
        local f = assert(io.open(path, "w"))
        f:write(lab.draw(said, { format = "dot" }))
        f:close()
        local out, ok = helper.sh("dot -Tplain " .. path .. " | grep -c '^node\\|^edge'")
        os.remove(path)
        assert.equal("3", ok and out or out)
      end
    end)
  end
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
