-- Topologies of the usual shapes: so many nodes and links, all in one piece, each where it belongs.

local lab = require "nslua.lab"

-- Of a topology: numbers of each kind, links, degrees by name, and how many nodes hang together with the first.
local function about(t)
  local near, kinds, kind_of = {}, { host = 0, router = 0, switch = 0 }, {}
  for _, node in ipairs(t.nodes) do
    near[node.name], kind_of[node.name] = {}, node.kind
    kinds[node.kind] = kinds[node.kind] + 1
  end
  for _, link in ipairs(t.links) do
    table.insert(near[link[1]], link[2])
    table.insert(near[link[2]], link[1])
  end
  local far, queue, at = { [t.nodes[1].name] = 0 }, { t.nodes[1].name }, 1
  while queue[at] do
    for _, other in ipairs(near[queue[at]]) do
      if not far[other] then
        far[other] = far[queue[at]] + 1
        queue[#queue + 1] = other
      end
    end
    at = at + 1
  end
  return { kinds = kinds, kind = kind_of, links = #t.links, near = near, far = far, whole = #queue == #t.nodes }
end

-- hosts, routers, switches, links
local shapes = {
  { "star", { 1 }, 1, 0, 1, 1 }, { "star", { 8 }, 8, 0, 1, 8 },
  { "line", { 1 }, 2, 1, 0, 2 }, { "line", { 20 }, 2, 20, 0, 21 },
  { "ring", { 3 }, 3, 3, 0, 6 }, { "ring", { 6 }, 6, 6, 0, 12 },
  { "tree", { 1, 1 }, 1, 0, 1, 1 }, { "tree", { 2, 4 }, 16, 0, 5, 20 }, { "tree", { 3, 2 }, 8, 0, 7, 14 },
  { "mesh", { 2 }, 2, 2, 0, 3 }, { "mesh", { 6 }, 6, 6, 0, 21 },
  { "fat_tree", { 2 }, 2, 5, 0, 6 }, { "fat_tree", { 4 }, 16, 20, 0, 48 }, { "fat_tree", { 6 }, 54, 45, 0, 162 },
}

describe("shapes of labs", function()
  for _, shape in ipairs(shapes) do
    local title = ("%s(%s)"):format(shape[1], table.concat(shape[2], ", "))

    it("are whole: " .. title, function()
      local t = lab.topology(lab[shape[1]](table.unpack(shape[2])))
      local a = about(t)
      assert.same({ host = shape[3], router = shape[4], switch = shape[5] }, a.kinds)
      assert.equal(shape[6], a.links)
      assert.is_true(a.whole)
      for i = 1, shape[3] do
        assert.equal("host", a.kind["h" .. i])
        assert.equal(1, #a.near["h" .. i])
      end
      assert.same(t, lab.topology(lab.text(t))) -- and can be written down
    end)

    it("have what is said of each of their links: " .. title, function()
      local arguments = { table.unpack(shape[2]) }
      arguments[#arguments + 1] = { delay = "1ms", to = { loss = "1%" }, mtu = 1400 }
      local t = lab.topology(lab[shape[1]](table.unpack(arguments)))
      for _, link in ipairs(t.links) do
        assert.same({ link[1], link[2], to = { delay = 0.001, loss = 0.01 }, from = { delay = 0.001 }, mtu = 1400 }, link)
      end
      assert.same(t, lab.topology(lab.text(t)))
    end)
  end

  it("are what they are called", function()
    local a = about(lab.topology(lab.ring(6)))
    for i = 1, 6 do
      local next_one, last = "r" .. i % 6 + 1, "r" .. (i + 4) % 6 + 1
      table.sort(a.near["r" .. i])
      local wanted = { "h" .. i, next_one, last }
      table.sort(wanted)
      assert.same(wanted, a.near["r" .. i])
    end
    a = about(lab.topology(lab.line(20)))
    assert.same({ 0, 21 }, { a.far.h1, a.far.h2 })
    a = about(lab.topology(lab.tree(3, 2)))
    for name, kind in pairs(a.kind) do
      assert.equal(kind == "host" and 1 or name == "s1" and 2 or 3, #a.near[name])
      assert.is_true(kind ~= "host" or a.far[name] == 3)
    end
    a = about(lab.topology(lab.mesh(5)))
    for i = 1, 5 do
      assert.equal(5, #a.near["r" .. i])
    end
  end)

  it("have k links at every router of a fat tree, and all shortest paths in use", function()
    local t = lab.topology(lab.fat_tree(4))
    local a = about(t)
    assert.is_true(t.multipath)
    for name, kind in pairs(a.kind) do
      assert.equal(kind == "router" and 4 or 1, #a.near[name], name)
    end
    local core = 0
    for name, near in pairs(a.near) do
      if name:find "^c" then
        local pods = {}
        core = core + 1
        for _, other in ipairs(near) do
          pods[other:match "^a(%d+)_"] = true
        end
        assert.same({ ["1"] = true, ["2"] = true, ["3"] = true, ["4"] = true }, pods) -- one in each pod
      end
    end
    assert.equal(4, core)
  end)

  for _, case in ipairs {
    { "star", { 0 }, "a whole number of at least 1 expected, got 0" }, { "star", { "8" }, "lab.star: a whole number" },
    { "line", {}, "got nil" }, { "ring", { 2 }, "at least 3" }, { "tree", { 2 }, "lab.tree: a whole number" }, { "mesh", { 1.5 }, "got 1.5" },
    { "fat_tree", { 3 }, "the number of pods is even" }, { "star", { 3, "fast" }, "lab.star: what links have is a table" },
    { "mesh", { 3, { dealy = "1ms" } }, "did you mean 'delay'?" },
  } do
    it(("refuse what they cannot be, at the caller's line: %s, %s"):format(case[1], case[3]), function()
      local ok, e = pcall(function()
        return lab.topology(lab[case[1]](table.unpack(case[2])))
      end)
      assert.is_false(ok)
      assert.is_truthy(e:find(case[3], 1, true), e)
      assert.is_truthy(e:find "^spec/lab_generate_spec.lua:%d+: ", e)
    end)
  end
end)
