-- What exercises share: the lab that most are about, and what happens in it.

local M = {}

M.CHAIN = "{ipv6=off}\nh1 -- r1 -- h2{serve=http}" -- one family: else each repair is made twice

---h1 forgets where r1 is, as it does in time.
---@param lab nslua.Lab
function M.forget(lab)
  lab.h1.neighbour:delete({ lab.r1:address_of "h1", dev = "eth0" }, { absent = "ok" })
end

return M
