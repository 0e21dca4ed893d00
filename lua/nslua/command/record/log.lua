-- Entries of a journal as lines: the time, where, what.

local columns = require "nslua.command.cli.columns"
local objects = require "nslua.inspect.record.objects"

local M = {}

---Text of others, for a terminal; its lines stay.
---@param text string
---@return string
function M.safe(text)
  local out = {}
  for line in (text .. "\n"):gmatch "([^\n]*)\n" do
    out[#out + 1] = columns.safe(line)
  end
  return table.concat(out, "\n")
end

---"2026-11-26T14:03:22", as --at takes it.
---@param time number
---@return string
function M.clock(time)
  return os.date("%Y-%m-%dT%H:%M:%S", math.floor(time)) --[[@as string]]
end

local words = { new = " ", delete = "-", existing = "=" }

---"14:03:22.512 web (docker:web) - route default via 10.0.0.1 dev eth0".
---@param e nslua.JournalEntry
---@return string
function M.line(e)
  local whole = math.floor(e.time)
  local where = tostring(e.netns or e.inode) .. (e.container and e.container ~= e.netns and " (" .. e.container .. ")" or "")
  local what
  if e.action == "netns_new" then
    what = "  namespace is there"
  elseif e.action == "netns_gone" then
    what = "- namespace is gone"
  elseif e.action == "overrun" then
    what = "! changes came faster than they were read: the state was read again"
  else
    what = ("%s %s%s"):format(words[e.action] or "?", objects.line(e.what, e.object), e.silent and " (the kernel said nothing)" or "")
  end
  return columns.safe(("%s.%03d %s %s"):format(os.date("%H:%M:%S", whole), math.floor((e.time - whole) * 1000), where, what))
end

---Whether it follows from another entry.
---@param e nslua.JournalEntry
---@return boolean
function M.implied(e)
  return e.object ~= nil and objects.implied(e.what, e.object)
end

---Whether a word names the namespace: "web", "docker:web", its inode.
---@param space { netns: string?, container: string?, inode: integer }
---@param word string
---@return boolean
function M.is(space, word)
  local container = space.container
  return space.netns == word or container == word or tostring(space.inode) == word or container ~= nil and container:match "^[^:]*:(.*)$" == word
end

---Whether a journal has anything of it.
---@param journal nslua.Journal
---@param word string
---@return boolean
function M.knows(journal, word)
  for _, e in ipairs(journal.entries) do
    if e.inode and M.is(e, word) then
      return true
    end
  end
  return false
end

---@param e nslua.JournalEntry
---@param nets string[]?
---@param wanted string[]?
---@return boolean
function M.passes(e, nets, wanted)
  local ok = not nets
  for _, word in ipairs(nets or {}) do
    ok = ok or M.is(e, word)
  end
  local kind = not wanted
  for _, what in ipairs(wanted or {}) do
    kind = kind or e.what == what
  end
  return ok and kind
end

---A plain table of it.
---@param e nslua.JournalEntry
---@return table
function M.plain(e)
  local out = {}
  for _, key in ipairs { "time", "action", "what", "object", "netns", "inode", "container", "silent" } do
    out[key] = e[key]
  end
  return out
end

return M
