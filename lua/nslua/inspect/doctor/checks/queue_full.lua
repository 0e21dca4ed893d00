-- A queue in front of a link is full, and what comes is dropped.

local rules = require "nslua.inspect.doctor.rules"
local translation = require "nslua.inspect.doctor.translation"

local LOST = 0.05 -- of what came: a busy queue drops some, by which TCP finds how fast it may send
local in_bytes = { tbf = true, bfifo = true, red = true }

-- What waits, and how much may; nil where the queue says no limit.
local function filled(row, link)
  local options = row[row.kind]
  local limit = type(options) == "table" and options.limit or row.kind == "pfifo_fast" and link.txqlen or nil
  if in_bytes[row.kind] then
    return row.stats.backlog, limit, "bytes"
  end
  return row.stats.qlen, limit, "packets"
end

local function rate(bits)
  for _, unit in ipairs { { 1e9, "Gbit" }, { 1e6, "Mbit" }, { 1e3, "kbit" } } do
    if bits >= unit[1] then
      return ("%g %s/s"):format(bits / unit[1], unit[2])
    end
  end
  return ("%g bit/s"):format(bits)
end

return {
  name = "queue_full",
  why = "What cannot go out at once waits in the queueing discipline of its link (tc). Where more comes than the link, or a rate that was set, lets "
    .. "out, the queue stays full and drops the rest: all that goes there is slow, and much of it is lost.",
  run = function(target, report)
    local seen = {}
    local function look(space, link)
      local key = space.handle.inode .. ":" .. link.index
      for _, row in ipairs(not seen[key] and space.qdiscs or {}) do
        local stats = row.stats
        if row.dev_index == link.index and stats and stats.drops > 0 and stats.backlog > 0 then
          local waits, limit, unit = filled(row, link)
          local came = stats.packets + stats.drops
          if limit and waits * 2 >= limit and stats.drops >= came * LOST then
            local options = row[row.kind]
            local most = type(options) == "table" and tonumber(options.rate)
            most = most and most > 0 and most or nil
            report:found { at = space, sure = 0.92,
              problem = most and ("%s of %s sends %s at most, and more comes"):format(link.name, space.title, rate(most))
                or ("more is to leave by %s of %s than it sends"):format(link.name, space.title),
              evidence = { ("%s of %s dropped %d packets, and sent %d (rtnetlink qdisc)"):format(row.kind, link.name, stats.drops, stats.packets),
                ("%d %s of at most %d wait in it (rtnetlink qdisc)"):format(waits, unit, limit) },
              fix = row.root and most and ("tc qdisc del dev %s root"):format(rules.quoted(link.name)) or nil }
          end
        end
      end
      seen[key] = true
    end
    for _, space in ipairs(translation.routers(target)) do
      for _, link in ipairs(space.links) do
        look(space, link)
        local far = space == target and link.name ~= "lo" and target:far(link)
        if far then
          look(far.space, far.link)
        end
      end
    end
  end,
}
