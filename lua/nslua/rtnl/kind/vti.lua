-- vti, vti6: tunnels whose packets an IPsec policy takes by their key. linux/if_tunnel.h, ip-link(8). `key` is both of `ikey` and `okey`.

local tunnel = require "nslua.rtnl.kind.tunnel"

local function write(data, call)
  for _, word in ipairs { "ikey", "okey" } do
    data[word] = data[word] ~= nil and (data[word] and tunnel.key(call, word, data[word]) or 0) or nil
  end
end

local function kind(name, family)
  return tunnel.kind(family, {
    kind = name,
    prefix = "IFLA_VTI_",
    attributes = [[
      1  LINK    dev_index  u32
      2  IKEY    ikey       be32
      3  OKEY    okey       be32
      4  LOCAL   local_     ip
      5  REMOTE  remote     ip
      6  FWMARK  fwmark     u32
    ]],
    both = { key = { "ikey", "okey" } },
    words = { ikey = "integer|string|false", okey = "integer|string|false" },
    write = write,
  })
end

local vti = kind("vti", "inet")
vti.also = { kind("vti6", "inet6") }
return vti
