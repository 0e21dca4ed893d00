-- nslua netns monitor: names that come and go; with --all every change of links and addresses in every namespace.

local core = require "nslua.core"
local ns = require "nslua"
local shown = require "nslua.command.netns.words".shown

-- What a link or an address is now, in a line.
local describe = {
  link = function(row)
    local flags = { row.up and "up" or "down" }
    if row.carrier then
      flags[#flags + 1] = "carrier"
    end
    return ("%d: %s %s %s mtu %d"):format(row.index, shown(row.name), row.kind or "", table.concat(flags, ","), row.mtu or 0)
      .. (row.link_netnsid and (" peer in nsid %d"):format(row.link_netnsid) or "")
  end,
  address = function(row)
    return ("%s dev %s"):format(row.address, shown(tostring(row.dev or row.dev_index)))
  end,
}

local words = { new = "", existing = "", delete = "deleted " }

---@param o { all: boolean?, json: boolean? }
---@return integer status
return function(o)
  local monitor <close> = ns.monitor(o.all and { "link", "address", netns = "all" } or { names = true })
  local json = o.json and require "nslua.schema".json
  for e in monitor:each() do
    local text
    if json then
      text = json { action = e.action, what = e.what, netns = e.netns, inode = e.inode, nsid = e.nsid, object = e.object and e.object:decode(),
        time = core.file.now() }
    elseif not o.all then
      text = e.action == "netns_new" and "add " .. shown(e.netns) or e.action == "netns_gone" and "delete " .. shown(e.netns)
    elseif e.object then
      text = ("[%s] %s%s: %s"):format(shown(e.netns), words[e.action], e.what, describe[e.what](e.object))
    elseif e.action == "overrun" then
      text = ("[%s] changes were lost: what is there now follows"):format(shown(e.netns))
    else
      text = ("[%s] namespace %s"):format(shown(e.netns), e.action == "netns_new" and "added" or "gone")
    end
    if text then
      io.write(text, "\n")
      io.flush()
    end
  end
  return 0
end
