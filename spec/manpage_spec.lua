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

-- What bash would offer for these words, by that command; the last one is being typed.
local function completions(show, ...)
  local words = {}
  for i, word in ipairs { ... } do
    words[i] = "'" .. word .. "'"
  end
  local out, ok = helper.sh(("PATH=$PWD/build/bin:$PATH bash -c 'source <(nslua help --completion bash)\nCOMP_WORDS=(\"$@\")\n"
    .. "COMP_CWORD=$((${#COMP_WORDS[@]}-1))\n_nslua\n%s' _ %s"):format(show, table.concat(words, " ")))
  assert.is_true(ok, out)
  return out
end
local function complete(...)
  return completions('echo "${COMPREPLY[*]}"', ...)
end
local function complete_each(...)
  return completions('printf "<%s>\\n" "${COMPREPLY[@]}" | LC_ALL=C sort | tr -d "\\n"', ...)
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

  it("completes values: words, files, folders, users", function()
    assert.equal("slave shared", complete("nslua", "unshare", "--propagation", "s"))
    assert.equal("deny", complete("nslua", "unshare", "--setgroups", "=", "d"))
    assert.equal("auto all", complete("nslua", "unshare", "-m", "--map-users", "a"))
    assert.equal("follow", complete("nslua", "nsenter", "-S", "f"))
    assert.equal("root", complete("nslua", "unshare", "--map-user", "roo"))
    assert.equal("SIGTERM", complete("nslua", "unshare", "--kill-child", "=", "SIGTE"))
    for _, words in ipairs { { "--root" }, { "-R" }, { "-rmR" }, { "--mount-proc", "=" }, { "-f", "-w" } } do
      words[#words + 1] = "/usr/li"
      local offered = complete("nslua", "unshare", table.unpack(words))
      assert.truthy((" " .. offered .. " "):find(" /usr/lib ", 1, true), offered)
    end
    assert.equal("/proc/self/ns/net", complete("nslua", "nsenter", "--net", "=", "/proc/self/ns/ne"))
  end)

  it("takes a name with blanks or a star for one", function()
    local dir = helper.sh "mktemp -d"
    finally(function()
      helper.sh("rm -r " .. dir)
    end)
    helper.sh(("touch '%s/a b' '%s/a *'; mkdir '%s/d e'"):format(dir, dir, dir))
    assert.equal(("<%s/a *><%s/a b>"):format(dir, dir), complete_each("nslua", "nsenter", "--net", "=", dir .. "/a"))
    assert.equal(("<%s/d e>"):format(dir), complete_each("nslua", "unshare", "-R", dir .. "/"))
    assert.equal(("<%s/d e>"):format(dir), complete_each("nslua", "unshare", "true", dir .. "/d"))
  end)

  it("leaves the program its own options and files", function()
    for _, words in ipairs { { "-n", "ls" }, { "--net", "=", "/x", "ls" }, { "-R", "/", "ls" }, { "--", "ls" },
      { "-rw", "/", "--root", "/", "ls", "-a" } } do
      words[#words + 1] = "--mou"
      assert.equal("", complete("nslua", "unshare", table.unpack(words)), table.concat(words, " "))
      words[#words] = "/etc/host"
      assert.matches("/etc/hosts", complete("nslua", "unshare", table.unpack(words)))
    end
    assert.matches("%f[%w]bash%f[%W]", complete("nslua", "unshare", "-n", "--root", "/", "bas"))
    assert.matches("%f[%w]bash%f[%W]", complete("nslua", "nsenter", "-t", "1", "-n/x", "bas"))
    assert.equal("--mount --mount-proc --mount-binfmt", complete("nslua", "unshare", "-n", "--root", "/", "--mou"))
  end)

  it("sees a command behind options of the program", function()
    assert.equal("--trace", complete("nslua", "--t"))
    assert.equal("help", complete("nslua", "--trace", "-E", "hel"))
    assert.equal("--completion", complete("nslua", "--trace", "help", "--com"))
    assert.equal("bash", complete("nslua", "-l", "x", "--trace", "=", "all", "help", "--completion", "="))
    assert.matches("^all", complete("nslua", "--trace", "="))
    assert.equal("README.md", complete("nslua", "--trace", "=", "READ"))
  end)

  it("offers every option of every command", function()
    for name in helper.sh "build/bin/nslua help --list":gmatch "%S+" do
      local offered = " " .. complete("nslua", name, "-") .. " "
      for option in helper.sh("build/bin/nslua " .. name .. " --help"):gmatch "\n [^\n]-(%-%-[%w-]+)" do
        assert.is_truthy(offered:find(" " .. option .. " ", 1, true), name .. " " .. option)
      end
    end
  end)
end)
