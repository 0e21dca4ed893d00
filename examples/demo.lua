-- What `make demo` shows: two hosts on a bridge in fresh namespaces, a ping across, and the tables of each. Nothing is left behind.
--
-- Use:    nslua examples/demo.lua
-- Prints: three namespaces with their links, addresses, routes, neighbours and rules; the ping; what is gone at the end.
-- Needs:  root, or `unshare -Ur` before it.

local function pad(text, width)
  return text .. (" "):rep(width - #text)
end

local function table_of(title, columns, rows)
  local lines, widths = { columns }, {}
  for _, row in ipairs(rows) do
    lines[#lines + 1] = row
  end
  for _, line in ipairs(lines) do
    for i, cell in ipairs(line) do
      widths[i] = math.max(widths[i] or 0, #cell)
    end
  end
  print("  " .. title)
  for _, line in ipairs(lines) do
    local cells = {}
    for i, cell in ipairs(line) do
      cells[i] = pad(cell, widths[i])
    end
    print(("    " .. table.concat(cells, "  ")):match "^(.-)%s*$")
  end
end

-- A field that a row does not have shows as "-".
local function rows_of(list, fields)
  local out = {}
  for i, row in ipairs(list) do
    out[i] = {}
    for j, field in ipairs(fields) do
      local value = row[field]
      out[i][j] = value == nil and "-" or tostring(value)
    end
  end
  return out
end

local function show(handle)
  print(("\n%s  net:[%d]"):format(handle.label, handle.inode))
  local function section(title, list, fields)
    table_of(title, fields, rows_of(list, fields))
  end
  section("links", handle.link:list(), { "index", "name", "kind", "up", "operstate", "mtu", "address", "master" })
  section("addresses", handle.address:list(), { "address", "dev", "scope" })
  section("routes", handle.route:list{ table = "main" }, { "dst", "via", "dev", "src", "proto" })
  section("neighbours", handle.neighbour:list(), { "dst", "lladdr", "dev", "state" })
  section("rules", handle.rule:list(), { "family", "priority", "table" })
end

local started = ns.clock()
do
  local switch <close> = ns.netns.new{ label = "switch" }
  switch.link:add{ name = "br0", kind = "bridge", up = true }

  local function host(name, address)
    local h = ns.netns.new{ lo = true, label = name }
    switch.link:add{ name = name, kind = "veth", master = "br0", up = true, peer = { name = "eth0", netns = h } }
    h:batch(function()
      h.link:change("eth0", { up = true })
      h.address:add{ address, dev = "eth0" }
      h.route:add{ "default", via = "10.0.0.254", dev = "eth0" }
    end)
    return h
  end
  local h1 <close> = host("h1", "10.0.0.1/24")
  local h2 <close> = host("h2", "10.0.0.2/24")
  print(("built two hosts and a bridge in %.1f ms"):format((ns.clock() - started) * 1000))

  print "\nh1: ping 10.0.0.2"
  local r = h1:run{ "ping", "-c", "3", "-i", "0.2", "-W", "5", "10.0.0.2" }
  io.write((r.stdout:gsub("[^\n]+", "  %0")))
  r:check()

  for _, handle in ipairs{ h1, h2, switch } do
    show(handle)
  end
end
print "\nclosed: the kernel has freed the three namespaces, and everything in them"
