-- doc/nslua.1 is made of the commands' declarations, and well-formed; the completion completes.

local helper = require "spec.helper"

describe("the manual page", function()
  it("is what tools/manpage.lua makes of the commands", function()
    local made = os.tmpname()
    local _, ok = helper.sh("build/bin/nslua tools/manpage.lua >" .. made)
    assert.is_true(ok)
    local diff = helper.sh("diff doc/nslua.1 " .. made)
    os.remove(made)
    assert.equal("", diff, "make doc")
  end)

  it("has nothing that mandoc would mend", function()
    if not helper.has "mandoc" then
      pending "no mandoc"
      return
    end
    assert.equal("", helper.sh "mandoc -T lint -W style doc/nslua.1 2>/dev/null")
  end)

  it("shows every command and every option", function()
    local page = helper.sh "cat doc/nslua.1"
    for name in helper.sh "build/bin/nslua help --list":gmatch "%S+" do
      assert.is_truthy(page:find(".Ss nslua " .. name, 1, true), name)
      for option in helper.sh("build/bin/nslua " .. name .. " --help"):gmatch "%-%-([%l-]+)" do
        assert.is_truthy(page:find("Fl \\-" .. option:gsub("%-", "\\-"), 1, true) or name == "netns", name .. " --" .. option)
      end
    end
  end)
end)

-- What bash would offer for these words; the last one is being typed.
local function complete(...)
  local words = {}
  for i, word in ipairs { ... } do
    words[i] = "'" .. word .. "'"
  end
  local out, ok = helper.sh(("PATH=$PWD/build/bin:$PATH bash -c 'source <(nslua help --completion bash)\nCOMP_WORDS=(\"$@\")\n"
    .. "COMP_CWORD=$((${#COMP_WORDS[@]}-1))\n_nslua\necho \"${COMPREPLY[*]}\"' _ %s"):format(table.concat(words, " ")))
  assert.is_true(ok, out)
  return out
end

describe("bash completion", function()
  if not helper.has "bash" then
    pending "no bash"
    return
  end

  it("knows commands, options and their values", function()
    assert.equal("help", complete("nslua", "hel"))
    assert.equal("--completion", complete("nslua", "help", "--com"))
    assert.equal("bash", complete("nslua", "help", "--completion", ""))
    assert.equal("bash", complete("nslua", "help", "--completion", "=", "b"))
    assert.equal("bash", complete("nslua", "help", "--completion", "="))
  end)

  it("offers every option of every command", function()
    for name in helper.sh "build/bin/nslua help --list":gmatch "%S+" do
      local offered = " " .. complete("nslua", name, "-") .. " "
      for option in helper.sh("build/bin/nslua " .. name .. " --help"):gmatch "\n [^\n]-(%-%-[%l-]+)" do
        assert.is_truthy(offered:find(" " .. option .. " ", 1, true), name .. " " .. option)
      end
    end
  end)
end)
