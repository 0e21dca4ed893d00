-- The guides of doc/ about containers: what they tell to type is there, and the Chinese pages print what the English ones do.

local h = require "spec.helper"

local function read(name)
  local f = assert(io.open("doc/" .. name))
  local text = f:read "a"
  f:close()
  return text
end

local function blocks(text)
  local out = {}
  for block in text:gmatch "```\n(.-)```" do
    out[#out + 1] = block
  end
  return out
end

describe("the guides", function()
  local commands = {}
  for word in h.sh "build/bin/nslua help --list":gmatch "%S+" do
    commands[word] = true
  end

  for _, name in ipairs { "containers", "reach" } do
    local english, chinese = read(name .. ".md"), read(name .. ".zh.md")

    it(name .. ".md types commands and options that there are", function()
      local n = 0
      for _, text in ipairs { english, chinese } do
        for line in text:gmatch "[^\n]+" do
          for begin, typed in line:gmatch "([`$][ ]?)nslua ([^`\n]+)" do
            local word = typed:match "^%S+"
            assert.is_true(commands[word], "no command: " .. begin .. "nslua " .. typed)
            local help = h.sh(("build/bin/nslua %s --help"):format(word))
            for option in (typed:match "^%S+(.-)$"):gsub(" ip .*$", ""):gsub("'.-'", ""):gsub("|.*$", ""):gmatch " (%-%-?%a[%w-]*)" do
              for letter in option:match "^%-(%a*)$" and option:sub(2):gmatch "." or function() end do
                assert.is_truthy(help:find("%-" .. letter .. "[,%s<]"), ("nslua %s has no -%s"):format(word, letter))
              end
              if option:find "^%-%-" then
                assert.is_truthy(help:find(option, 1, true), ("nslua %s has no %s"):format(word, option))
              end
            end
            n = n + 1
          end
        end
      end
      assert.is_true(n > 15, tostring(n))
    end)

    it(name .. ".md prints the same in both languages, and links to pages that there are", function()
      assert.same(blocks(english), blocks(chinese))
      assert.is_true(#blocks(english) >= 5)
      for _, text in ipairs { english, chinese } do
        for target in text:gmatch "%]%(([%w_.]+%.md)%)" do
          assert.is_truthy(read(target))
        end
      end
    end)
  end
end)
