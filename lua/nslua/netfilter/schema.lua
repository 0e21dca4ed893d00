-- What every subsystem of nfnetlink has in common: the header, numbers in network byte order. linux/netfilter/nfnetlink.h

local books = require "nslua.schema.book"

local M = {}

M.NETLINK_NETFILTER = 12 -- linux/netlink.h

---A book for one subsystem, with the header of its messages declared.
---@param title string
---@return nslua.schema.Book
function M.book(title)
  local book = books.new(title .. ": ")
  book.name = title
  local nfnetlink = "linux/netfilter/nfnetlink.h"
  -- NFPROTO_* of linux/netfilter.h
  book:enum("nfproto", {}, { unspec = 0, inet = 1, ip = 2, arp = 3, netdev = 5, bridge = 7, ip6 = 10 })
  book:enum("family", {}, { inet = 2, inet6 = 10 })
  book:struct("nfgenmsg", { c = "struct nfgenmsg", header = nfnetlink, prefix = "" },
    "family_number=nfgen_family u8  version u8  res_id be16")
  return book
end

return M
