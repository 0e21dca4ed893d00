-- The addresses in the networks of containers: all are asked at once, before it is known which of them run.

local core = require "nslua.core"
local netns = require "nslua.netns"

local M = {}

---@class nslua.container.Asked
---@field inodes table<integer, integer>   pid -> its network namespace
---@field lists table<integer, string[]>   that -> its global addresses

---@param rows { pid: integer? }[]
---@param here integer                 the network namespace that is not asked
---@param asked? nslua.container.Asked  what is known already
---@return nslua.container.Asked
function M.ask(rows, here, asked)
  asked = asked or { inodes = {}, lists = {} }
  local pids = {}
  for _, row in ipairs(rows) do
    if row.pid and not asked.inodes[row.pid] then
      pids[#pids + 1] = row.pid
    end
  end
  local inodes, lists = core.netaddr.list(pids, here)
  for i, pid in ipairs(pids) do
    asked.inodes[pid] = inodes[i] or nil
  end
  for inode, list in pairs(lists) do
    asked.lists[inode] = list
  end
  return asked
end

-- Of one that is in a user namespace which has to be entered first, or of which another process has the pid now.
local function one_by_one(row)
  local list = {}
  local ok, opened = pcall(netns.open, row.pid)
  local handle <close> = ok and opened or nil
  if handle and handle.inode == row.netns then
    for address in handle.address:each { scope = "global" } do
      list[#list + 1] = address.address:match "^[^/]*"
    end
  end
  return list
end

---Give each row the addresses of its network.
---@param rows nslua.ContainerRow[]
---@param asked nslua.container.Asked
---@param here integer
function M.give(rows, asked, here)
  M.ask(rows, here, asked)
  for _, row in ipairs(rows) do
    if row.netns and row.netns ~= here then
      asked.lists[row.netns] = asked.lists[row.netns] or one_by_one(row)
      row.addresses = asked.lists[row.netns]
    end
  end
end

return M
