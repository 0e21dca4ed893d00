-- `nslua netns` beside Debian's ip(8): one shell script run with the words `ip netns` and with ours, and what ours has more.

local helper = require "spec.helper"

local OURS = "build/bin/nslua netns"

-- $N is the command, $NN the command looking from a, $NA the one with -all, $NJ with -j.
local SCENARIO = [[
t() { echo "\$ $*" | sed "s#^.*netns##"; "$@"; echo "[$?]"; }
N="$1 netns"; NN="$1 -n a netns"; NA="$1 -all netns"; NJ="$1 -j netns"
t $N list; t $N; t $N add; t $N add a; t $N add a; t $N add a/b; t $N add ..; t $N add ""; t $N add b
t $N list | sort; t $NJ list | grep -o '"name":"[ab]"' | sort; t $N set a 5; t $N set b auto; t $N set a 6; t $N list | sort
t $N list-id; t $NJ list-id; t $N list-id nsid 5; t $N list-id nsid 99; t $NN set b 9; t $NN list-id; t $N list-id target-nsid 5; t $N list-id foo
t $N list-id nsid; t $N list-id nsid x
t $N identify; t $N identify $$; t $N identify x; t $N identify 999999; t $N identify 1 2; t $N exec a $N identify; t $N pids a; t $N pids
t $N pids nosuch; $1 netns exec a sleep 60 & sleep 0.3; [ "$($N pids a)" = $! ] && echo the sleep; kill $!; wait $! 2>/dev/null
t $N exec; t $N exec a; t $N exec nosuch true; t $N exec a nosuchprog; t $N exec a false; t $N exec a sh -c 'exit 3'
t $N exec a sh -c 'kill -TERM $$'; t $N exec a /etc/passwd; t $N exec a sh -c 'ls /sys/class/net'; echo in | t $N exec a cat
mkdir -p /etc/netns/a; echo nameserver 9.9.9.9 >/etc/netns/a/resolv.conf; t $N exec a cat /etc/resolv.conf; rm -r /etc/netns/a
t $NA exec echo hi | sort; t $NA exec false | sort; t $NA exec
touch /run/netns/stale; t $N list 2>/dev/null | sort; t $N exec stale true; t $N del stale; t $N del; t $N del nosuch; t $N del b; t $N delete b
t $N attach; t $N attach c; t $N attach c 999999; t $N attach c $$; t $N attach c $$; t $N attach d foo; t $N identify $$
t $N foo; t $N help; t $N l | sort; t $N li | sort; t $N e; t $N i; t $N a; t $N set; t $N set a; t $N set a foo; t $N set nosuch 3
t $NA del; t $N list; t $NN list; t $N add x y; t $N del x y; t $1 -x netns
]]

-- In a mount namespace with a /run and an /etc of its own; the output, line by line.
local function run(tool, script)
  local name = os.tmpname()
  local f = assert(io.open(name, "w"))
  f:write(script)
  f:close()
  local out = helper.sh(("unshare -m sh -c 'mount -t tmpfs tmpfs /run && cp -r /etc /run/etc 2>/dev/null; mount --bind /run/etc /etc; "
    .. "sh %s %q'"):format(name, tool))
  os.remove(name)
  return out
end

-- Wording that differs: of whom the help is, which of two errnos says that a process is gone; and what ours marks.
local function common(text)
  return (text:gsub("Usage:.-auto | POSITIVE%-INT\n", "usage\n"):gsub("%f[%d]%d%d%d+", "PID")
    :gsub("No such process", "No such file or directory"):gsub(" %(stale%)", ""):gsub("try \"[^\"]*\"", "try"):gsub("build/bin/nslua", "ip"))
end

describe("nslua netns", function()
  if not helper.is_root() then
    it("says what a name needs", function()
      local _, _, theirs = helper.sh "ip netns add spec"
      local out, _, ours = helper.sh(OURS .. " add spec")
      assert.equal(theirs, ours)
      assert.matches("has no CAP_SYS_ADMIN", out)
      -- ip has them in no order
      assert.equal(helper.sh "ip netns list | sort", (helper.sh(OURS .. " list | sort"):gsub(" %(stale%)", "")))
    end)
    pending "not root: names in /run/netns"
    return
  end

  it("runs a script that was written for ip netns, and prints and exits the same", function()
    local wrapper = os.tmpname() -- `ip [options] netns` is `nslua netns [options]`
    helper.sh(([[cat >%s <<'EOS'
#!/bin/sh
o=; while [ "$1" != netns ]; do o="$o $1"; shift; done; shift
exec $OURS $o "$@"
EOS
chmod 755 %s]]):format(wrapper, wrapper))
    local theirs = common(run("ip", SCENARIO))
    local ours = common(run(wrapper, "export OURS='" .. helper.sh "pwd" .. "/" .. OURS .. "'\n" .. SCENARIO)):gsub(wrapper, "ip")
    os.remove(wrapper)
    assert.is_true(#theirs > 3000, theirs)
    assert.equal(theirs, ours)
  end)

  it("explains its commands", function()
    local out, ok = helper.sh(OURS .. " --help")
    assert.is_true(ok)
    for _, word in ipairs { "list", "add <name>", "exec <name>", "monitor [--all]", "list-id" } do
      assert.is_truthy(out:find("\n " .. word, 1, true), word)
    end
  end)

  local function private(script)
    return run(OURS, "N='" .. OURS .. "'\n" .. script)
  end

  it("tells every name of a process, and marks files that were left behind", function()
    assert.equal("a\nb\n\na\nb\nz (stale)\n[{\"name\":\"a\"},{\"name\":\"b\"},{\"name\":\"z\",\"stale\":true}]", private [[
      $N add a; $N exec a sleep 60 & sleep 0.2; $N attach b $!; touch /run/netns/z; $N identify $!; echo; kill $!; $N list; $N -j list]])
  end)

  it("keeps what is mounted below /sys", function()
    assert.equal(private "$N add a; awk '$5 ~ \"^/sys/\" { print $5 }' /proc/self/mountinfo | sort",
      private "$N add a; $N exec a awk '$5 ~ \"^/sys/\" { print $5 }' /proc/self/mountinfo | sort")
  end)

  it("replaces itself by the program: one process, the fds that were given", function()
    assert.equal("same", private [[$N add a; sh -c 'echo $$; exec build/bin/nslua netns exec a sh -c "echo \$\$"' | uniq | wc -l | sed s/1/same/]])
    local list = "exec a sh -c 'cd /proc/self/fd; echo *' 8</dev/null"
    local fds = private("$N add a; $N " .. list)
    assert.matches("8", fds)
    assert.equal(private("$N add a; ip netns " .. list), fds)
  end)

  it("runs programs in all of them at once, each line behind its name", function()
    local out = private [[for n in a b c; do $N add $n; done
      $N --all --jobs 3 exec sh -c 'echo one; echo two >&2; sleep 0.3; printf end' | sort; echo
      # ends only where all three run at the same time
      timeout 20 $N --all --jobs 3 exec sh -c 'touch /run/x.$$; until [ $(ls /run/x.* | wc -l) = 3 ]; do sleep 0.02; done'; echo $?
      $N --all --jobs 2 exec false; echo $?
      $N --all --jobs 0 exec true; echo $?]]
    for _, name in ipairs { "a", "b", "c" } do
      assert.matches(name .. ": end\n" .. name .. ": one\n", out)
      assert.matches(name .. ": two\n", out)
    end
    assert.matches("\n0\n1\n.-no number of programs\n255$", out)
  end)

  it("ends what runs in parallel when it is ended", function()
    assert.equal("0", private [[$N add a; $N add b; $N --all --jobs 2 exec sleep 61.7 & sleep 0.4; kill -TERM $!; wait $! 2>/dev/null
      pgrep -fc '^sleep 61.7']])
  end)

  it("opens a shell that says where it is", function()
    assert.matches("^net:%[%d+%] %(a%) ", (private [[$N add a; echo 'echo $(readlink /proc/self/ns/net) "$PS1"' | SHELL=/bin/sh $N shell a]]))
  end)

  it("looks from another namespace by name, path or pid", function()
    assert.equal("nsid 3 (iproute2 netns name: b)\nnsid 3 (iproute2 netns name: b)\nnsid 3 (iproute2 netns name: b)", private [[$N add a; $N add b
      $N -n a set b 3; $N -n a list-id; $N -n /run/netns/a list-id; $N exec a sleep 60 & sleep 0.2; $N -n $! list-id; kill $!]])
  end)

  it("shows no control bytes of a name to a terminal", function()
    local out = private [[$N add "$(printf 'e\033[31m')"; script -qec "$N list" /dev/null | od -c | head -3; $N list | od -c | head -1]]
    assert.matches("e   \\   x   1   b", out)
    assert.matches("e 033", out)
  end)
end)
