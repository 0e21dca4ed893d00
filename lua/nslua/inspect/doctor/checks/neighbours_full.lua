-- The table of neighbours, which is one for all namespaces of the machine, is full of entries that are in use.

local NEAR = 0.9     -- of the most there may be
local SETTLED = 5    -- seconds after which an entry that nobody uses makes room. net/core/neighbour.c, neigh_forced_gc()
local kept = { permanent = true, failed = true, noarp = true } -- not counted, or taken away at once
local named = { arp_cache = { "ipv4", "IPv4" }, ndisc_cache = { "ipv6", "IPv6" } }

-- Entries of a namespace that count, and do not make room for others.
local function held(space, family)
  local count = 0
  for _, row in ipairs(space.neighbours) do
    local info = row.cacheinfo
    if row.family == family and not kept[row.state] and not row.extern_learn and not row.managed
      and (not info or info.refcnt > 0 or row.updated < SETTLED) then
      count = count + 1
    end
  end
  return count
end

-- Those of all namespaces that can be seen, and who has most.
local function count(target, family)
  local exam = target.examination
  exam.spaces:census()
  local sum, most, top = 0, 0, target
  for _, each in ipairs(exam.spaces.all) do
    local space = exam:of(each.handle)
    local own = held(space, family)
    sum = sum + own
    if own > most then
      most, top = own, space
    end
  end
  return sum, top, most
end

return {
  name = "neighbours_full",
  why = "Whom a link leads to is kept in one table for ARP and one for neighbour discovery, of all namespaces together. At gc_thresh3 entries "
    .. "that are in use nobody gets new ones: what goes to somebody new, of any namespace, is dropped, and the kernel's log has \"neighbor table "
    .. "overflow\". Clusters, and those who scan networks, need more than the 1024 there are.",
  run = function(target, report)
    local exam = target.examination
    if exam.neighbours_counted then
      return -- by another target: the tables are the machine's
    end
    exam.neighbours_counted = true
    for _, row in ipairs(target.handle.neighbour_table:list { dev = false }) do
      local config, most, words = row.config, row.thresh3, named[row.name]
      if words and config and most and config.entries >= most * NEAR then
        local sum, top, own = count(target, row.family)
        if sum >= most * NEAR then
          local fulls = row.stats and row.stats.table_fulls or 0
          local sysctl = ("net.%s.neigh.default.gc_thresh"):format(words[1])
          report:found { at = top, problem = ("the machine's table of %s neighbours is full"):format(words[2]), sure = sum >= most and 0.96 or 0.8,
            evidence = { ("%d entries of %s are in use, of at most %d (rtnetlink neighbour, neighbour table)"):format(sum, row.name, most),
              ("%s has %d of them (rtnetlink neighbour)"):format(top.title, own),
              fulls > 0 and ("nobody got a new one %d times since the machine started (rtnetlink neighbour table)"):format(fulls) or nil },
            fix = ("sysctl -w %s2=%d %s3=%d"):format(sysctl, most * 2, sysctl, most * 4), here = true }
        end
      end
    end
  end,
}
