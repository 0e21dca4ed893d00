-- Segment routing over IPv6: the keys of its HMACs and the source of its tunnels, in the words of `ip sr`. linux/seg6_genl.h, seg6_hmac.h
--
--    local sr = a:netlink "seg6"
--    sr:set_hmac{ keyid = 7, algo = "sha256", secret = "correct horse" }   -- secret = false: no such key
--    for row in sr:each "hmac" do print(row.keyid, row.algo) end
--    sr:set_tunsrc{ addr = "2001:db8::1" }   print(sr:tunsrc().addr)

local check = require "nslua.check"
local declare = require "nslua.genl.declare"
local errors = require "nslua.error"

local MOST = 64 -- SEG6_HMAC_SECRET_LEN

local words = { keyid = true, algo = true, secret = true }

-- The kernel wants the length beside the bytes; no bytes are no key.
local function write(t, call)
  for key in pairs(t) do
    if not words[key] then
      errors.misuse("%s: %s", call, check.unknown("key", key, words))
    end
  end
  if type(t.keyid) ~= "number" or t.keyid < 1 or t.keyid > 4294967295 or t.keyid % 1 ~= 0 then
    errors.misuse("%s: keyid must be a number from 1, got %s", call, tostring(t.keyid))
  end
  if t.secret == false then
    t.secret, t.secret_length, t.algo = nil, 0, t.algo or "sha256"
    return
  elseif type(t.secret) ~= "string" or t.secret == "" or #t.secret > MOST then
    errors.misuse("%s: secret must be text of 1 to %d bytes, or false, got %s", call, MOST,
      type(t.secret) == "string" and ("%d bytes"):format(#t.secret) or type(t.secret))
  elseif t.algo == nil then
    errors.misuse("%s: algo is needed: \"sha1\" or \"sha256\"", call)
  end
  t.secret_length = #t.secret
end

return declare.family {
  name = "SEG6", version = 1, header = "linux/seg6_genl.h", prefix = "SEG6_CMD_",
  enums = { algorithm = { header = "linux/seg6_hmac.h", prefix = "SEG6_HMAC_ALGO_", "sha1=1 sha256" } },
  sets = {
    hmac = { prefix = "SEG6_ATTR_", [[
      3   HMACKEYID  keyid          u32
      4   SECRET     secret         bin
      5   SECRETLEN  secret_length  u8
      6   ALGID      algo           u8:enum(algorithm)
    ]] },
    tunsrc = { prefix = "SEG6_ATTR_", [[
      1   DST        addr           ip6
    ]] },
    none = "",
  },
  commands = {
    set_hmac = { 1, "hmac", c = "SETHMAC" },
    hmac = { 2, "none", reply = "hmac", dump = true, c = "DUMPHMAC" },
    set_tunsrc = { 3, "tunsrc" },
    tunsrc = { 4, "none", reply = "tunsrc", c = "GET_TUNSRC" },
  },
  classes = { hmac = { hidden = { "secret_length" } } },
  write = { hmac = write },
  detail = { "keyid", "addr" },
}
