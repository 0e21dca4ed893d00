-- macsec: encrypted Ethernet on a lower link (IEEE 802.1AE). linux/if_link.h, linux/if_macsec.h, ip-link(8), ip-macsec(8).
-- Its keys and peers are the generic netlink family "macsec".

local check = require "nslua.check"
local errors = require "nslua.error"
local schema = require "nslua.schema"

schema.enum("macsec_validate", { header = "linux/if_link.h", prefix = "MACSEC_VALIDATE_", c = { disabled = "MACSEC_VALIDATE_DISABLED" } },
  { disabled = 0, check = 1, strict = 2 })
schema.enum("macsec_offload", { header = "linux/if_link.h", prefix = "MACSEC_OFFLOAD_" }, { off = 0, phy = 1, mac = 2 })

-- MACSEC_DEFAULT_CIPHER_ID and MACSEC_CIPHER_ID_*: 64 bits, which not every Lua has as a number
local ciphers = { default = "36030996058996737", ["gcm-aes-128"] = "36242102291529729", ["gcm-aes-256"] = "36242102291529730",
  ["gcm-aes-xpn-128"] = "36242102291529731", ["gcm-aes-xpn-256"] = "36242102291529732" }
local names = {}
for name, number in pairs(ciphers) do
  names[number] = name
end

return {
  kind = "macsec",
  header = "linux/if_link.h",
  prefix = "IFLA_MACSEC_",
  attributes = [[
    1   SCI             sci          bytes(8)
    2   PORT            port         be16
    3   ICV_LEN         icvlen       u8
    4   CIPHER_SUITE    cipher       u64
    5   WINDOW          window       u32
    6   ENCODING_SA     encodingsa   u8
    7   ENCRYPT         encrypt      bool
    8   PROTECT         protect      bool
    9   INC_SCI         send_sci     bool
    10  ES              end_station  bool
    11  SCB             scb          bool
    12  REPLAY_PROTECT  replay       bool
    13  VALIDATION      validate     u8:enum(macsec_validate)
    15  OFFLOAD         offload      u8:enum(macsec_offload)
  ]],
  words = { sci = "string", cipher = "string" }, -- sci: 16 hexadecimal digits
  spelled = { icv_len = "icvlen" },
  write = function(data, call)
    if data.sci then
      if not data.sci:match "^%x+$" or #data.sci ~= 16 then
        errors.misuse("%s: sci must be 16 hexadecimal digits, got %q", call, data.sci)
      end
      data.sci = data.sci:gsub("%x%x", function(byte)
        return string.char(tonumber(byte, 16))
      end)
    end
    if data.cipher then
      data.cipher = ciphers[data.cipher] or errors.misuse("%s: %s", call, check.unknown("cipher", data.cipher, ciphers))
    end
  end,
  read = function(data)
    if type(data.sci) == "string" then
      data.sci = data.sci:gsub(".", function(byte)
        return ("%02x"):format(byte:byte())
      end)
      data.port = tonumber(data.sci:sub(13), 16) -- its end, which is all the kernel tells of it
    end
    if data.cipher then
      local number = type(data.cipher) == "number" and ("%d"):format(data.cipher) or tostring(data.cipher)
      data.cipher = names[number] or number
    end
  end,
}
