-- `nslua ls` beside Debian's lsns(8), and what lsns misses.

local helper = require "spec.helper"

local OURS = "build/bin/nslua ls"

-- In a pid namespace of its own, with a few namespaces: the same processes for both tools. $L is the tool.
local function inside(script, user)
  local name = os.tmpname()
  local f = assert(io.open(name, "w"))
  f:write(script)
  f:close()
  local out = helper.sh(("unshare %s -p -f -m --mount-proc sh %s"):format(user or (helper.is_root() and "" or "-r"), name))
  os.remove(name)
  return out
end

local MAKE = [[
unshare -n -u sleep 101 & A=$!
unshare -Urnm sleep 102 & B=$!
unshare -i sh -c 'sleep 103; :' & C=$!
unshare -T -C sleep 104 & D=$!
i=0; until [ $(pgrep -c '^sleep$') = 4 ] || [ $((i=i+1)) = 200 ]; do sleep 0.05; done
]]

local function both(words, more)
  local script = MAKE .. ([[
F=$(mktemp)
lsns %s >$F 2>&1; echo "exit $?" >>$F; echo ===== >>$F
%s %s %s >>$F 2>&1; echo "exit $?" >>$F
cat $F; rm $F; kill $A $B $C $D
]]):format(words, OURS, words, more or "-Q 'NPROCS > 0'")
  local theirs, ours = inside(script):match "^(.-)=====\n(.*)$"
  return (theirs:gsub("%s+$", "")), (ours:gsub("%s+$", ""):gsub("nslua ls:", "lsns:"))
end

describe("nslua ls", function()
  for _, words in ipairs { "", "-l", "-n", "-r", "-J", "-t net", "-t uts", "-t mnt -t user", "-t net -J", "-o NS,TYPE,PATH,PID,PPID,UID",
    "-l -o COMMAND,NS",    "-t pid -o NS,PNS,ONS", "--noheadings --list -t ipc", "-u -t user", "-p 1", "-p 1 -J", "-p 3 -n", "-r -o NS,COMMAND",
    "-J -o ns,ppid,uid,user -t ipc", "-t net -o NS,NETNSID,NSFS", "-t net -r", "-t uts -t net", "-T", "-Tparent", "-l --tree=owner -o NS,PNS,ONS,PID",
    "-J -Towner -o ns,type", "-Tprocess -t uts", "-p 0 -t uts", "-p +1", "-p ' 1' -n",
    "--output-all -o NS,TYPE -t uts", "-o NS,TYPE --output-all -t uts",
    "-t net -t net -o NS,NS" } do
    it("prints what lsns prints: lsns " .. words, function()
      local theirs, ours = both(words)
      assert.is_true(#theirs > 40, theirs)
      -- words without blanks are for programs: lsns has the tree's branches in them, escaped
      theirs = theirs:gsub("\\xe2\\x94\\x%x%x\\x20", ""):gsub("\\xe2\\x94\\x%x%x\\xe2\\x94\\x80", "")
      assert.equal(theirs, ours)
    end)
  end

  it("prints nothing where there is nothing, as lsns does", function()
    for _, words in ipairs { "-p 99999", "-p 99999 -n", "-p 99999 -r", "-p 99999 -l", "-p 99999 -J", "-p -5", "-t net -p 99999" } do
      local theirs, ours = both(words)
      assert.equal(theirs, ours, words)
    end
  end)

  it("prints several mounts as lsns does", function()
    if not helper.is_root() then
      pending "not root: the names of others cannot be taken away"
      return
    end
    local script = MAKE .. [[
umount -lR /run/netns 2>/dev/null; mount -t tmpfs tmpfs /run; touch /run/m1 /run/m2 "/run/m 3"
for m in /run/m1 /run/m2 "/run/m 3"; do mount --bind /proc/$B/ns/net "$m"; done
for t in lsns "]] .. OURS .. [[ -Q NPROCS>0"; do for o in "" -W -r -J "-J -W" "-o NSFS,NS" "-o NSFS,NS,NSFS"; do $t $o -t net; done
$t $(stat -Lc %i /proc/$B/ns/net) -r -o NSFS,PID; echo ==; done; kill $A $B $C $D]]
    local theirs, ours = inside(script):match "^(.-)==\n(.-)=="
    assert.matches("/run/m1,/run/m2,/run/m\\x203", theirs)
    theirs = theirs:gsub("\\xe2\\x94\\x%x%x\\xe2\\x94\\x80", "") -- the tree's branches
    assert.equal(theirs, ours)
  end)

  it("cuts for a narrow terminal where lsns does", function()
    if not helper.has "script" then
      pending "no script(1)"
      return
    end
    local name = os.tmpname()
    finally(function()
      os.remove(name)
    end)
    local f = assert(io.open(name, "w"))
    f:write((([[
unshare -u bash -c 'exec -a "wide 漢字漢字漢字漢字漢字漢字 é and more words, many of them" sleep 60' & P=$!
unshare -i sleep 61 & Q=$!
i=0; until [ $(pgrep -xc sleep) = 2 ] || [ $((i=i+1)) = 200 ]; do sleep 0.05; done
export LC_ALL=C.UTF-8
for c in 1 20 33 34 35 36 50 70 200; do for o in "" "-l -o COMMAND,NS" "-l -o NS,COMMAND,TYPE" "-l -u" "-l -o COMMAND,NS,COMMAND" "-r"; do
  script -qc "stty cols $c; lsns $o" /dev/null >@F.1; script -qc "stty cols $c; @L -Q 'NPROCS > 0' $o" /dev/null >@F.2
  cmp -s @F.1 @F.2 || { echo "$c: $o"; cat @F.1 @F.2; }
done; done
kill $P $Q; rm @F.1 @F.2; echo done]]):gsub("@%u", { ["@L"] = OURS, ["@F"] = name })))
    f:close()
    local out = inside("sh " .. name)
    assert.equal("done", out)
  end)

  it("lists the processes of a namespace as lsns does", function()
    local script = MAKE .. [[
I=$(stat -Lc %i /proc/$C/ns/ipc)
for t in lsns "]] .. OURS .. [["; do $t $I; echo "exit $?"; $t -J $I | tr -d ' \n'; echo; $t -l -n $I
$t $I -o NS,TYPE,PID,PATH,COMMAND; $t $I -o +UID; $t -J $I -o pid; echo ==; done; kill $A $B $C $D]]
    local theirs, ours = inside(script):match "^(.-)==\n(.-)=="
    assert.is_true(#theirs > 200, theirs)
    assert.equal(theirs, ours)
  end)

  it("says what is wrong, and exits as lsns does", function()
    for _, words in ipairs { "-t foo", "-o FOO", "1", "1 2", "--no-such-option", "-Z", "-p x", "-J -r", "-p 1 1", "x", "-Tx", "-o ''", "-o NS,,TYPE",
      "-o NS,", "-o +", "-p 4294967297", "-p 1x", "-p ''", "-- -5", "99999999999999999999" } do
      local theirs, ours = both(words, "")
      assert.equal(theirs:match "exit %d+$", ours:match "exit %d+$", words .. "\n" .. theirs .. "\n" .. ours)
    end
    local theirs, ours = both("-t foo", "")
    assert.equal(theirs, ours)
    for _, words in ipairs { "1", "1 2", "-J -r", "-p 1 1", "x", "-Tx", "-p 4294967297", "-p 1x", "-- -5", "99999999999999999999" } do
      theirs, ours = both(words, "")
      assert.equal(theirs, ours)
    end
  end)

  it("draws the owners' tree", function()
    local out = inside(MAKE .. OURS .. " -T -t user -t net -n -o NS,TYPE,COMMAND; kill $A $B $C $D")
    assert.matches("\n[^ ]+─%d+ +net ", out)
    assert.matches("\n  [^ ]+─%d+ +net +sleep 102", (out:gsub("│ ", "  ")))
  end)

  it("draws trees and texts in ASCII where the locale is not UTF-8, as lsns does", function()
    local script = MAKE .. [[
unshare -u bash -c 'exec -a "é 漢" sleep 105' & E=$!
i=0; until [ $(pgrep -c '^sleep$') = 5 ] || [ $((i=i+1)) = 200 ]; do sleep 0.05; done
export LC_ALL=C
for t in lsns "]] .. OURS .. [[ -Q NPROCS>0"; do for o in "" -Tparent "-l -o COMMAND" "-Tprocess -o COMMAND"; do $t $o; done; echo ==; done
kill $A $B $C $D $E]]
    local theirs, ours = inside(script):match "^(.-)==\n(.-)=="
    assert.matches("[|`]%-.*\\xc3\\xa9", theirs)
    assert.equal(theirs, ours)
  end)

  it("lists what is above the namespaces of a process, and those of the types asked for only", function()
    local script = MAKE .. [[
I=$(stat -Lc %i /proc/$B/ns/net)
for t in lsns "]] .. OURS .. [["; do $t -t user -p $B -T; $t -p $B -T; $t -p $B -Tparent -t user; $t -t uts $I 2>&1 | cut -d: -f2-; echo ==; done
kill $A $B $C $D]]
    local theirs, ours = inside(script):match "^(.-)==\n(.-)=="
    assert.matches("not found namespace", theirs)
    assert.equal(theirs, ours)
  end)

  it("filters by expressions, also on columns that are not printed", function()
    local function lines(expression)
      return (inside(MAKE .. ("%s -n -l -o COMMAND -Q '%s' | sort -u | tr '\\n' '|'; kill $A $B $C $D"):format(OURS, expression)))
    end
    assert.equal("sleep 101|", lines 'TYPE == "uts" && NPROCS == 1')
    assert.equal("sleep 101|sleep 102|", lines 'TYPE eq "net" and COMMAND =~ "^sl[e]+p"')
    assert.equal("sleep 102|", lines 'TYPE == "net" && !(COMMAND !~ "102")')
    assert.equal("sleep 101|sleep 102|", lines '(COMMAND =~ "101" || COMMAND =~ "102$") && PID > 1 and not TYPE == "ipc"')
    assert.equal("sleep 101|", lines 'TYPE == "uts" && NPROCS == 1 && PID < 1T && NPROCS < 1KB && NS > 4GB && NS < 4GiB')
    for _, wrong in ipairs { "NPROCS > 1Kx", "NPROCS > 1x", "NPROCS >", "FOO == 1", "(PID", 'COMMAND =~ "["', "PID 3", "&&" } do
      local out, _, status = helper.sh(("%s -Q '%s'"):format(OURS, wrong))
      assert.equal(1, status, wrong)
      assert.matches("failed to parse filter", out)
    end
  end)

  it("finds what only a thread, an fd, a socket or a mount elsewhere holds, and says so", function()
    if select(2, helper.sh "/usr/bin/python3 -c 1") == false then
      pending "no python3 to hide namespaces with"
      return
    end
    local out = inside([[
D=$(mktemp -d)
cat >$D/hide.py <<'EOS'
import ctypes, os, socket, threading, time, sys
libc = ctypes.CDLL(None, use_errno=True)
NEWNET, NEWUTS = 0x40000000, 0x04000000
def inode(p): return os.stat(p).st_ino
held = []
def hide(what): # a thread that ends leaves no more than what it opened
    assert libc.unshare(NEWNET) == 0
    print(what, inode("/proc/thread-self/ns/net"))
    held.append(socket.socket() if what == "socket" else os.open("/proc/thread-self/ns/net", os.O_RDONLY))
for what in "fd", "socket":
    t = threading.Thread(target=hide, args=(what,)); t.start(); t.join()
def run():
    assert libc.unshare(NEWUTS) == 0
    print("thread", inode("/proc/thread-self/ns/uts")); sys.stdout.flush()
    time.sleep(60)
threading.Thread(target=run, daemon=True).start()
time.sleep(60)
EOS
/usr/bin/python3 $D/hide.py >$D/out & H=$!
touch $D/mnt
unshare -m sh -c "mount --make-rprivate /; unshare -n mount --bind /proc/self/ns/net $D/mnt
stat -Lc 'mount %i' $D/mnt >$D/m; exec sleep 60" & M=$!
i=0; until grep -q thread $D/out && grep -q mount $D/m || [ $((i=i+1)) = 200 ]; do sleep 0.05; done
cat $D/out $D/m; echo ==
]] .. OURS .. [[ -n -l -r -o NS,NPROCS,FOUND,COMMAND; echo ==; ]] .. OURS .. [[ --no-fds -n -r -o NS; echo ==
]] .. OURS .. [[ -P -n -o NS; echo ==
for i in $(cut -d" " -f2 $D/out $D/m); do ]] .. OURS .. [[ $i; done 2>&1
kill $H $M; rm -r $D]])
    local hidden, list, without, persistent, one = out:match "^(.-)==\n(.-)==\n(.-)==\n(.-)==\n(.*)$"
    assert.is_truthy(hidden, out)
    local n = 0
    for how, inode in hidden:gmatch "(%l+) (%d+)" do
      n = n + 1
      local nprocs, found, command = list:match("%f[%d]" .. inode .. " (%d+) (%S+) (%S+)")
      assert.equal("0", nprocs, how .. "\n" .. list)
      assert.equal(how, found)
      assert.is_truthy(command:find("[" .. (how == "mount" and "mounted" or how), 1, true), command)
      assert.equal(how == "thread" or how == "mount", without:find(inode, 1, true) ~= nil, how)
      assert.is_truthy(persistent:find(inode, 1, true))
      assert.matches("nslua ls: no process is in " .. inode .. " %[" .. (how == "mount" and "mounted" or how) .. " o", one)
    end
    assert.equal(4, n, hidden)
  end)

  it("prints again with --watch, marks what is new, and ends at Ctrl-C", function()
    local out = inside([[F=$(mktemp)
]] .. OURS .. [[ -n -t uts --watch=0.2 >$F 2>/dev/null & W=$!
i=0; until [ $(wc -l <$F) -ge 2 ] || [ $((i=i+1)) = 200 ]; do sleep 0.05; done
unshare -u sleep 107 & S=$!
i=0; until grep -q '+ sleep 107' $F || [ $((i=i+1)) = 200 ]; do sleep 0.05; done
kill -INT $W; wait $W; echo "exit $?"; kill $S; grep -c '+ sleep' $F; rm $F]])
    assert.equal("exit 130\n1", out)
    -- Processes of a namespace too, until it is gone.
    out = inside([[F=$(mktemp)
unshare -u sh -c 'sleep 108; :' & S=$!
i=0; until I=$(stat -Lc %i /proc/$S/ns/uts); [ $I != $(stat -Lc %i /proc/1/ns/uts) ]; do sleep 0.05; done
]] .. OURS .. [[ -n --watch=0.2 $I -o COMMAND >$F 2>&1 & W=$!
i=0; until [ $(grep -c 'sh -c' $F) -ge 2 ] || [ $((i=i+1)) = 200 ]; do sleep 0.05; done
nsenter -t $S -u sleep 109 & N=$!
i=0; until grep -q '+ sleep 109' $F || [ $((i=i+1)) = 200 ]; do sleep 0.05; done
kill $N $S; pkill -P $S 2>/dev/null; kill $(pgrep -f '^sleep 108'); wait $W; echo "exit $?"; grep -c '+ sleep 109' $F; tail -1 $F; rm $F]])
    assert.matches("exit 1\n1\nnslua ls: not found namespace: %d+$", out)
    for _, wrong in ipairs { "0", "-1", "x", "1e999", "" } do
      local message, _, status = helper.sh(OURS .. " --watch=" .. wrong)
      assert.equal(1, status, wrong)
      assert.matches("invalid interval: '" .. wrong:gsub("%-", "%%-") .. "'", message)
    end
  end)

  it("shows no control bytes of a command", function()
    local out = inside([[cp /bin/sleep "/tmp/e$(printf '\033')x"; unshare -u "/tmp/e$(printf '\033')x" 60 & P=$!
sleep 0.3; ]] .. OURS .. [[ -n -t uts -o COMMAND; kill $P; rm /tmp/e*x]])
    assert.is_truthy(out:find("e\\x1bx 60", 1, true), out)
    -- One of 8 bits, and what looks like one that is escaped, as lsns shows them.
    local script = [[unshare -u bash -c "exec -a \$'\\xc2\\x9b\\\\x41' sleep 60" & P=$!
i=0; until [ "$(tr '\0' ' ' </proc/$P/cmdline | tail -c 3)" = "60 " ] && ! grep -q bash /proc/$P/cmdline || [ $((i=i+1)) = 200 ]; do sleep 0.05; done
for t in lsns "]] .. OURS .. [["; do for o in -l "-l -r"; do $t $o -n -t uts -o COMMAND | tail -1; done; echo ==; done; kill $P]]
    local theirs, ours = inside(script):match "^(.-)==\n(.-)=="
    assert.equal("\\xc2\\x9b\\x5cx41 60\n\\xc2\\x9b\\x5cx41\\x2060\n", theirs)
    assert.equal(theirs, ours)
  end)

  it("says what /proc hides", function()
    if not (helper.is_root() and helper.has "script") then
      pending "not root, or no script(1)"
      return
    end
    local out = inside("mount -t proc -o hidepid=invisible proc /proc; setpriv --reuid 65534 --regid 65534 --clear-groups sh -c '" .. OURS
      .. " -J -t uts | tail -4; script -qc \"" .. OURS .. " -n -t uts\" /dev/null'")
    assert.matches('"complete": false,.*"missed": %[.*hidepid=invisible', out)
    assert.matches("/proc hides processes of others %(hidepid=invisible%): as root the list is complete\r?$", out)
  end)

  it("says that a list is not complete", function()
    local out = inside("sleep 60 & setpriv --reuid 65534 --clear-groups " .. OURS .. " -J -t uts | tail -4; kill $!")
    if not helper.is_root() then
      pending "not root: nobody else to look at"
      return
    end
    assert.matches('"complete": false', out)
    assert.matches('"unreadable": [1-9]', out)
  end)

  it("ends without a word when a signal ends it", function()
    assert.equal("1", (helper.sh(OURS .. " -n --watch=0.01 | head -1 | wc -l")))
    local out = helper.sh(OURS .. " --watch=60 >/dev/null & P=$!; sleep 0.3; kill -TERM $P; wait $P; echo ended $?")
    assert.matches("ended 143$", out)
    assert.is_nil(out:find "interrupted")
  end)

  it("tells its columns", function()
    local out = helper.sh(OURS .. " -H")
    for name in helper.sh "lsns --help":gsub("^.*columns:", ""):gmatch "\n +(%u+) " do
      assert.matches("%f[%w]" .. name .. "%f[%W]", out)
    end
    assert.matches("\n +PID <integer> the lowest of their pids\n", out)
    assert.matches('^{\n   "lsns%-columns": %[\n      {\n         "holder": "NS",\n         "type": "<integer>",\n', (helper.sh(OURS .. " -H -J")))
    assert.matches("\nUSER <string> the", (helper.sh(OURS .. " -H -r"):gsub("\\x20", " ")))
    assert.equal(16, select(2, helper.sh(OURS .. " --output-all -t user | head -1"):gsub("%S+", "")))
  end)
end)
