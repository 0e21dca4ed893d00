-- doc/api.md is what the docstrings say, and every public function has one.

local apidoc = dofile "tools/apidoc.lua"
local ns = require "nslua"

local read = apidoc.reader "lua/nslua/"

describe("doc/api.md", function()
  it("is what tools/apidoc.lua makes of the sources (lua5.4 tools/apidoc.lua doc/api.md)", function()
    local f = assert(io.open "doc/api.md")
    local kept = f:read "a"
    f:close()
    assert(kept == apidoc.generate(read), "doc/api.md is not what the docstrings say: run lua5.4 tools/apidoc.lua doc/api.md")
    assert.equal(apidoc.generate(read), apidoc.generate(read))
  end)

  it("documents every parameter by its name, and no other", function()
    local wrong = {}
    for _, page in ipairs(apidoc.pages) do
      for i = 2, #page do
        for _, item in ipairs(apidoc.public(page[i], read(page[i].file))) do
          if item.kind == "function" and not item.value then
            local documented = {}
            for _, t in ipairs(item.tags) do
              if t.tag == "param" then
                documented[#documented + 1] = t.text:match "^[^%s?]+"
              end
            end
            -- "..." may be told of in the text.
            if table.concat(documented, " "):gsub(" ?%.%.%.", "") ~= table.concat(item.params, " "):gsub(" ?%.%.%.", "") then
              wrong[#wrong + 1] = ("%s:%d %s(%s): documented: %s"):format(page[i].file, item.line, item.name, table.concat(item.params, ", "),
                table.concat(documented, ", "))
            end
          end
        end
      end
    end
    assert.same({}, wrong)
  end)

  it("has every function of ns", function()
    local text = apidoc.generate(read)
    local missing = {}
    local function need(name)
      if not text:find("### `" .. name .. "[(`]") then
        missing[#missing + 1] = name
      end
    end
    for _, name in ipairs{ "run", "spawn", "fork", "wait", "unshare", "setns", "connect", "clock", "monitor", "transaction", "exec" } do
      assert.equal("function", type(ns[name]), name)
      need("ns." .. name)
    end
    for _, part in ipairs{ "netns", "userns" } do
      for name, value in pairs(ns[part]) do
        if type(value) == "function" then
          need(("ns.%s.%s"):format(part, name))
        end
      end
    end
    assert.same({}, missing)
  end)

  it("has the rows, events and results that its functions give", function()
    local text = apidoc.generate(read)
    local missing = {}
    for name in text:gmatch "returns `[^`]*nslua%.([%w.]*%w)" do
      local class = name:lower():match "%w+$"
      if not text:find("### `nslua." .. name .. "`", 1, true) and not text:find("### `" .. class .. ":", 1, true) then
        missing[name] = true
      end
    end
    assert.same({}, missing)
  end)

  it("has every method of the handles", function()
    local text = apidoc.generate(read)
    local missing = {}
    local function need(class, methods)
      for name, value in pairs(methods) do
        if type(value) == "function" and not name:find "^_" and not text:find("### `" .. class .. ":" .. name .. "(", 1, true) then
          missing[#missing + 1] = class .. ":" .. name
        end
      end
    end
    need("handle", require("nslua.process").methods)
    for name, value in pairs(require("nslua.netns").methods) do
      if not require("nslua.namespace").Namespace.methods[name] then
        need("netns", { [name] = value })
      end
    end
    for name, value in pairs(require("nslua.namespace").Namespace.methods) do
      if not require("nslua.process").methods[name] then
        need("namespace", { [name] = value })
      end
    end
    for _, object in ipairs{ "link", "address", "route", "rule", "neighbour", "qdisc", "class", "filter" } do
      for name in pairs(require("nslua.rtnl." .. object).methods or require("nslua.rtnl." .. object).metatable.__index) do
        if not text:find(("### `%s:%s("):format(object, name), 1, true) then
          need("collection", { [name] = print })
        end
      end
    end
    assert.same({}, missing)
  end)
end)
