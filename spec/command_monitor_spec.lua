-- nslua netns monitor, beside ip netns monitor.

local helper = require "spec.helper"

describe("nslua netns monitor", function()
  if not helper.is_root() then
    pending "not root: names in /run/netns"
    return
  end

  -- In a mount namespace with a /run of its own; $N is the command, $F what it printed.
  local function private(script, tool)
    local name = os.tmpname()
    local f = assert(io.open(name, "w"))
    f:write(([[mount -t tmpfs tmpfs /run
F=/run/out; N="%s"
await() { i=0; until grep -q "$1" $F || [ $((i=i+1)) = 250 ]; do sleep 0.02; done; }
start() {
  $N "$@" >$F 2>/dev/null & M=$!; i=0
  until ls -l /proc/$M/fd 2>/dev/null | grep -q inotify || [ $((i=i+1)) = 250 ]; do sleep 0.02; done
}
stop() { kill -INT $M; wait $M; echo "exit $?"; }
]]):format(tool or "build/bin/nslua netns"), script)
    f:close()
    local out = helper.sh("unshare -m sh " .. name)
    os.remove(name)
    return out
  end

  it("tells of names as ip netns monitor does", function()
    local script = [[mkdir -p /run/netns; start monitor; ip netns add a; await 'add a'; ip netns add b; await 'add b'
ip netns del a; await 'delete a'; kill $M; wait $M 2>/dev/null; cat $F]]
    local theirs = private(script, "stdbuf -oL ip netns") -- into a file it would print at its end
    assert.equal("add a\nadd b\ndelete a", theirs)
    assert.equal(theirs, private(script))
  end)

  it("waits for /run/netns, and says add when the namespace is there", function()
    assert.equal("there\nadd a\ndelete a\nexit 130", private [[start monitor
(ip netns add a; sleep 60) & W=$!
await 'add a'; ip netns exec a true && echo there; ip netns del a; await 'delete a'; cat $F; kill $W; stop]])
  end)

  it("does not tell of a file that was left behind", function()
    assert.equal("add a\nexit 130", private [[mkdir -p /run/netns; start monitor; touch /run/netns/stale
ip netns add a; await 'add a'; cat $F; stop]])
  end)

  it("follows links and addresses of every namespace with --all, and as JSON", function()
    local script = [[ip netns add a; start %s; ip netns add b; await '%s'
ip -n a link add v0 type veth peer name v1 netns b; ip -n b addr add 10.0.0.1/24 dev v1; ip -n b link set v1 up; await 10.0.0.1
ip -n a link del v0; await '%s'; cat $F; stop]]
    local out = private(script:format("--all monitor", "b. namespace added", "a. deleted link: .*v0"))
    assert.matches("%[b%] namespace added\n", out)
    assert.matches("%[a%] link: %d+: v0 veth down mtu 1500", out)
    assert.matches("%[b%] link: %d+: v1 veth up", out)
    assert.matches("%[b%] address: 10%.0%.0%.1/24 dev v1", out)
    assert.matches("%[a%] deleted link: %d+: v0", out)
    out = private(script:format("--all -json monitor", '"netns":"b"', "delete.*v0"))
    assert.matches('{"action":"netns_new","inode":%d+,"netns":"b","time":[%d.]+}', out)
    assert.matches('{"action":"new",.-"name":"v0".-"what":"link"}', out)
  end)
end)
