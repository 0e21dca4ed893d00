-- Cases of the doctor: programs and their sockets, and what names are asked of.

local function http(lab)
  lab.h2:serve("http")
end

---@type doctor.Case[]
return {
  { check = "not_listening", lab = "h1 -- r1 -- h2", at = "h2", options = { port = 80 }, before = http, by_hand = http },
  { check = "loopback_only", lab = "h1 -- r1 -- h2", at = "h2", options = { port = 80 }, before = http, nft = true },
  { check = "not_listening", fault = "wrong_port", lab = "h1 -- r1 -- h2", at = "r1", ask = "h2", before = http, nft = true },
}
