-- The options of `nslua unshare` and `nslua nsenter` where they meet: repeated, abbreviated, in odd order, with odd values.

local helper = require "spec.helper"
local n = require "spec.nsenter_helper"

local UNSHARE = n.HOST .. " unshare"
local RIGHTS = n.root and "" or "-r "

-- The same command line, "TOOL" by util-linux and by ours: output but for the name, and exit status.
local function same(command, tool)
  local want, _, want_status = helper.sh((command:gsub("TOOL", tool)))
  local got, _, status = helper.sh((command:gsub("TOOL", n.HOST .. " " .. tool)))
  assert.equal(want, (got:gsub("nslua " .. tool, tool)), command)
  assert.equal(want_status, status, command)
  return got, status
end

local function unshare(words)
  local out, _, status = helper.sh(UNSHARE .. " " .. words)
  return out, status
end

describe("options", function()
  after_each(helper.close_held)

  it("that are more than the tool's own leave its abbreviations alone", function()
    same("TOOL --h >/dev/null", "unshare")
    same(("TOOL %s--i --net true"):format(RIGHTS), "unshare")
    same(("TOOL --i%s readlink /proc/self/ns/ipc >/dev/null"):format(n.root and "" or " -r"), "unshare")
    local pid = n.target "-u"
    same(("TOOL -t %d %s--pre -u true"):format(pid, n.root and "" or "-U "), "nsenter")
    same(("TOOL -t %d %s--pr -u true"):format(pid, n.root and "" or "-U "), "nsenter")
    assert.equal("box", (unshare(RIGHTS .. "--hostname=box hostname")))
    assert.equal("box", (unshare(RIGHTS .. "--hostname box hostname")))
    local out, status = unshare "--hostnam box hostname"
    assert.equal("nslua unshare: unrecognized option '--hostnam'\nTry 'nslua unshare --help' for more information.", out)
    assert.equal(1, status)
  end)

  it("end where the help or the version is asked for", function()
    for _, tool in ipairs { "unshare", "nsenter" } do
      for _, words in ipairs { "-h -Q", "-help", "--help --nothing", "-V -Q", "--version --nothing" } do
        local _, status = same(("TOOL %s >/dev/null"):format(words), tool)
        assert.equal(0, status, words)
      end
      same("TOOL -Q -h", tool)
    end
  end)

  it("that name a namespace's file keep it where they come again without", function()
    if not n.root then
      pending "not root: binds in this mount namespace"
      return
    end
    local file = os.tmpname()
    for _, words in ipairs { "--net=%s -n", "-n --net=%s" } do
      unshare(words:format(file) .. " true")
      assert.equal("nsfs", (helper.sh("stat -f -c %T " .. file)), words)
      helper.sh("umount " .. file)
    end
    os.remove(file)
  end)
end)
