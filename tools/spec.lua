-- Runs spec files, one process each, and says what they leave behind:
--   lua5.4 tools/spec.lua [--lua lua5.4] [--build build] [--wrap "valgrind ..."] [--seconds 300] [--results FILE]
--     [--label TEXT] [--rounds few] [--slowest 5] FILE...
-- --rounds few: what a spec repeats only to be sure is repeated a tenth as often (helper.rounds), as where it runs once more.
-- Ends with the files that took longest, and "N passed, N failed, N skipped"; the exit status is 1 if anything failed.
-- A file that does not load, has no tests, does not come to its end or takes too long is a failure, and so is what it leaves: mounts, names in
-- /run/netns, links, processes (NSLUA_SPEC_SHARED=1: only processes, where others use the machine at the same time).

local options = { lua = "lua5.4", build = "build", wrap = "", label = "", seconds = "300", rounds = "all", slowest = "5" }
local files = {}
do
  local i = 1
  while arg[i] do
    local name = arg[i]:match "^%-%-(%a+)$"
    if name then
      i = i + 1
      options[name] = arg[i]
    else
      files[#files + 1] = arg[i]
    end
    i = i + 1
  end
end

local function quote(s)
  return "'" .. s:gsub("'", "'\\''") .. "'"
end

local function output(command)
  local p = assert(io.popen(command))
  local text = p:read "a"
  p:close()
  return text
end

local shared = os.getenv "NSLUA_SPEC_SHARED"

-- Seconds since the machine started: os.time has no parts of a second, os.clock not those of children.
local function clock()
  local f <close> = assert(io.open "/proc/uptime")
  return f:read "n"
end

-- Everything global that a spec could leave, as a set of lines.
local function state()
  local out = {}
  if not shared then
    local text = output [[
      awk '$5 != "/run/netns" {print "mount " $5}' /proc/self/mountinfo  # the folder itself stays, as ip(8) leaves it
      for n in /run/netns/*; do [ -e "$n" ] && echo "netns $n"; done
      for n in /sys/class/net/*/; do n=${n%/}; echo "link ${n##*/}"; done]]
    for line in text:gmatch "[^\n]+" do
      out[line] = (out[line] or 0) + 1
    end
  end
  return out
end

-- Processes that descend from a run carry its mark in their environment.
local function processes(mark)
  local list = {}
  for pid in output("grep -lz " .. quote("^NSLUA_SPEC_RUN=" .. mark .. "$") .. " /proc/[0-9]*/environ 2>/dev/null"):gmatch "/proc/(%d+)/" do
    local name = output("cat /proc/" .. pid .. "/comm 2>/dev/null"):gsub("\n", "")
    local stat = output("cat /proc/" .. pid .. "/stat 2>/dev/null"):match "%) (%a)"
    if stat and stat ~= "Z" then
      list[#list + 1] = ("process %s %s"):format(pid, name)
    end
  end
  return list
end

local function left_behind(before, mark)
  local list = processes(mark)
  for line, n in pairs(state()) do
    if n > (before[line] or 0) then
      list[#list + 1] = line
    end
  end
  table.sort(list)
  return list
end

-- The kernel takes namespaces down in the background: what is left after two seconds is left.
local function settle(before, mark)
  local list
  for _ = 1, 20 do
    list = left_behind(before, mark)
    if #list == 0 then
      break
    end
    os.execute "sleep 0.1"
  end
  return list
end

local total = { passed = 0, failed = 0, pending = 0 }
local failures, times = {}, {}
local run_id = output("cat /proc/sys/kernel/random/uuid"):gsub("%s", "")

local function run(file, number)
  local mark = run_id .. "." .. number
  local before = state()
  local command = ("NSLUA_SPEC_RUN=%s NSLUA_SPEC_ROUNDS=%s timeout -k 10 %s %s %s /usr/bin/busted --ignore-lua --cpath=%s "
    .. "-o TAP %s </dev/null 2>&1; echo \"exit $?\""):format(mark, options.rounds, options.seconds, options.wrap, options.lua,
    quote("./" .. options.build .. "/?.so"), quote(file))
  local started = clock()
  local text = output(command)
  local count = { passed = 0, failed = 0, pending = 0 }
  local wrong, reasons, planned = {}, {}, nil
  for line in text:gmatch "[^\n]*" do
    if line:find "^ok %d+ %- # SKIP" then
      count.pending = count.pending + 1
      reasons[#reasons + 1] = line:match "# SKIP (.*)"
    elseif line:find "^ok %d+" then
      count.passed = count.passed + 1
    elseif line:find "^not ok " then
      count.failed = count.failed + 1
      wrong[#wrong + 1] = line
    end
    planned = line:match "^1%.%.(%d+)" or planned
  end
  local status = tonumber(text:match "exit (%d+)\n$")
  local function fault(what)
    count.failed = count.failed + 1
    wrong[#wrong + 1] = what
  end
  if status == 124 or status == 137 then
    fault("took longer than " .. options.seconds .. " seconds")
  elseif not planned then
    fault("did not come to its end (exit " .. tostring(status) .. ")")
  elseif tonumber(planned) == 0 then
    fault "has no tests"
  elseif status ~= 0 and count.failed == 0 then
    fault("exit " .. status)
  end
  for _, line in ipairs(settle(before, mark)) do
    fault("left behind: " .. line)
  end
  times[#times + 1] = { file = file, seconds = clock() - started }
  print(("%s %s%s: %d passed%s%s (%.1f s)"):format(count.failed == 0 and "ok    " or "FAILED", options.label, file, count.passed,
    count.failed > 0 and (", %d failed"):format(count.failed) or "",
    count.pending > 0 and (", %d pending"):format(count.pending) or "", clock() - started))
  for _, reason in ipairs(reasons) do
    print("         pending: " .. reason)
  end
  if count.failed > 0 then
    print((text:gsub("[^\n]*\n", function(line) return line:find "^ok %d" and "" or "    " .. line end)))
    for _, line in ipairs(wrong) do
      print("    " .. line)
      failures[#failures + 1] = options.label .. file .. ": " .. line
    end
  end
  io.stdout:flush()
  for key, n in pairs(count) do
    total[key] = total[key] + n
  end
end

for i, file in ipairs(files) do
  run(file, i)
end
if #failures > 0 then
  print "\nfailed:"
  for _, line in ipairs(failures) do
    print("  " .. line)
  end
end
if options.results then
  local f = assert(io.open(options.results, "a"))
  f:write(("%d %d %d\n"):format(total.passed, total.failed, total.pending))
  f:close()
end
local slowest, all = {}, 0
table.sort(times, function(a, b) return a.seconds > b.seconds end)
for i, one in ipairs(times) do
  all = all + one.seconds
  slowest[#slowest + 1] = i <= tonumber(options.slowest) and ("%s %.1f s"):format(one.file, one.seconds) or nil
end
if #times > 1 and slowest[1] then
  print(("%s%d files took %.0f s; the slowest: %s"):format(options.label, #times, all, table.concat(slowest, ", ")))
end
print(("%s%d passed, %d failed, %d skipped"):format(options.label, total.passed, total.failed, total.pending))
os.exit(total.failed == 0 and #files > 0)
