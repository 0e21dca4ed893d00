-- ip netns set, list-id: ids of namespaces. ip-netns(8)

local spaces = require "nslua.trace.spaces"

local M = { message = "nsid" }

local function which(m)
  if m.fd then
    return spaces.argument(spaces.of(m.fd))
  end
  return m.pid and ("%.0f"):format(m.pid)
end

function M.write(_, m)
  return { "netns", "set", which(m), m.nsid and m.nsid >= 0 and m.nsid or "auto" }
end

function M.delete()
  return nil
end

function M.show(_, m)
  local words = { "netns", "list-id" }
  if m.target_nsid then
    words[#words + 1] = "target-nsid"
    words[#words + 1] = m.target_nsid
  elseif m.fd then
    return { "netns", "list", which(m) }
  end
  return words
end

return M
