-- packets of containers, namespaces and labs: into one pcapng, live to Wireshark, or as lines of text
--
-- The first word says where: a container, a name of ip netns, a path, a pid, docker:web, lab:demo, several with commas between them, all, or . for
-- this namespace.
-- What follows is a filter in the words of pcap-filter(7): all of them where libpcap is installed; without it host, net, port, portrange,
-- ether, tcp, udp, sctp, icmp, icmp6, ip, ip6, arp, vlan, less, greater, inbound, outbound, src, dst, and, or, not. Nothing is needed in a
-- container, nothing is left behind.

local errors = require "nslua.error"
local host = require "nslua.host"
local options = require "nslua.command.cli.options"

local declaration = options.declare {
  name = "capture", usage = "[options] <container | netns | lab:name | all>[,...] [<filter>...]", operands = "netns",
  summary = "Capture packets in network namespaces, of all their interfaces at once.",
  { "w", "write", arg = "file", help = "write pcapng into a file; -: to the standard output, for Wireshark" },
  { "i", "interface", arg = "name", many = true, help = "only this interface (may be given more than once)" },
  { "c", "count", arg = "number", help = "end after so many packets" },
  { "s", "snapshot-length", arg = "bytes", help = "of a packet at the most" },
  { "C", "file-size", arg = "size", help = "with -w: the next file after so many millions of bytes (or 10mb)" },
  { "W", "files", arg = "number", help = "with -C: so many files at the most, then the first again (default 2)" },
  { "B", "buffer-size", arg = "KiB", help = "of the kernel's buffers, all together: 256 MB an interface at the most" },
  { "p", "promiscuous", help = "frames that are for others, too" },
  { "r", "read", arg = "file", help = "print the packets of a file of pcapng (-: of the standard input); nothing is captured" },
  { "q", "quiet", help = "no messages: not where it listens, no counts" },
  { "j", "json", help = "print a line of JSON for each packet" },
  notes = "It ends by Ctrl-C, or with the last of its containers, and prints the counts.",
  examples = {
    { "nslua capture web tcp port 80", "packets of a container, as text" },
    { "nslua capture all -w all.pcapng", "of every namespace of the machine, with their names, in one file" },
    { "nslua capture docker:web,docker:db -w - | wireshark -k -i -", "live in Wireshark" },
    { "nslua capture lab:demo -w ring.pcapng -C 10 -W 5", "the last 50 MB of a lab, in five files" },
  },
}

local function number(o, key, option, least)
  local text = o[key]
  if not text then
    return nil
  end
  local n = math.tointeger(tonumber(text))
  if not n or n < least then
    errors.misuse("invalid argument of -%s: '%s' (a whole number, %d or more)", option, text, least)
  end
  return n
end

local function safe(text)
  return require("nslua.command.cli.columns").safe(text)
end

-- { label, handle } of what a word stands for.
local function spaces_of(word, out)
  local ns = require "nslua"
  if word == "all" then
    local spaces = require "nslua.command.list.spaces"
    for _, space in ipairs(spaces.all()) do
      local handle = spaces.enter(space)
      if handle then
        out[#out + 1] = { space.name, handle }
      end
    end
  elseif word:find "^lab:." then
    local lab = ns.lab.open(word:sub(5))
    out.labs[#out.labs + 1] = lab
    for _, node in ipairs(lab.nodes) do
      out[#out + 1] = { node.node_name, node }
    end
  else
    out[#out + 1] = { word == "." and "this namespace" or word, require("nslua.command.cli.place").open(word, true) }
  end
end

-- Of a namespace that has several names, or was named twice, the first: else each of its packets would be there twice.
local function once(spaces, quiet)
  local first, kept = {}, {}
  for _, each in ipairs(spaces) do
    local same = first[each[2].inode]
    if not same then
      first[each[2].inode] = each
      kept[#kept + 1] = each
    else
      each[2]:close()
      if not quiet and same[1] ~= each[1] then
        io.stderr:write(("nslua capture: %s is in the network of %s: its packets have that name\n"):format(safe(each[1]), safe(same[1])))
      end
    end
  end
  for i = 1, #spaces do
    spaces[i] = kept[i]
  end
end

local function listen_text(capture, spaces)
  local list = {}
  for i = 1, math.min(#capture.interfaces, 8) do
    list[i] = safe(capture.interfaces[i])
  end
  local more = #capture.interfaces - #list
  return ("listening on %s%s (%d interface%s, %d namespace%s)"):format(table.concat(list, ", "), more > 0 and (" and %d more"):format(more) or "",
    #capture.interfaces, #capture.interfaces == 1 and "" or "s", #spaces, #spaces == 1 and "" or "s")
end

local function counts(result)
  local function line(n, what)
    return ("%d packet%s %s\n"):format(n, n == 1 and "" or "s", what)
  end
  local out = { line(result.packets, "captured"), line(result.dropped, "dropped by kernel") }
  if result.unwritten > 0 then
    out[#out + 1] = line(result.unwritten, "not written")
  end
  for _, one in ipairs(result.dropped > 0 and result.interfaces or {}) do
    if one.dropped > 0 then
      out[#out + 1] = ("  %s: %d of %d dropped\n"):format(safe(one.name), one.dropped, one.packets + one.dropped)
    end
  end
  return table.concat(out)
end

local function printer(o)
  local line = require "nslua.inspect.capture.line"
  if not o.json then
    return function(p)
      io.write(line.of(p), "\n")
      errors.check("stdout", nil, io.stdout:flush())
    end
  end
  local json = require "nslua.schema".json
  return function(p)
    io.write(json(line.value(p)), "\n")
    errors.check("stdout", nil, io.stdout:flush())
  end
end

local function read(o)
  if o[1] or o.write then
    errors.misuse "with -r there is no namespace, no filter and no -w"
  end
  local file = require("nslua").capture.read(o.read == "-" and "/dev/stdin" or o.read)
  local print_packet, left = printer(o), number(o, "count", "c", 1) or math.huge
  for p in file:each() do
    print_packet(p)
    left = left - 1
    if left == 0 then
      break
    end
  end
  file:close()
  return 0
end

local function output(o)
  if o.write == "-" and host.is_terminal(1) then
    errors.misuse "the standard output is a terminal, which packets would confuse: -w - is for a pipe"
  elseif (o["file-size"] or o.files) and (not o.write or o.write == "-") then
    errors.misuse "-C and -W need -w with a file"
  elseif o.files and not o["file-size"] then
    errors.misuse "-W needs -C: when a file is full"
  end
  return o.write == "-" and io.stdout or o.write
end

-- Tell of each container that has ended since; whether any space is left from which packets may come.
local function lives(spaces)
  local left = #spaces == 0
  for _, each in ipairs(spaces) do
    local handle = each[2]
    if not each.ended and handle.running and not handle:running() then
      each.ended = true
      io.stderr:write("nslua capture: ", safe(handle:describe()), " has ended\n")
    end
    left = left or not each.ended
  end
  return left
end

local LOOK = 0.5 -- seconds between two looks whether containers still run

local function run(o)
  if o.read then
    return read(o)
  elseif not o[1] or not o[1]:find "[^,]" then
    errors.misuse "where? A container, a namespace, lab:name or all is needed"
  end
  local size = o["file-size"] and (tonumber(o["file-size"]) and tonumber(o["file-size"]) * 1000000 or o["file-size"])
  local all = { file = output(o), dev = o.interface, count = number(o, "count", "c", 1), snaplen = number(o, "snapshot-length", "s", 64),
    ring = size and { bytes = size, files = number(o, "files", "W", 1) } or nil, promiscuous = o.promiscuous,
    filter = o[2] and table.concat(o, " ", 2) or nil }
  local buffer = number(o, "buffer-size", "B", 1)
  all.buffer = buffer and buffer * 1024.0 // 1 -- a float does not wrap round
  local spaces <close> = setmetatable({ labs = {} }, { __close = function(list)
    for _, each in ipairs(list) do
      each[2]:close()
    end
    for _, lab in ipairs(list.labs) do
      lab:close()
    end
  end })
  for word in o[1]:gmatch "[^,]+" do
    spaces_of(word, spaces)
  end
  once(spaces, o.quiet)
  local capture <close> = require("nslua").capture.many(spaces, all)
  local print_packet, said, over = not all.file and printer(o), o.quiet, false
  host.loop(function(interrupted) -- Ctrl-C ends it as it is to be ended
    if interrupted then
      return false
    elseif not said then
      said = true
      io.stderr:write("nslua capture: ", listen_text(capture, spaces), "\n")
      return true
    elseif print_packet then
      local p = capture:next(LOOK)
      if p then
        print_packet(p)
        return true
      end
    else
      capture:wait(LOOK)
    end
    over = capture:counters().done or not lives(spaces)
    return not over
  end)
  local result = capture:stop()
  local p = over and print_packet and capture:next()
  while p do -- what came since the last look
    print_packet(p)
    p = capture:next()
  end
  if not o.quiet then
    io.stderr:write(counts(result))
  end
  return 0
end

return function(args)
  return declaration:run(args, run)
end
