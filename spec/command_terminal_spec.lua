-- A command that stands before a program, at a terminal: to the shell above both are one job, as with unshare(1) and nsenter(1).

local helper = require "spec.helper"
local ns = require "nslua"

local RIGHTS = helper.is_root() and "" or "-r "

-- A shell with job control on a terminal; `tool` is "nslua unshare", as it would be typed.
local function desk()
  local p = helper.held_shell(ns.spawn { "bash", "--norc", "--noediting", "-i", pty = true,
    env = { PS1 = "PROMPT> ", PATH = helper.sh "pwd" .. "/build/bin:/usr/sbin:/usr/bin:/sbin:/bin", TERM = "dumb" } })
  local self = {}

  -- What comes up to the pattern. What is typed is echoed: patterns are of what is printed.
  function self.expect(pattern)
    local text, deadline = "", ns.clock() + 10
    while not text:find(pattern) do
      local more = p.pty:read(1, math.max(0, deadline - ns.clock()))
      assert(more, "no " .. pattern .. " in: " .. text)
      text = text .. more
    end
    return text
  end

  function self.type(text)
    p.pty:write(text)
  end

  self.expect "PROMPT> "
  return self
end

-- It ends with whatever it prints of its exit status, and the shell has its terminal.
local function ends(at, status)
  at.expect "PROMPT> "
  at.type 'echo "<$?>"\n'
  at.expect(("\n<%d>"):format(status))
  at.expect "PROMPT> "
end

describe("a command at a terminal", function()
  if not helper.has "bash" then
    pending "no bash"
    return
  end
  after_each(helper.close_held)

  for _, tool in ipairs { "-f", "-p -f", "-f --json-status 9", "--forward-signals", "--init" } do
    local OURS = ("nslua unshare %s%s "):format(RIGHTS, tool)

    it("leaves Ctrl-C to the program, once: unshare " .. tool, function()
      local at = desk()
      for _, stdin in ipairs { "", "</dev/null " } do
        at.type(OURS .. [[sh -c 'trap "echo in\terrupted; sleep 0.3; exit 7" INT; printf "rea\144y\n"; while :; do sleep 0.1; done' 9>/dev/null ]]
          .. stdin .. "\n")
        at.expect "\nready"
        at.type "\3"
        local text = at.expect "PROMPT> "
        local _, times = text:gsub("interrupted", "")
        assert.equal(1, times, text)
        at.type 'echo "<$?>"\n'
        at.expect "\n<7>"
        at.expect "PROMPT> "
      end
    end)

    it("stops with Ctrl-Z, and goes on where the shell puts it: unshare " .. tool, function()
      local at = desk()
      at.type(OURS .. [[sh -c 'trap "on=1$on" CONT; printf "rea\144y\n"; while [ ! "$on" ]; do sleep 0.1; done; read x; echo "<$x $on>"; exit 3' ]]
        .. "9>/dev/null\n")
      at.expect "\nready"
      at.type "\26"
      at.expect "Stopped"
      at.expect "PROMPT> "
      at.type "fg\n"
      at.expect "\n.-nslua unshare"
      at.type "abc\n"
      at.expect "\n<abc 1>" -- told once to go on
      ends(at, 3)
    end)

    it("takes no terminal where it goes on in the background: unshare " .. tool, function()
      local at = desk()
      at.type(OURS .. [[sh -c 'printf "rea\144y\n"; while :; do sleep 0.05; done' 9>/dev/null]] .. "\n")
      at.expect "\nready"
      at.type "\26"
      at.expect "Stopped"
      at.expect "PROMPT> "
      at.type "bg\n"
      at.expect "PROMPT> "
      at.type "echo $((6*7))\n"
      at.expect "\n42"
      at.expect "PROMPT> "
      at.type "kill -9 %1; wait %1; echo $((6*7))\n"
      at.expect "\n42"
    end)

    it("may be first in a pipeline whose last program reads the keyboard: unshare " .. tool, function()
      local at = desk()
      at.type(OURS .. [[seq 1 300000 9>/dev/null | (read x; read y </dev/tty; printf "<%s %s>\n" "$x" "$y")]] .. "\n")
      at.type "abc\n"
      at.expect "\n<1 abc>"
      at.expect "PROMPT> "
    end)

    it("may be started in the background and brought to the front: unshare " .. tool, function()
      local at = desk()
      at.type(OURS .. [[sh -c 'read x; echo "<$x>"; exit 6' 9>/dev/null & sleep 0.3; fg]] .. "\n")
      at.expect "\n.-nslua unshare.-\n"
      at.type "abc\n"
      at.expect "\n<abc>"
      ends(at, 6)
    end)
  end

  it("gives the terminal back where a shell in a pid namespace could not", function()
    local at = desk()
    at.type(("sh -c 'nslua unshare %s-p -f bash --norc -i; read x; echo \"<$x>\"'\n"):format(RIGHTS))
    at.expect "PROMPT> "
    at.type "exit\n"
    at.expect "exit\r\n"
    at.type "abc\n"
    at.expect "\n<abc>"
    at.expect "PROMPT> "
  end)

  it("ends, and its program with it, where somebody else ends it", function()
    local at = desk()
    for signal, status in pairs { TERM = 143, INT = 130, HUP = 129 } do
      at.type(("(sleep 0.3; pkill -%s -x nslua -P $$) & nslua unshare %s-f sh -c 'printf \"<%%d>\\n\" $$; exec sleep 600'\n"):format(signal, RIGHTS))
      local pid = at.expect "\n<%d+>":match "\n<(%d+)>"
      ends(at, status)
      assert.is_nil(io.open("/proc/" .. pid))
    end
  end)
end)
