-- Address families, as the headers of rtnetlink(7) have them.

require("nslua.schema").enum("inet_family", { header = "sys/socket.h", prefix = "AF_" }, { unspec = 0, inet = 2, bridge = 7, inet6 = 10, mpls = 28 })

return true
