-- nslua sockets: beside ss(8) of Debian, in a namespace with sockets of each kind; filters, owners, JSON, hostile names.

local helper = require "spec.helper"
local ns = require "nslua"
local dkjson = require "dkjson"

local HOST = "build/bin/nslua"

describe("nslua sockets", function()
  local why = not helper.has "ss" and "no ss(8) here" or not helper.has "python3" and "no python3 here"
  if not why and not select(2, helper.sh((helper.is_root() and "" or "unshare -Ur ") .. "unshare -n true")) then
    why = "no right to make a network namespace"
  end
  if why then
    return pending(why)
  end

  local space, pid

  -- Sockets of every kind, held by a program with a name that no terminal shall see.
  local PROGRAM = [[
import socket, time, os, ctypes
ctypes.CDLL(None).prctl(15, b"py\x1b[31m\nx", 0, 0, 0)
keep = []
def tcp(family, address, port):
    s = socket.socket(family, socket.SOCK_STREAM); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((address, port)); s.listen(7); keep.append(s); return s
a = tcp(socket.AF_INET, "127.0.0.1", 8001)
b = tcp(socket.AF_INET6, "::", 8002)
c = socket.socket(socket.AF_INET6, socket.SOCK_STREAM); c.setsockopt(41, 26, 1); c.bind(("::", 8003)); c.listen(5); keep.append(c)
for i in range(3):
    k = socket.create_connection(("127.0.0.1", 8001), source_address=("127.0.0.1", 9000 + i)); keep.append(k)
x = a.accept()[0]; keep.append(x); x.sendall(b"hello")
v = socket.create_connection(("::1", 8002), source_address=("::1", 9100)); keep.append(v)
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(("0.0.0.0", 5300)); keep.append(u)
w = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); w.bind(("127.0.0.1", 5301)); w.connect(("127.0.0.1", 5300)); keep.append(w)
y = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); y.setsockopt(1, 25, b"lo"); y.bind(("::1", 5302)); keep.append(y)
r = socket.socket(socket.AF_INET, socket.SOCK_RAW, 89); r.bind(("127.0.0.1", 0)); keep.append(r)
t = socket.socket(socket.AF_INET, socket.SOCK_RAW, 88); t.connect(("127.0.0.1", 0)); keep.append(t)
q = socket.socket(socket.AF_INET6, socket.SOCK_RAW, 58); q.bind(("::1", 0)); keep.append(q)
n = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM); n.bind("\0na\x1bme"); n.listen(3); keep.append(n)
m = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); m.bind("\0plain"); keep.append(m)
print("ready", flush=True)
time.sleep(600)
]]

  setup(function()
    space = ns.netns.new { lo = true, userns = not helper.is_root() and ns.userns.new { map_users = "root" } or nil }
    local p = space:spawn { "python3", "-c", PROGRAM, stdout = "pipe" }
    assert.equal("ready", p.stdout:read "l")
    pid = p.pid
  end)
  teardown(function()
    if space then
      space:close()
    end
  end)

  -- Words of each line, sorted; without what changes from one moment to the next.
  local function parsed(text)
    local out = {}
    for line in text:gmatch "[^\n]+" do
      local words = {}
      for word in line:gmatch "%S+" do
        words[#words + 1] = word
      end
      local whole = table.concat(words, " ")
      out[#out + 1] = whole:find "Local Address:Port" and whole:gsub("PortProcess", "Port Process") or whole
    end
    table.sort(out)
    return out
  end
  local function ss(words)
    return space:output { "sh", "-c", "ss " .. words }
  end
  local function ours(words, more)
    return space:run({ "sh", "-c", HOST .. " sockets " .. words, stderr = "capture", table.unpack(more or {}) })
  end

  for _, words in ipairs { "-tan", "-tln", "-tn", "-uan", "-un", "-uln", "-tanH", "-4tan", "-6tan", "-tuan", "-tane", "-tanm",
    "-tan state established", "-tan state listening", "-tan exclude listening", "-tan sport = :8001", "-tan '( dport = :9001 or sport = :8003 )'",
    "-tan not dport = :9001", "-tan src 127.0.0.1", "-tan dst '[::1]'", "-tan sport gt :9000 and sport le :9001", "-uan dport = :5300",
    "-wan", "-wn", "-wln", "-6wan", "-wan src 127.0.0.1", "-wan state established" } do
    it("prints what ss does: " .. words, function()
      local want, got = parsed(ss(words)), ours(words)
      assert.equal("", got.stderr)
      local drop = words:find "^%-tanm" and " skmem:%b()" or words:find "^%-tane" and " cgroup:%S*" or nil
      for i, line in ipairs(want) do
        want[i] = line:gsub(" <%->", ""):gsub(" v6only:%d", ""):gsub(drop or "\0", "")
      end
      local have = parsed(got.stdout)
      for i, line in ipairs(have) do
        have[i] = line:gsub(drop or "\0", "")
      end
      table.sort(want)
      table.sort(have)
      assert.same(want, have)
      assert.is_true(#have > 0)
    end)
  end

  it("prints the memory that ss does", function()
    local function of(text)
      return text:match "8003[^\n]*\n%s*(skmem:%S+)"
    end
    assert.equal(of(ss "-tlnm"), of(ours "-tlnm".stdout))
  end)

  it("names the processes, as ss does but for what no terminal shall obey", function()
    local line = ours "-tlnp sport = :8003".stdout
    assert.matches(('users:%%(%%("py\\x1b%%[31m\\x0ax",pid=%d,fd=%%d+%%)%%)'):format(pid), line)
    assert.is_nil(line:find "\27")
    local all = ours("-xua").stdout
    assert.is_truthy(all:find("@na\\x1bme:", 1, true), all)
    assert.is_truthy(all:find("u_dgr UNCONN", 1, true), all)
  end)

  it("names the processes of a thousand sockets, and of those whose fds are far apart", function()
    local p <close> = space:spawn { "python3", "-c", [[
import os, socket, sys
keep = []
for i in range(500):
    s = socket.socket(); s.bind(("127.0.0.1", 20000 + i)); s.listen(1); keep.append(s)
    keep.append(os.open("/dev/null", os.O_RDONLY))
os.dup2(keep[0].fileno(), 1020)
done, told = os.pipe()
os.dup2(told, 1021)
if os.fork() == 0:
    os.closerange(3, 1020)
    os.write(1021, b"x")
else:
    os.read(done, 1)
    print("ready", flush=True)
sys.stdin.read()
]], stdin = "pipe", stdout = "pipe" }
    assert.equal("ready", p.stdout:read "l")
    local words = "-tlnp sport ge :20000"
    local want, have = parsed(ss(words)), parsed(ours(words).stdout)
    p:close()
    local first = table.concat(have, "\n"):match "[^\n]*127%.0%.0%.1:20000 [^\n]*"
    assert.equal(501, #have)
    assert.equal(3, select(2, first:gsub("pid=", "")), first)
    -- ss has them in an order of its own
    for _, list in ipairs { want, have } do
      for i, line in ipairs(list) do
        local owners = {}
        for owner in line:gmatch '%("[^)]*%)' do
          owners[#owners + 1] = owner
        end
        table.sort(owners)
        list[i] = line:gsub("users:.*", "") .. table.concat(owners, ",")
      end
      table.sort(list)
    end
    assert.same(want, have)
  end)

  it("tells what TCP knows", function()
    local text = ours "-tni sport = :8001".stdout
    for _, word in ipairs { "cubic", "rto:", "rtt:", "mss:", "cwnd:", "bytes_acked:5", "segs_out:" } do
      local mine = text:find(word, 1, true) or word == "cubic" and text:find "\n%s+%l+ "
      assert.is_truthy(mine, word .. " in " .. text)
    end
    assert.equal(2, select(2, ours("-tnO -i sport = :8001 and dport = :9000").stdout:gsub("\n", "")))
  end)

  it("prints JSON with owners, and counts", function()
    local j = dkjson.decode(ours("-tlp -j").stdout)
    assert.equal(3, #j)
    local by = {}
    for _, row in ipairs(j) do
      by[row.sport] = row
    end
    assert.same({ "127.0.0.1", "listen", 7, pid, 2 },
      { by[8001].src, by[8001].state, by[8001].send_queue, by[8001].owners[1].pid, by[8001].recv_queue })
    assert.matches("tcp +ESTAB %d+", ours("-s").stdout)
    assert.matches("tcp +LISTEN 3\n", ours("-s").stdout)
  end)

  it("looks into a namespace from outside, by its name, pid or -N", function()
    if not helper.is_root() then
      return pending "needs root: the namespace is in a user namespace of its own"
    end
    local want = ours "-tln".stdout
    assert.equal(want, helper.sh(("%s sockets -tln %d"):format(HOST, pid)) .. "\n")
    assert.equal(want, helper.sh(("%s sockets -N %d -tln"):format(HOST, pid)) .. "\n")
    assert.equal(want, helper.sh(("%s sockets -tln pid:%d"):format(HOST, pid)) .. "\n")
    local out, _, status = helper.sh(HOST .. " sockets -tln no-such-container-here")
    assert.equal(255, status)
    assert.matches("no%-such%-container%-here", out)
  end)

  it("says what is wrong with a filter", function()
    for words, message in pairs { ["sport = :x"] = "a port is a number", ["dst nowhere"] = "nowhere is no address", ["not"] = "got nothing",
      ["( sport = :1"] = "parenthesis", ["state"] = "name of a state is missing", ["state estblished"] = "established",
      ["src 10.0.0.0/40"] = "no prefix", ["sport = :1 )"] = "ends before" } do
      local r = ours("-tan " .. words:gsub("[()]", "'%0'"))
      assert.equal(255, r.status, words)
      assert.is_truthy(r.stderr:find(message, 1, true), words .. ": " .. r.stderr)
    end
  end)
end)
