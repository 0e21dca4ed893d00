-- The table of connections is full: new ones are dropped, or take the place of old ones.

local translation = require "nslua.inspect.doctor.translation"

local NEAR = 0.9     -- of the most there may be
local LOOKED = 20000 -- connections that are looked at

-- "drop" and "early_drop" of all processors.
local function drops(space)
  local names, sums = nil, { drop = 0, early_drop = 0 }
  for line in space:read("/proc/net/stat/nf_conntrack"):gmatch "[^\n]+" do
    local words = {}
    for word in line:gmatch "%S+" do
      words[#words + 1] = word
    end
    for i, name in ipairs(names or {}) do
      sums[name] = sums[name] and sums[name] + (tonumber(words[i] or "", 16) or 0)
    end
    names = names or words
  end
  return sums
end

-- Who has most of them, of those that are looked at.
local function talker(space)
  local looked, by, top = 0, {}, nil
  for row in space.handle.conntrack:each() do
    local src = row.orig and row.orig.src
    if src then
      looked = looked + 1
      by[src] = (by[src] or 0) + 1
      top = (not top or by[src] > by[top]) and src or top
      if looked >= LOOKED then
        break
      end
    end
  end
  return top, top and by[top] or 0, looked
end

return {
  name = "conntrack_full",
  why = "The kernel tracks each connection that meets NAT or a rule that asks for its state. At nf_conntrack_max it drops the first packets of new "
    .. "ones, or forgets old ones that had no answer. The limit is the machine's and holds for each namespace; their counts are their own.",
  run = function(target, report)
    for _, space in ipairs(translation.routers(target)) do
      local count = tonumber(space:sysctl "net.netfilter.nf_conntrack_count")
      local most = tonumber(space:sysctl "net.netfilter.nf_conntrack_max")
      if count and most and most > 0 and count >= most * NEAR then
        local lost = drops(space)
        local full = lost.drop + lost.early_drop > 0
        local evidence = { ("%d connections of at most %d (sysctl net.netfilter.nf_conntrack_count, _max)"):format(count, most) }
        if full then
          evidence[2] = ("new ones that were dropped: %d; old ones that made room: %d (/proc/net/stat/nf_conntrack)"):format(lost.drop,
            lost.early_drop)
        end
        local ok, top, held, looked = pcall(talker, space)
        local much = ok and top and held > looked / 2
        evidence[#evidence + 1] = much and ("%s began %d of %d that were looked at (conntrack)"):format(top, held, looked) or nil
        report:found { at = space, problem = ("%s tracks as many connections as it may"):format(space.title), sure = full and 0.95 or 0.7,
          evidence = evidence, fix = much and ("conntrack -D -s %s >/dev/null"):format(top)
            or ("sysctl -w net.netfilter.nf_conntrack_max=%d"):format(most * 2), here = not much or nil }
      end
    end
  end,
}
