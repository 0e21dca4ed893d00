-- nslua bench/run.lua [--json] [--pairs N] [--only WORD]: nslua against the kernel's floor (C and libmnl) and against other tools.
--
-- Every row runs its two sides in pairs, in alternating order, from rest; times are medians, the ratio is the median of the pairs' ratios.
-- Rows that say how much memory something takes have no other side: what is measured, and the budget, are bytes.
-- A ratio over its budget is said, and is no failure: machines are busy. Run from the checkout, as root. `make bench` does what it needs
-- first: it builds the host, and the C programs into build/bench, and where Go is, that which uses its netlink library:
--   cc -O2 -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -o build/bench/floor bench/floor/*.c -lmnl
--   GOPATH=/usr/share/gocode GO111MODULE=off go build -o build/bench/routes-go bench/peers/routes.go
-- With --json a row is an object: `unit`, of `nslua` and `floor`, is "seconds" or "bytes"; `budget`, `lowest` and `highest` are ratios, or bytes
-- where there is no `floor`. Rows of another unit have `least` and `most` for a budget.
local ns = require "nslua"

local HOST, FLOOR = "build/bin/nslua", "build/bench/floor"
local function popen(command)
  local p = assert(io.popen(command))
  local out = p:read "a"
  local ok = p:close()
  return ok and out or nil
end

local FOLDER = popen("pwd"):gsub("\n", "")
local NAME = ("nslua-bench-%.0f"):format(ns.clock() * 1e6)

local function lua(work, rounds, extra)
  return { ("%s bench/works.lua %s %d %s"):format(HOST, work, rounds, extra or ""), rounds }
end
local function floor(work, rounds, extra)
  return { ("%s %s %d %s"):format(FLOOR, work, rounds, extra or ""), rounds }
end
local function program(rounds, command)
  return floor("exec", rounds, command)
end

-- Of a side whose rounds are parts of one thing: the time of all of it.
local function whole(side)
  side[2] = 1
  return side
end

local target = ns.spawn { "sleep", "86400", unshare = "net" } -- ends with this script
local function nsenter(tool)
  return program(100, ("%s -t %d -n true"):format(tool, target.pid))
end

-- Debian's Python: another that comes first in PATH does not have Debian's pyroute2.
local PYTHON, GO = "/usr/bin/python3", "build/bench/routes-go"
local PYROUTE2 = PYTHON .. " bench/peers/routes.py"
-- How to see that something is there which is no command.
local presence = {
  pyroute2 = PYTHON .. " -c 'import pyroute2' 2>/dev/null",
  ["Go's netlink library"] = "test -x " .. GO,
}

local LS = HOST .. " ls"
local WORKS = HOST .. " bench/works.lua"
local WIRES = HOST .. " bench/wires.lua "
local CAPTURE = HOST .. " bench/capture.lua "
local NOBODY = "setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all "
local ROUTES, BATCH = NAME .. "-routes", os.tmpname()

-- A file for a capture of some seconds, and the sides that write into it.
local FILE = { "file", 10000 }
local function captures(what)
  return function(_, path)
    return { ("%snslua %s 5 %s"):format(CAPTURE, what, path), 1 }, { ("%stcpdump %s 5 %s"):format(CAPTURE, what, path), 1 }
  end
end

local MININET = "unshare -n mn --switch lxbr --controller none --test none --topo single,64"

-- `routes`: 100,000 are there in a namespace; `batch`: a file with so many for ip.
-- `budget` is the largest ratio nslua / floor, or with `faster` the smallest floor / nslua. `crowd`: so many more processes, with 20 open files
-- each, while the row is measured. `scene`: bench/scene.lua makes what is looked at, `sides` the commands for it. `bytes`: the
-- work prints bytes, of which it may take so many at most. `within`: it prints a number in `unit`, which is to be between these two.
local rows = {
  { work = "start: nslua -e '' | lua5.4 -e ''", budget = 1.5, nslua = program(50, HOST .. " -e ''"), floor = program(50, "lua5.4 -e ''") },
  { work = "nslua nsenter -n true | nsenter", budget = 1.5, needs = "nsenter", nslua = nsenter(HOST .. " nsenter"), floor = nsenter "nsenter" },
  { work = "nslua unshare -n true | unshare", budget = 1.5, needs = "unshare", nslua = program(100, HOST .. " unshare -n true"),
    floor = program(100, "unshare -n true") },
  { work = "nslua netns add, delete | ip netns", budget = 1, needs = "ip", nslua = program(50, "sh bench/names.sh " .. HOST .. " netns"),
    floor = program(50, "sh bench/names.sh ip netns") },
  { work = "nslua netns exec NAME true | ip netns exec", budget = 1, needs = "ip", nslua = program(100, HOST .. " netns exec " .. NAME .. " true"),
    floor = program(100, "ip netns exec " .. NAME .. " true") },
  { work = "500 x netns.new() and close | C", budget = 1.1, nslua = lua("netns-new", 500), floor = floor("netns-new", 500) },
  { work = "netns:call(empty) | a pair of setns in C", budget = 4, nslua = lua("call", 50000), floor = floor("setns-pair", 50000) },
  { work = "netns:run{/bin/true, sys=false} | C", budget = 1.3, nslua = lua("run", 200), floor = floor("run", 200) },
  { work = "netns:run{/bin/true}, own /sys | C", budget = 1.3, nslua = lua("run-sys", 200), floor = floor("run-sys", 200) },
  { work = "new, first run with own /sys, close | C", budget = 1.3, nslua = lua("run-sys-fresh", 50), floor = floor("run-sys-fresh", 50) },
  { work = "netns:run{/bin/true} | ip netns exec", budget = 1, needs = "ip", nslua = lua("run-sys", 100),
    floor = program(100, "ip netns exec " .. NAME .. " /bin/true"), named = true },
  { work = "64 hosts on a bridge | C + libmnl", budget = 1.3, nslua = lua("star", 3), floor = floor("star", 3) },
  { work = "64 hosts, built and gone | C + libmnl", nslua = lua("star", 3, "teardown"), floor = floor("star", 3, "teardown") },
  { work = "64 hosts, start to exit | mininet", budget = 20, faster = true, needs = "mn", also = "brctl", pairs = 3,
    nslua = program(1, HOST .. " bench/works.lua star-close 1"), floor = program(1, MININET) },
  -- what mininet's own figure leaves out; C itself comes to about 21 here
  { work = "64 hosts, until the kernel is done | mininet", faster = true, needs = "mn", also = "brctl", pairs = 3,
    nslua = program(1, HOST .. " bench/works.lua star 1 teardown"), floor = program(1, MININET) },
  { work = "lab of 64 hosts on a switch, up | C", budget = 1.3, nslua = whole(lua("lab", 64)), floor = whole(floor("lab", 64)) },
  { work = "lab of 1,000 hosts on a switch, up | C", budget = 1.3, pairs = 5, nslua = whole(lua("lab", 1000)),
    floor = whole(floor("lab", 1000)) },
  { work = "1,000 hosts: taken down | built", budget = 10, faster = true, pairs = 3, nslua = whole(lua("lab-close", 1000)),
    floor = whole(lua("lab", 1000)) },
  { work = "lab of 64 hosts, one ping, gone | mininet", budget = 30, faster = true, needs = "mn", also = "brctl", pairs = 3,
    nslua = program(1, WORKS .. " lab-ping 64"), floor = program(1, (MININET:gsub("test none", "test pingpair"))) },
  { work = "line of 64 routers, one ping | mininet linear,64", budget = 20, faster = true, needs = "mn", also = "brctl", pairs = 2,
    nslua = program(1, WORKS .. " lab-line 64"), floor = program(1, (MININET:gsub("single,64", "linear,64"))) },
  { work = "4,032 pairs: ping_all | ping(8), each", budget = 20, faster = true, needs = "ping", pairs = 3,
    nslua = whole(lua("lab-ping-all", 64)), floor = whole(lua("lab-ping-each", 4032)) },
  { work = "one link by name, kept socket | C", budget = 3, nslua = lua("link-get", 50000), floor = floor("link-get", 50000) },
  { work = "add 10,000 routes in a batch | C, batched", budget = 1.5, nslua = lua("routes-add", 10000), floor = floor("routes-add", 10000) },
  { work = "add 10,000 routes | ip -batch", budget = 3, faster = true, needs = "ip", batch = 10000, nslua = program(1, WORKS .. " routes-add 10000"),
    floor = program(1, "unshare -n sh -c 'ip link set lo up && ip -batch " .. BATCH .. "'") },
  { work = "add 10,000 routes in a batch | pyroute2", budget = 50, faster = true, needs = "pyroute2", pairs = 2, nslua = lua("routes-add", 10000),
    floor = { ("%s unshare -n %s routes-add 10000"):format(HOST, PYROUTE2), 10000 } },
  { work = "100,000 routes, two fields | C, parsed", budget = 4, routes = true, nslua = lua("routes-list", 1, ROUTES),
    floor = floor("routes-list", 1, ROUTES) },
  { work = "100,000 routes, two fields | ip -j route", budget = 2, faster = true, needs = "ip", routes = true, nslua = lua("routes-list", 1, ROUTES),
    floor = program(1, "ip -n " .. ROUTES .. " -j route") },
  { work = "100,000 routes, two fields | Go netlink", budget = 5, faster = true, needs = "Go's netlink library", routes = true,
    nslua = lua("routes-list", 1, ROUTES), floor = { ("%s routes-list 1 %s"):format(GO, ROUTES), 1 } },
  { work = "100,000 routes, two fields | pyroute2", budget = 100, faster = true, needs = "pyroute2", pairs = 2, routes = true,
    nslua = lua("routes-list", 1, ROUTES), floor = { ("%s routes-list 1 %s"):format(PYROUTE2, ROUTES), 1 } },
  { work = "100,000 routes: peak above the interpreter", bytes = 20e6, routes = true, nslua = lua("routes-list-peak", 1, ROUTES) },
  { work = "each over 100,000 routes: peak above it", bytes = 10e6, routes = true, nslua = lua("routes-each-peak", 1, ROUTES) },
  { work = "1 of 100,000 routes by table | all of them", budget = 100, faster = true, routes = true, nslua = lua("routes-one", 20, ROUTES),
    floor = lua("routes-list", 1, ROUTES) },
  { work = "100,000 routes as plain tables | ip -j, cjson", budget = 1, faster = true, needs = "ip", routes = true,
    nslua = lua("routes-decode", 1, ROUTES),
    floor = program(1, "sh bench/ipjson.sh " .. ROUTES) },
  { work = "200 veth pairs deleted by group | one by one", budget = 40, faster = true, pairs = 2, nslua = lua("veths-delete", 200),
    floor = lua("veths-delete-singly", 200) },
  { work = "ns.why between two on a bridge | 100 x ip", budget = 1, needs = "ip", nslua = lua("why", 3), floor = lua("ip-inside", 3) },
  { work = "nslua doctor --quick, a healthy container | 50 x ip", budget = 1, needs = "ip", nslua = lua("doctor-quick", 3),
    floor = lua("ip-inside-50", 3) },
  -- the first two are for each gigabyte in the file; of the third a second is every packet
  { work = "capture at full rate, CPU, new file | tcpdump -w", budget = 1, needs = "tcpdump", nslua = { CAPTURE .. "nslua cpu 5", 1 },
    floor = { CAPTURE .. "tcpdump cpu 5", 1 } },
  { work = "capture at full rate, CPU, file there | tcpdump -w", budget = 1, needs = "tcpdump", scene = FILE, sides = captures "cpu" },
  { work = "capture at full rate, lost | tcpdump -w", budget = 1, needs = "tcpdump", scene = FILE, sides = captures "lost" },
  { work = "10,000 sockets, whose: nslua sockets | nsenter, ss", budget = 2, faster = true, needs = "ss", also = "nsenter",
    scene = { "sockets", 10000 }, sides = function(pid)
      return program(5, ("%s sockets -antp -N %d"):format(HOST, pid)), program(5, ("nsenter -t %d -n ss -antp"):format(pid))
    end },
  { work = "500 namespaces, 1,000 veths: nslua map --json | the dumps in C", budget = 3, scene = { "wires", 500 },
    sides = function(pid)
      return program(1, HOST .. " map --json"), program(1, ("%s map 1 %d"):format(FLOOR, pid))
    end },
  -- both in the mount namespace of dockerd, where its files are where they usually are
  { work = "50 containers: nslua containers | docker ps", budget = 3, faster = true, needs = "dockerd", also = "busybox", scene = { "docker", 50 },
    sides = function(_, said)
      local pid, sock = said:match "^(%d+) (.*)$"
      local inside = ("nsenter -t %s -m -n %s/%s exec 5 "):format(pid, FOLDER, FLOOR)
      return { ("%s%s/%s containers"):format(inside, FOLDER, HOST), 5 }, { ("%sdocker -H unix://%s ps"):format(inside, sock), 5 }
    end },
  { work = "wire of 10 ms each way: median of 500 pings", within = { 20.0, 20.3 }, unit = "ms", needs = "ping", nslua = { WIRES .. "rtt 500", 1 } },
  -- 99.9 % of the time a chance of 1 % loses so many; and the same seed the same, or it fails
  { work = "wire of 1 % loss: of 100,000 packets", within = { 897, 1104 }, unit = "lost", needs = "python3", pairs = 1,
    nslua = { WIRES .. "loss 100000", 1 } },
  { work = "one TCP stream, 2 GB: wire | veth", budget = 3, needs = "python3", nslua = { WIRES .. "stream wire 2000", 1 },
    floor = { WIRES .. "stream veth 2000", 1 } },
  { work = "the same without rights: wire | veth", budget = 3, needs = "python3", also = "setpriv",
    nslua = { NOBODY .. WIRES .. "stream wire 2000", 1 },
    floor = { NOBODY .. WIRES .. "stream veth 2000", 1 } },
  { work = "wire of rate = \"100mbit\": TCP goodput", within = { 93, 100 }, unit = "Mbit/s", needs = "python3", pairs = 3,
    nslua = { WIRES .. "rate 1", 1 } },
  { work = "10 such wires at once, the slowest", within = { 93, 100 }, unit = "Mbit/s", needs = "python3", pairs = 3,
    nslua = { WIRES .. "rate 10", 1 } },
  { work = "10 such wires at once, the fastest", within = { 93, 100 }, unit = "Mbit/s", needs = "python3", pairs = 1,
    nslua = { WIRES .. "rate 10 most", 1 } },
  { work = "1,000 processes: nslua ls | lsns", crowd = 1000, faster = true, needs = "lsns", nslua = program(3, LS), floor = program(3, "lsns") },
  { work = "1,000: nslua ls --no-fds | lsns", crowd = 1000, faster = true, needs = "lsns", nslua = program(3, LS .. " --no-fds"),
    floor = program(3, "lsns") },
  { work = "8,000 processes: nslua ls | lsns", crowd = 8000, budget = 3, faster = true, needs = "lsns", nslua = program(1, LS),
    floor = program(1, "lsns") },
  { work = "8,000: nslua ls --no-fds | lsns", crowd = 8000, budget = 8, faster = true, needs = "lsns", nslua = program(1, LS .. " --no-fds"),
    floor = program(1, "lsns") },
  { work = "8,000: namespace.list() | C", crowd = 8000, budget = 1.5, nslua = lua("census", 1), floor = floor("census", 1) },
  { work = "8,000: namespace.list{fds=false} | C", crowd = 8000, nslua = lua("census", 1, "links"), floor = floor("census", 1, "links") },
}

-- What the program prints, nanoseconds or bytes, for one round of it.
local function measure(side)
  popen(FLOOR .. " settle 1")
  local out = popen(side[1])
  return out and tonumber(out) and tonumber(out) / side[2]
end

-- The crowd that a row asks for; it is kept for the next row, and ends with this script.
local crowd, crowd_size
local function gather(size)
  if size == crowd_size then
    return
  end
  if crowd then
    crowd:close()
    crowd = nil
  end
  crowd_size = size
  if size then
    crowd = ns.spawn { FLOOR, "crowd", tostring(size), stdin = "pipe", stdout = "pipe" }
    assert(crowd.stdout:read "l" == "0", "the crowd did not come")
    popen(HOST .. " ls") -- /proc has no names for them before somebody looks
  end
end

-- The namespace with many routes, and the lines for ip -batch; both go with this script.
local has_routes
local function prepare(row)
  if row.routes and not has_routes then
    has_routes = true
    popen(("%s routes-make 100000 %s"):format(WORKS, ROUTES))
  end
  if row.batch then
    local f = assert(io.open(BATCH, "w"))
    for n = 0, row.batch - 1 do
      f:write(("route add 16.%d.%d.%d/32 dev lo\n"):format(n >> 16, n >> 8 & 255, n & 255))
    end
    f:close()
  end
end

-- What a row looks at, made by a program of its own; it is kept for the next row of the same.
local scene, scene_name, scene_said
local function stage(row)
  local name = row.scene and table.concat(row.scene, " ")
  if name ~= scene_name then
    if scene then
      scene.stdin:close()
      scene:wait(120)
      scene:close()
      scene = nil
    end
    scene_name = name
    if name then
      scene = ns.spawn { HOST, "bench/scene.lua", row.scene[1], tostring(row.scene[2]), stdin = "pipe", stdout = "pipe" }
      scene_said = assert(scene.stdout:read "l", name .. " did not come")
    end
  end
  if name then
    row.nslua, row.floor = row.sides(scene.pid, scene_said)
  end
end

local function median(list)
  table.sort(list)
  local n = #list
  return n % 2 == 1 and list[n // 2 + 1] or (list[n // 2] + list[n // 2 + 1]) / 2
end

local function missing(row)
  for _, tool in ipairs { row.needs, row.also } do
    if not popen(("(%s) >/dev/null && echo yes"):format(presence[tool] or "command -v " .. tool)) then
      return tool
    end
  end
end

-- Medians in seconds and the ratio of the pairs; or nil and the command that failed.
local function run_pairs(row, count)
  local times, ratios = { nslua = {}, floor = {} }, {}
  for i = 1, count do
    local pair = {}
    for _, side in ipairs(i % 2 == 1 and { "nslua", "floor" } or { "floor", "nslua" }) do
      local ns_each = measure(row[side])
      if not ns_each then
        return nil, row[side][1]
      end
      pair[side] = ns_each / 1e9
      table.insert(times[side], pair[side])
    end
    ratios[i] = row.faster and pair.floor / pair.nslua or pair.nslua / pair.floor
  end
  local ratio = median(ratios)
  return { nslua = median(times.nslua), floor = median(times.floor), ratio = ratio, lowest = ratios[1], highest = ratios[count] }, ratio
end

-- The median in bytes or in the row's unit, twice: as the row's value and as what its budget is for.
local function run_alone(row, count)
  local sizes = {}
  for i = 1, count do
    sizes[i] = measure(row.nslua)
    if not sizes[i] then
      return nil, row.nslua[1]
    end
  end
  local size = median(sizes)
  return { nslua = size, lowest = sizes[1], highest = sizes[count] }, size
end

local function run(row, pairs_wanted)
  local budget = row.bytes or row.budget
  local result, figure
  local tool = missing(row)
  if tool then
    result = { verdict = "skipped", why = tool .. " is not installed" }
  else
    gather(row.crowd)
    prepare(row)
    stage(row)
    result, figure = ((row.bytes or row.within) and run_alone or run_pairs)(row, math.min(pairs_wanted, row.pairs or pairs_wanted))
    if not result then
      result = { verdict = "failed", why = figure }
    elseif row.within then
      result.verdict = figure >= row.within[1] and figure <= row.within[2] and "ok" or "over"
    elseif not budget then
      result.verdict = ""
    elseif row.faster then
      result.verdict = figure >= budget and "ok" or "over"
    else
      result.verdict = figure <= budget and "ok" or "over"
    end
  end
  result.work, result.budget, result.faster = row.work, budget, row.faster or false
  result.unit = row.unit or row.bytes and "bytes" or "seconds"
  if row.within then
    result.least, result.most = row.within[1], row.within[2]
  end
  return result
end

local function seconds(t)
  if t < 1e-3 then
    return ("%.2f us"):format(t * 1e6)
  elseif t < 1 then
    return ("%.2f ms"):format(t * 1e3)
  end
  return ("%.2f s"):format(t)
end

local function megabytes(n)
  return ("%.2f MB"):format(n / 1e6)
end

local function plain(n)
  return ("%.4g"):format(n)
end

local function json(value)
  if type(value) == "table" then
    local keys, parts = {}, {}
    for k in pairs(value) do
      keys[#keys + 1] = k
    end
    table.sort(keys)
    for i, k in ipairs(keys) do
      parts[i] = ("%q:%s"):format(k, json(value[k]))
    end
    return "{" .. table.concat(parts, ",") .. "}"
  elseif type(value) == "string" then
    return '"' .. value:gsub('[%c"\\]', function(c) return ("\\u%04x"):format(c:byte()) end) .. '"'
  elseif type(value) == "number" and value == math.floor(value) then
    return ("%d"):format(value)
  elseif type(value) == "number" then
    return ("%.6g"):format(value)
  end
  return tostring(value)
end

local options = { pairs = 7 }
do
  local i = 1
  while arg[i] do
    if arg[i] == "--json" then
      options.json = true
    elseif arg[i] == "--pairs" and math.tointeger(tonumber(arg[i + 1])) then
      options.pairs, i = math.tointeger(tonumber(arg[i + 1])), i + 1
    elseif arg[i] == "--only" and arg[i + 1] then
      options.only, i = arg[i + 1], i + 1
    else
      io.stderr:write("usage: nslua bench/run.lua [--json] [--pairs N] [--only WORD]\n")
      os.exit(2)
    end
    i = i + 1
  end
end

local function print_row(...)
  print(("%-44s %10s %10s %7s %7s  %s"):format(...))
end

local named = ns.netns.add(NAME)
local status = 0
local ok, problem = xpcall(function()
  if not options.json then
    print_row("work | floor", "nslua", "floor", "ratio", "budget", "")
  end
  for _, row in ipairs(rows) do
    if not options.only or row.work:find(options.only, 1, true) then
      local r = run(row, options.pairs)
      if r.verdict == "failed" then
        status = 1
      end
      if options.json then
        print(json(r))
      else
        local quantity = r.unit == "bytes" and megabytes or r.least and plain or seconds
        local budget = r.least and ("%g..%g %s"):format(r.least, r.most, r.unit)
          or r.budget and (r.unit == "bytes" and ("%g MB"):format(r.budget / 1e6) or ("%g"):format(r.budget))
        print_row(r.work, r.nslua and quantity(r.nslua) or "-", r.floor and quantity(r.floor) or "-", r.ratio and ("%.2f"):format(r.ratio) or "-",
          r.least and budget or budget and (r.faster and ">=" or "<=") .. budget or "-", r.verdict .. (r.why and ": " .. r.why or ""))
      end
      io.stdout:flush()
    end
  end
end, debug.traceback)
gather(nil)
stage {}
os.remove(BATCH)
if has_routes then
  ns.netns.delete(ROUTES)
end
named:close()
ns.netns.delete(NAME)
if not ok then
  error(problem, 0)
end
os.exit(status)
